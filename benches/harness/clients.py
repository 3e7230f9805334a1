"""One run of one client against one server, as one sample: `load` for WebSocket, wrk for plain
HTTP/1.1, h2load for plain HTTP/2. All are pinned to the load's CPU and bounded in time. Before
anything is measured, a server has to answer correctly, so a broken one fails with its log instead of
giving figures.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass

from .machine import BenchError
from .peers import PROGRAMS
from .servers import Running, ServerFailed, cpu_seconds
from .workloads import Workload

#: `load` gives up opening connections after 40 s; beyond that and the run itself it hangs.
GRACE_S = 60.0
#: One of the two sides has to be this busy; if neither was, something else had the CPU.
BUSY = 0.90
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True)
class Sample:
    """What one run showed. `rate` counts messages, handshakes or responses per second."""

    rate: float
    cpu_us: float
    p50_us: float
    #: 0 where the client does not say it (h2load).
    p99_us: float
    errors: int
    client_cpu_share: float
    server_cpu_share: float
    kib_per_connection: float | None = None

    @property
    def disturbed(self) -> bool:
        idle_by_design = self.kib_per_connection is not None
        return not idle_by_design and max(self.client_cpu_share, self.server_cpu_share) < BUSY

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "disturbed": self.disturbed}


@dataclass(frozen=True)
class Clients:
    """The clients with the times and the CPU they use."""

    cpu: int
    seconds: float
    warmup: float

    def sample(self, workload: Workload, server: Running) -> Sample:
        """Checks the server, then measures it."""
        if workload.mode == "http":
            self._check_http(server)
            return self._http(workload, server, self._run_wrk, _wrk_result)
        if workload.mode == "http2":
            self._check_http2(workload, server)
            return self._http(workload, server, self._run_h2load, _h2load_result)
        if workload.mode == "fanout":
            self._check_fanout(server)
        else:
            self._check_echo(server)
        return self._load(workload, server)

    def _load(self, workload: Workload, server: Running) -> Sample:
        result = self._run_load(
            server,
            f"--mode={workload.mode}",
            f"--connections={workload.connections}",
            f"--size={workload.size}",
            f"--in-flight={workload.in_flight}",
            f"--sessions={workload.sessions}",
            f"--seconds={self.seconds}",
            f"--warmup={self.warmup}",
        )
        if workload.mode != "connect" and result["open"] < workload.connections:
            # Fewer connections are another workload, even if each of them is served well.
            held = f"only {result['open']:.0f} of {workload.connections} connections were open at the end"
            raise ServerFailed(f"{held}\n{server.log_tail()}")
        kib = None
        if workload.mode == "idle":
            kib = (result["rss_after"] - result["rss_before"]) / 1024 / workload.connections
        return Sample(
            rate=result["rate"],
            cpu_us=result["server_cpu_us_per_message"],
            p50_us=result["p50_us"],
            p99_us=result["p99_us"],
            errors=int(result["errors"] + result["bad_messages"] + result["lost_messages"]),
            client_cpu_share=result["client_cpu_share"],
            server_cpu_share=result["server_cpu_share"],
            kib_per_connection=kib,
        )

    def _check_echo(self, server: Running) -> None:
        """One connection, every byte compared. It also warms up what a server loads at its first request."""
        result = self._run_load(server, "--seconds=0.1", "--warmup=0", "--size=1000", "--verify")
        if result["messages"] == 0 or result["errors"] or result["bad_messages"]:
            raise ServerFailed(f"the server does not echo correctly: {result}\n{server.log_tail()}")

    def _check_fanout(self, server: Running) -> None:
        """The same for what one publishes and a few get."""
        result = self._run_load(
            server, "--mode=fanout", "--connections=3", "--seconds=0.5", "--warmup=0.2", "--size=1000", "--verify"
        )
        if result["messages"] == 0 or result["errors"] or result["bad_messages"] or result["lost_messages"]:
            raise ServerFailed(f"the server does not fan out correctly: {result}\n{server.log_tail()}")

    def _run_load(self, server: Running, *options: str) -> dict[str, float]:
        pids = ",".join(map(str, server.pids()))
        words = [word for option in options for word in option.split("=", 1)]
        command = [str(PROGRAMS / "load"), "--port", str(server.port), "--pids", pids, *words, *server.recipe.client]
        if server.backend:
            command += ["--beside", ",".join(map(str, server.backend.pids()))]
        done = self._run(command, server)
        if done.returncode != 0:
            raise ServerFailed(f"{done.stderr.strip()}\n{server.log_tail()}")
        result: dict[str, float] = json.loads(done.stdout)
        return result

    def _check_http(self, server: Running) -> None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=5) as response:
                body = response.read()
        except OSError as error:
            raise ServerFailed(f"the server does not answer: {error}\n{server.log_tail()}") from None
        if body != b"Hello, world\n":
            raise ServerFailed(f"the server answers {body[:80]!r}\n{server.log_tail()}")

    def _check_http2(self, workload: Workload, server: Running) -> None:
        """h2load shows no bodies, but how many bytes they were."""
        requests = workload.connections
        output = self._h2load(workload, server, "-n", str(requests))
        result, expected = _h2load_result(output), requests * len(b"Hello, world\n")
        data = int(_only_match(r"\((\d+)\) data", output))
        if (result.requests, result.errors, data) != (requests, 0, expected):
            raise ServerFailed(f"not {requests} responses and {expected} bytes: {output}\n{server.log_tail()}")

    def _http(self, workload: Workload, server: Running, run: Run, read: Callable[[str], HttpResult]) -> Sample:
        run(workload, server, self.warmup)
        pids = server.pids()
        server_before, client_before, began = cpu_seconds(pids), _children_cpu_seconds(), time.monotonic()
        output = run(workload, server, self.seconds)
        elapsed = time.monotonic() - began
        server_cpu = cpu_seconds(pids) - server_before
        client_cpu = _children_cpu_seconds() - client_before
        result = read(output)
        return Sample(
            rate=result.rate,
            cpu_us=server_cpu * 1e6 / result.requests if result.requests else 0.0,
            p50_us=result.p50_us,
            p99_us=result.p99_us,
            errors=result.errors,
            client_cpu_share=client_cpu / elapsed,
            server_cpu_share=server_cpu / elapsed,
        )

    def _run_wrk(self, workload: Workload, server: Running, seconds: float) -> str:
        # wrk takes whole seconds only.
        duration = f"{max(1, round(seconds))}s"
        connections = str(workload.connections)
        url = f"http://127.0.0.1:{server.port}/"
        done = self._run(["wrk", "-t", "1", "-c", connections, "-d", duration, "--latency", url], server)
        if done.returncode != 0:
            raise ServerFailed(f"wrk failed: {done.stdout}{done.stderr}\n{server.log_tail()}")
        return done.stdout

    def _run_h2load(self, workload: Workload, server: Running, seconds: float) -> str:
        # Whole seconds only, as wrk.
        return self._h2load(workload, server, "-D", str(max(1, round(seconds))))

    def _h2load(self, workload: Workload, server: Running, *how_long: str) -> str:
        """Prior knowledge (RFC 9113 §3.3): that is what h2load takes http:// for."""
        streams = str(workload.connections // workload.sessions)
        url = f"http://127.0.0.1:{server.port}/"
        shape = ("-t", "1", "-c", str(workload.sessions), "-m", streams)
        done = self._run(["h2load", *shape, *how_long, url], server)
        if done.returncode != 0:
            raise ServerFailed(f"h2load failed: {done.stdout}{done.stderr}\n{server.log_tail()}")
        return done.stdout

    def _run(self, command: list[str], server: Running) -> subprocess.CompletedProcess[str]:
        limit_s = self.seconds + self.warmup + GRACE_S
        try:
            return subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=limit_s,
                # Safe here: the harness has one thread.
                preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}),
            )
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"no result within {limit_s:.0f} s\n{server.log_tail()}") from None
        except FileNotFoundError:
            raise BenchError(f"{command[0]} was not found") from None


#: The clients of plain HTTP by a workload's mode, with Debian's package.
HTTP_CLIENTS = {"http": ("wrk", "wrk"), "http2": ("h2load", "nghttp2-client")}


def missing_client(workload: Workload) -> str | None:
    """What to install before this row can be measured."""
    program, package = HTTP_CLIENTS.get(workload.mode, ("", ""))
    if not program or shutil.which(program):
        return None
    return f"{program} is not installed (Debian: apt install {package})"


@dataclass(frozen=True)
class HttpResult:
    """What a client of plain HTTP says of its run."""

    rate: float
    requests: int
    errors: int
    p50_us: float
    p99_us: float


Run = Callable[[Workload, Running, float], str]


def _wrk_result(output: str) -> HttpResult:
    return HttpResult(
        rate=float(_only_match(r"Requests/sec:\s+([\d.]+)", output)),
        requests=int(_only_match(r"(\d+) requests in", output)),
        errors=_wrk_errors(output),
        p50_us=_latency_us("50%", output),
        p99_us=_latency_us("99%", output),
    )


def _h2load_result(output: str) -> HttpResult:
    """A response counts when its status is 2xx; h2load tells a mean but no percentiles. Those in flight at the end
    are neither done nor failed. Every body has to be the app's, which the count of bytes shows."""
    good = int(_only_match(r"status codes: (\d+) 2xx", output))
    other = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    broken = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", output)
    if other is None or broken is None:
        raise ServerFailed(f"h2load says something unexpected:\n{output}")
    failed, errored, late = map(int, broken.groups())
    return HttpResult(
        rate=float(_only_match(r"finished in [\d.]+m?s, ([\d.]+) req/s", output)),
        requests=good,
        # What errored has failed too.
        errors=sum(map(int, other.groups())) + max(failed, errored) + late,
        p50_us=0.0,
        p99_us=0.0,
    )


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _only_match(pattern: str, output: str) -> str:
    match = re.search(pattern, output)
    if match is None:
        raise ServerFailed(f"the client says something unexpected:\n{output}")
    return match[1]


def _latency_us(name: str, output: str) -> float:
    value = _only_match(rf"\s{name}\s+([\d.]+[a-z]+)", output)
    number = value.rstrip("umsh")
    return float(number) * UNITS[value[len(number) :]]


def _wrk_errors(output: str) -> int:
    """Socket errors, and responses with a status beyond 3xx. Read errors do not count: wrk reports them for a
    server that closes after each response, which is a slow way to serve but not a wrong one."""
    sockets = re.search(r"Socket errors: connect (\d+), read \d+, write (\d+), timeout (\d+)", output)
    statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return sum(map(int, sockets.groups() if sockets else ())) + (int(statuses[1]) if statuses else 0)
