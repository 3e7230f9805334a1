#!/usr/bin/env python3
"""`make bench`: measures Fairlead against the limit of the machine and writes a table with pass or
miss beside each bar. Needs Linux, two CPUs, cargo and this repository; wrk and the peers
(`--install-peers`) are welcome but optional. It only listens on the loopback, ends every server it
started, and bounds its own time. See benches/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from harness import clients, contest, machine, peers, report
from harness.machine import REPOSITORY, BenchError
from harness.servers import Recipe
from harness.workloads import WORKLOADS, Workload

#: Memory hardly varies from run to run, and 5,000 connections take their time.
IDLE_ROUNDS = 3


def main() -> int:
    options = _parse(sys.argv[1:])
    _end_servers_on_signals()
    _raise_descriptor_limit()
    try:
        return _bench(options)
    except BenchError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run.py: stopped; no server is left running and nothing was written", file=sys.stderr)
        return 130


def _bench(options: argparse.Namespace) -> int:
    server_cpu, load_cpu = machine.two_cpus()
    peers.build_programs()
    peers.make_certificate()
    if options.install_peers:
        peers.install()
    facts = _facts(options, server_cpu, load_cpu)
    load = clients.Clients(load_cpu, options.seconds, options.warmup)
    deadline = time.monotonic() + options.max_minutes * 60

    outcomes = []
    for workload in options.only or WORKLOADS:
        if missing := clients.missing_client(workload):
            facts[f"left out: {workload.name}"] = missing
            continue
        if time.monotonic() > deadline:
            facts["left out"] = f"{workload.name} and what follows, after {options.max_minutes:g} minutes"
            break
        print(f"{workload.name}: {workload.title}", file=sys.stderr, flush=True)
        pairs = min(options.pairs, IDLE_ROUNDS) if workload.mode == "idle" else options.pairs
        outcomes.append(contest.run(workload, _contestants(workload, options), load, server_cpu, pairs))

    text = report.markdown(facts, options.server_label, outcomes)
    print(text)
    page = report.write(options.output, _result_name(options), text, facts, outcomes)
    print(f"written to {page}", file=sys.stderr)
    return 0 if all(outcome.has("fairlead") for outcome in outcomes) else 1


def _contestants(workload: Workload, options: argparse.Namespace) -> list[Recipe]:
    server = peers.fairlead(workload, options.venv_python)
    if options.server_command:
        command = tuple(shlex.split(options.server_command))
        # It is asked in the same way, and passes requests to the same backend.
        server = replace(server, label=options.server_label, command=command)
    limit = [peers.limit()] if workload.has_limit else []
    own = peers.own_websocket(workload, options.venv_python)
    take_part = options.peers or workload.bars.name_peers
    others = peers.installed_peers(workload, options.venv_python) if take_part else []
    before = [peers.before(workload, options.before)] if options.before else []
    return [*limit, server, *before, *own, *others]


def _facts(options: argparse.Namespace, server_cpu: int, load_cpu: int) -> dict[str, str]:
    facts = machine.facts()
    if options.server_command:
        facts["server command"] = f"`{options.server_command}`"
    else:
        facts["server python"] = machine.python_version(options.venv_python)
    facts["CPUs"] = f"server on {server_cpu}, load (and what is behind a proxy) on {load_cpu}"
    facts["rounds"] = f"{options.pairs} of {options.seconds:g} s after {options.warmup:g} s of warm-up"
    if options.before:
        facts["before"] = machine.commit(peers.checkout_of(options.before))
    if options.quick:
        facts["quick"] = "too short for a verdict that counts"
    versions = peers.versions()
    if versions:
        facts["peers"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return facts


def _result_name(options: argparse.Namespace) -> str:
    """DATE-COMMIT; a partial or quick run says so and never takes the place of a full one."""
    parts = [datetime.date.today().isoformat(), machine.commit()]
    parts += ["quick"] if options.quick else []
    parts += [workload.name for workload in options.only or ()]
    return "-".join(parts)


def _parse(arguments: list[str]) -> argparse.Namespace:
    names = {workload.name: workload for workload in WORKLOADS}
    parser = argparse.ArgumentParser(
        prog="run.py", description="Measure Fairlead against the limit of the machine.", allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--only",
        action="append",
        choices=list(names),
        metavar="NAME",
        help=f"this row only: {', '.join(names)}",
    )
    add("--quick", action="store_true", help="two short rounds per row, to see that all works")
    add("--pairs", type=int, help="rounds per row (7; at least 5 for a result)")
    add("--seconds", type=float, help="length of a measured window (4)")
    add("--warmup", type=float, help="the same load before it (1)")
    add("--peers", action="store_true", help="picows, uWSGI and others take part in all rows that name them")
    add(
        "--install-peers",
        action="store_true",
        help="install the peers' Python packages into .build/peers-venv first",
    )
    add(
        "--venv-python",
        metavar="PATH",
        help="the Python that has fairlead (FAIRLEAD_PYTHON, .venv/bin/python)",
    )
    add(
        "--server-command",
        metavar="COMMAND",
        help="measure this instead of Fairlead; {port} stands for the port",
    )
    add("--server-label", metavar="NAME", help="its name in the report")
    add(
        "--before",
        metavar="PATH",
        help="the Python of another checkout, built at the commit before: takes part in every row",
    )
    add(
        "--output",
        type=Path,
        default=REPOSITORY / "benches" / "results",
        metavar="FOLDER",
        help="where to write",
    )
    add("--max-minutes", type=float, default=90, help="begin no further row after this time (90)")
    options = parser.parse_args(arguments)

    options.only = [names[name] for name in options.only or ()]
    pairs, seconds, warmup = (2, 1.0, 0.3) if options.quick else (7, 4.0, 1.0)
    options.pairs = options.pairs or pairs
    options.seconds = options.seconds or seconds
    options.warmup = warmup if options.warmup is None else options.warmup
    if options.pairs < 1 or options.seconds <= 0 or options.warmup < 0:
        parser.error("--pairs and --seconds are above 0, --warmup is at least 0")
    own = os.environ.get("FAIRLEAD_PYTHON") or str(REPOSITORY / ".venv" / "bin" / "python")
    options.venv_python = options.venv_python or own
    options.server_label = options.server_label or ("the given command" if options.server_command else "Fairlead")
    return options


def _end_servers_on_signals() -> None:
    """SIGTERM and SIGHUP end the bench like Ctrl-C does, through the blocks that stop the servers."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)


def _raise_descriptor_limit() -> None:
    """Servers inherit it: 5,000 idle connections need more than the usual 1,024 descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
