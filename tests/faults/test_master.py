"""The master as a real process, over fake_worker.py: starts, deaths, reloads and stops, without an app or an
engine.

Nothing here sleeps: a test waits for a line of the log or for the process to end, each with a time-out, and
ports are the kernel's choice. The file stays whole: all its tests are about `RunningMaster`.
"""

from __future__ import annotations

import os
import pwd
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairlead.master.master import Patience
from faults.machine import wait_until

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
TIMEOUT_S = 15.0

#: A worker that any user can run: our interpreter may lie where only its owner may look.
SHELL_WORKER = """
read -r first <&$FAIRLEAD_CONTROL_FD
printf '{"event":"ready"}\\n' >&$FAIRLEAD_CONTROL_FD
read -r stop <&$FAIRLEAD_CONTROL_FD
"""

#: A user whom passwd does not know.
NO_ENTRY = 54321

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

PROGRAM = """
import os, sys
from fairlead.errors import FairleadError
from fairlead.logs import Log
from fairlead.master.master import Master
from fairlead.settings.options import Settings
from fairlead.settings.sources import read_sources
try:
    settings = Settings.of(read_sources(sys.argv[2:], os.environ).given)
    command = [sys.executable, sys.argv[1]] if sys.argv[1].endswith(".py") else ["bash", "-c", sys.argv[1]]
    places = int(os.environ["FAKE_PLACES"])
    sys.exit(Master(settings, Log(), command=command, places=places).run())
except FairleadError as error:
    print(f"fairlead: {error}", file=sys.stderr)
    sys.exit(2)
"""


class RunningMaster:
    """A master in a process of its own, whose log can be waited for."""

    def __init__(self, plan: Path, *options: str, worker: str = str(FAKE_WORKER), places: int = 128) -> None:
        self.plan = plan
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, worker, "--wsgi-file", "app.py", *options],
            stderr=subprocess.PIPE,
            env={**os.environ, "FAKE_PLAN": str(plan), "FAKE_PLACES": str(places)},
            text=True,
        )
        self.log: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first new line of the log in which `pattern` is found."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT_S)
            except queue.Empty:
                line = None
            assert line is not None, f"no line with {pattern!r} came after:\n" + "\n".join(self.log)
            self.log.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def wait_for_all(self, *patterns: str) -> list[re.Match[str]]:
        """The first new lines in which the patterns are found, in whatever order they come: the master and its workers
        are several processes."""
        found: dict[str, re.Match[str]] = {}
        while missing := [pattern for pattern in patterns if pattern not in found]:
            line = self.wait_for("|".join(missing)).string
            found |= {pattern: match for pattern in missing if (match := re.search(pattern, line))}
        return [found[pattern] for pattern in patterns]

    def wait_until_ready(self) -> RunningMaster:
        self.port = int(self.wait_for(r"serving app\.py at http://127\.0\.0\.1:(\d+)")[1])
        return self

    def wait_for_end(self) -> int:
        """The exit status; the rest of the log is in `log` then. Ends only when all workers let go of the
        log, too."""
        status = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert not self._reader.is_alive(), "a worker outlived the master"
        while not self._lines.empty():
            line = self._lines.get()
            if line is not None:
                self.log.append(line)
        return status

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ask(self, word: str = "who") -> tuple[int, int]:
        """Send one line to the port; (pid, generation) of the worker that answered."""
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) as client:
            client.sendall(f"{word}\n".encode())
            pid, generation, _ = client.makefile("r").readline().split()
            return int(pid), int(generation)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    started: list[RunningMaster] = []

    def start_one(*options: str, plan: str = "ready", **how: object) -> RunningMaster:
        path = tmp_path / "plan"
        path.write_text(plan)
        addresses = () if "--http" in options or "--http-socket" in options else ("--http", "127.0.0.1:0")
        started.append(RunningMaster(path, *addresses, *options, **how))
        return started[-1]

    yield start_one
    for master in started:
        master.process.kill()
        master.process.wait(TIMEOUT_S)


def test_ready_is_said_once_all_workers_are_ready(start):
    master = start("--processes", "2", "--async", "1000", "--greenlet")
    line = master.wait_for("serving").string
    assert re.fullmatch(
        r"fairlead \S+ serving app\.py at http://127\.0\.0\.1:\d+ — 2 workers, greenlets, 1000 slots each",
        line,
    )
    assert sum("started with plan" in line for line in master.log) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_signal_tells_the_workers_and_ends_with_status_0(start, number):
    master = start("--reload-mercy", "7").wait_until_ready()
    master.signal(number)
    master.wait_for("told to stop because of stop in 7 s")
    assert master.wait_for_end() == 0


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGUSR1, "opens the file of --logto anew, and there is none: the log is standard error"),
        (signal.SIGUSR2, "means nothing here"),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_signal_that_means_something_else_to_uwsgi_ends_nobody(start, number, said):
    master = start().wait_until_ready()
    before = master.ask()
    master.signal(number)
    master.wait_for(f"warning: {number.name} {said}")
    assert master.ask() == before
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


def test_a_worker_that_ignores_the_stop_is_killed_after_the_mercy(start):
    master = start("--reload-mercy", "0.1", plan="deaf").wait_until_ready()
    master.signal(signal.SIGTERM)
    master.wait_for("did not end in time and is killed")
    assert master.wait_for_end() == 0


def test_a_second_stop_signal_cuts_at_once(start):
    master = start("--reload-mercy", "3600", plan="deaf").wait_until_ready()
    master.signal(signal.SIGINT)
    master.wait_for("told to stop")
    master.signal(signal.SIGINT)
    assert master.wait_for_end() == 0


def test_a_first_start_that_fails_gives_the_workers_sentence_and_status_2(start):
    master = start("--processes", "3", plan="fail: there is no callable 'application'.")
    assert master.wait_for_end() == 2
    assert master.log[-1] == "fairlead: there is no callable 'application'."


def test_a_first_start_that_crashes_is_not_repeated(start):
    master = start(plan="crash")
    assert master.wait_for_end() == 2
    assert re.search(r"worker 1 \(pid \d+\) exited with status 7 before it was ready", master.log[-1])
    assert sum("started with plan" in line for line in master.log) == 1


def test_a_stop_during_the_first_start_ends_a_worker_that_is_not_ready(start):
    master = start(plan="hang")
    master.wait_for("started with plan")
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


def test_a_killed_worker_is_replaced_and_the_log_says_how_it_ended(start):
    master = start().wait_until_ready()
    pid, _ = master.ask()
    os.kill(pid, signal.SIGKILL)
    master.wait_for(rf"worker 1 \(pid {pid}\) was killed by signal 9 \(SIGKILL\); starting another$")
    master.wait_for("is ready")
    assert master.ask()[0] != pid


def test_respawns_that_fail_wait_longer_and_longer(start):
    master = start().wait_until_ready()
    master.plan.write_text("crash")
    master.ask("die")
    master.wait_for(r"exited with status 7; starting another$")
    for wait in ("0.1", "0.2", "0.4"):
        master.wait_for(rf"did not come up .* starting another in {wait} s")
    master.plan.write_text("ready")
    master.wait_for("is ready")


def test_a_reload_brings_the_new_generation_before_the_old_one_leaves(start):
    master = start("--processes", "2").wait_until_ready()
    master.signal(signal.SIGHUP)
    master.wait_for("reloading: SIGHUP")
    seen = set()
    while 2 not in seen:  # every connection in the meantime is answered
        seen.add(master.ask()[1])
    master.wait_for("generation 1 told to stop because of reload in 60 s")
    assert sum("generation 2 started" in line and "a reload: True" in line for line in master.log) == 2


def test_an_old_worker_that_stays_is_killed_after_worker_reload_mercy(start):
    master = start("--worker-reload-mercy", "0.1", plan="deaf").wait_until_ready()
    master.signal(signal.SIGHUP)
    master.wait_for("generation 1 told to stop because of reload")
    master.wait_for("did not end in time and is killed")
    assert master.ask()[1] == 2


def test_a_reload_without_places_for_all_goes_step_by_step(start):
    master = start("--processes", "3", places=5).wait_until_ready()
    master.signal(signal.SIGHUP)
    _, told, started, *_ = master.wait_for_all(
        "2 new workers ready, 1 to come when places are free",
        "fake [12] generation 1 told to stop because of reload",
        "fake 3 generation 2 started",
        "reloaded: 1 new worker ready, the old leave",
        "fake 3 generation 1 told to stop because of reload",
    )
    # The first two have taken the last places; the third starts when an old one has ended.
    assert master.log.index(told.string) < master.log.index(started.string)
    assert {master.ask()[1] for _ in range(6)} == {2}


def test_a_reload_waits_while_there_is_no_place_at_all(start):
    master = start("--processes", "2", "--worker-reload-mercy", "0", places=4, plan="deaf").wait_until_ready()
    master.plan.write_text("ready")
    master.signal(signal.SIGHUP)
    master.wait_for("reloaded: 2 new workers ready")
    master.signal(signal.SIGHUP)
    master.wait_for("the reload waits for workers to end: all of 4 places are taken")
    master.wait_for("did not end in time and is killed")
    master.wait_for("reloaded: .* ready, the old leave")
    assert {master.ask()[1] for _ in range(4)} == {3}


def test_a_step_of_a_reload_that_fails_ends_it(start):
    master = start("--processes", "2", places=3).wait_until_ready()
    master.plan.write_text("fail: broken.")
    master.signal(signal.SIGHUP)
    master.wait_for(r"reload failed, what runs goes on: broken\.")
    master.plan.write_text("ready")
    master.signal(signal.SIGHUP)
    master.wait_for("1 new worker ready, 1 to come")
    master.wait_for("reloaded: 1 new worker ready")


def test_a_reload_that_fails_keeps_the_old_workers(start):
    master = start("--processes", "2").wait_until_ready()
    before = master.ask()
    master.plan.write_text("fail: app.py line 3 is wrong.")
    master.signal(signal.SIGHUP)
    master.wait_for("reload failed, what runs goes on: app.py line 3 is wrong.")
    assert master.ask()[1] == before[1] == 1
    assert not any("told to stop" in line for line in master.log)
    master.plan.write_text("ready")
    master.signal(signal.SIGHUP)
    master.wait_for("reloaded: 2 new workers ready")


def test_a_reload_during_a_reload_starts_again_with_the_newest_app(start):
    master = start().wait_until_ready()
    master.plan.write_text("hang")
    master.signal(signal.SIGHUP)
    master.wait_for("generation 2 started with plan 'hang'")
    master.plan.write_text("ready")
    master.signal(signal.SIGHUP)
    master.wait_for("reloaded: 1 new worker ready")
    assert master.ask()[1] == 3


def test_a_worker_that_dies_during_a_hanging_reload_is_replaced(start):
    master = start().wait_until_ready()
    master.plan.write_text("hang")
    master.signal(signal.SIGHUP)
    master.wait_for("generation 2 started with plan 'hang'")
    master.plan.write_text("ready")
    master.ask("die")
    master.wait_for("is ready")
    master.ask()


def test_each_process_has_a_cell_of_its_own_and_finds_it_absent(start):
    master = start("--processes", "2").wait_until_ready()
    assert any("generation 1 finds its cell 0 in absent" in line for line in master.log)
    assert any("fake 2 generation 1 finds its cell 1 in " in line for line in master.log)
    # Old and new generation run side by side for a while.
    master.signal(signal.SIGHUP)
    master.wait_for("reloaded")
    assert any("fake 1 generation 2 finds its cell 2 in 1 2 absent" in line for line in master.log)
    assert any("fake 2 generation 2 finds its cell 3 in 1 2 " in line for line in master.log)


def test_the_cell_of_a_dead_worker_is_cleared_and_given_to_the_next(start):
    master = start("--processes", "2").wait_until_ready()
    pid, _ = master.ask("die")
    died = int(master.wait_for(rf"worker (\d) \(pid {pid}\) exited with status 7; starting another$")[1])
    cells = "absent 2" if died == 1 else "1 absent"
    master.wait_for(rf"fake {died} generation 1 finds its cell {died - 1} in {cells}$")
    master.wait_for("is ready")


def test_a_worker_without_siblings_gets_no_scoreboard(start):
    master = start().wait_until_ready()
    assert not any("finds its cell" in line for line in master.log)


def test_a_worker_may_ask_for_a_reload_a_successor_or_a_stop(start):
    master = start().wait_until_ready()
    master.ask("reload")
    master.wait_for("reloading: worker 1 .* asks for it")
    master.wait_for("generation 1 told to stop because of reload")
    pid, generation = master.ask("replace")
    master.wait_for(rf"worker 1 \(pid {pid}\) asks to be replaced")
    master.wait_for("generation 2 told to stop because of reload")
    assert master.ask() != (pid, generation)
    master.ask("stop")
    assert master.wait_for_end() == 0


def test_nothing_that_a_worker_says_ends_the_master_or_passes_in_silence(start):
    master = start("--py-autoreload", "100").wait_until_ready()
    pid, _ = master.ask("nonsense")
    assert "warning: worker 1 " in master.wait_for("has sent the master 10 messages that it does not understand").string
    assert master.ask()[0] == pid
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


def test_a_wait_that_epoll_cannot_count_ends_nobody(start):
    master = start("--worker-reload-mercy", "2592000", plan="deaf").wait_until_ready()
    before = master.ask("harakiri 2592000")
    assert master.ask() == before
    master.signal(signal.SIGHUP)
    master.wait_for("reloaded: 1 new worker ready")
    master.signal(signal.SIGTERM)
    master.wait_for("stopping")
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


def test_a_start_message_that_no_socket_holds_arrives_whole(start):
    rules = [text for _ in range(1500) for text in ("--route", f"^/{'x' * 300} log:nothing")]
    master = start("--processes", "2", *rules).wait_until_ready()
    assert master.ask()[1] == 1
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


def test_a_replacement_that_fails_is_tried_again_until_it_succeeds(start):
    master = start().wait_until_ready()
    old, _ = master.ask()
    master.plan.write_text("fail: the code on disk is broken.")
    master.ask("replace")
    master.wait_for(r"replacement of worker 1 did not come up \(the code on disk is broken\.\); starting another$")
    master.wait_for(r"worker 1 did not come up \(the code on disk is broken\.\); starting another in 0\.1 s")
    assert master.ask()[0] == old
    master.plan.write_text("ready")
    ready, _ = master.wait_for_all(r"worker 1 \(pid (\d+)\) is ready", "told to stop because of reload")
    assert master.ask()[0] == int(ready[1]) != old


def test_a_worker_that_asks_for_a_successor_before_all_are_ready_gets_one(start, tmp_path):
    gate, address = tmp_path / "gate", str(tmp_path / "socket")
    os.mkfifo(gate)
    master = start("--http", address, "--processes", "2", plan=f"gate 2: {gate}")
    master.wait_for("fake 2 .* started with plan 'gate")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(address)
        client.sendall(b"replace\n")
        old = int(client.recv(1000).split()[0])
    master.plan.write_text("ready")
    gate.write_text("")
    master.wait_for("serving")
    master.wait_for(rf"worker 1 \(pid {old}\) asks to be replaced")
    master.wait_for(r"worker 1 \(pid \d+\) is ready")


def test_a_reload_during_the_first_start_is_remembered(start, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    master = start(plan=f"gate 1: {gate}")
    master.wait_for("started with plan 'gate")
    master.signal(signal.SIGHUP)
    master.wait_for("SIGHUP: the first workers are not ready yet; reloading after that")
    master.plan.write_text("ready")
    gate.write_text("")
    master.wait_for("serving")
    master.wait_for("reloading: SIGHUP")
    master.wait_for("reloaded: 1 new worker ready")


def test_a_touched_file_reloads(start, tmp_path):
    touched = tmp_path / "touch"
    master = start("--touch-reload", str(touched)).wait_until_ready()
    touched.touch()
    master.wait_for(rf"reloading: {touched} changed")
    master.wait_for("reloaded")


def test_a_changed_module_reloads_under_py_autoreload(start):
    master = start("--py-autoreload", "0.05").wait_until_ready()
    os.utime(master.plan, ns=(1, 1))
    master.wait_for(f"reloading: {master.plan} changed")
    master.wait_for("reloaded")


def test_workers_see_the_end_of_a_master_that_is_killed(start):
    master = start("--processes", "2").wait_until_ready()
    master.signal(signal.SIGKILL)
    master.wait_for("saw the master's end")
    master.wait_for("saw the master's end")
    assert master.wait_for_end() == -signal.SIGKILL


def test_a_second_start_on_a_used_port_says_so_in_one_sentence(start):
    master = start().wait_until_ready()
    second = start("--http", f"127.0.0.1:{master.port}")
    assert second.wait_for_end() == 2
    assert second.log == [
        f"fairlead: --http 127.0.0.1:{master.port}: another process already listens there; stop it or "
        "choose another address."
    ]


def test_the_pidfile_is_written_and_removed(start, tmp_path):
    pidfile = tmp_path / "pid"
    master = start("--pidfile", str(pidfile)).wait_until_ready()
    assert int(pidfile.read_text()) == master.process.pid
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0
    assert not pidfile.exists()


def test_a_unix_socket_gets_its_mode_and_is_removed_at_the_end(start, tmp_path):
    path = tmp_path / "app.sock"
    master = start("--http-socket", str(path), "--chmod-socket=600")
    master.wait_for(f"serving app.py at unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0
    assert not path.exists()


def test_the_log_goes_to_the_file_of_logto(start, tmp_path):
    path = tmp_path / "log"
    os.mkfifo(path)  # a pipe can be waited for, a file cannot
    master = start("--logto", str(path))
    with open(path) as log:
        assert any("serving" in line for line in log)
        master.signal(signal.SIGTERM)
        assert any("told to stop because of stop" in line for line in log)
    assert master.wait_for_end() == 0
    assert master.log == []


def let_everybody_in(folder: Path) -> None:
    """pytest makes its folders for their owner alone."""
    while folder != Path(tempfile.gettempdir()):
        folder.chmod(0o755)
        folder = folder.parent


@only_root
def test_dropped_privileges_cannot_come_back_and_no_group_of_root_stays():
    nobody = pwd.getpwnam("nobody")
    for uid, gid in ((nobody.pw_uid, None), (nobody.pw_uid, 7), (NO_ENTRY, 7)):
        program = (
            "import os; from fairlead.master.privileges import Account\n"
            "os.setgroups([0, 4])\n"
            f"Account.of({uid}, {gid}).become()\n"
            "print(*os.getresuid(), *os.getresgid(), 0 in os.getgroups(), 4 in os.getgroups())"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S)
        group = nobody.pw_gid if gid is None else gid
        assert done.stdout.split() == [str(uid)] * 3 + [str(group)] * 3 + ["False"] * 2, done.stderr


@only_root
def test_a_user_without_an_entry_needs_its_group(start):
    master = start("--uid", str(NO_ENTRY))
    assert master.wait_for_end() == 2
    assert master.log == [
        f"fairlead: --uid {NO_ENTRY}: this user has no entry in passwd, so its group is not known; give --gid too."
    ]


@only_root
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_root_made_is_the_users_and_goes_at_the_end(start, tmp_path, end):
    let_everybody_in(tmp_path)
    made = [tmp_path / name for name in ("app.sock", "channels.sock", "pid")]
    options = ["--http-socket", str(made[0]), "--chmod-socket=660", "--channels-socket", str(made[1])]
    master = start(*options, "--pidfile", str(made[2]), "--uid", "nobody", worker=SHELL_WORKER)
    master.wait_for("serving")
    nobody = pwd.getpwnam("nobody")
    about = [path.stat() for path in made]
    assert [(one.st_uid, one.st_gid) for one in about] == [(nobody.pw_uid, nobody.pw_gid)] * 2 + [(0, 0)]
    assert about[0].st_mode & 0o777 == 0o660
    assert int(made[2].read_text()) == master.process.pid
    master.signal(end)
    assert master.wait_for_end() == (0 if end == signal.SIGTERM else -end)
    # The log has ended: whoever held it has gone, and the process that removes the files holds nothing else.
    wait_until(lambda: not any(path.exists() for path in made), "the files go")


def test_a_second_instance_leaves_the_pidfile_of_one_that_runs(start, tmp_path):
    pidfile = tmp_path / "pid"
    first = start("--pidfile", str(pidfile)).wait_until_ready()
    second = start("--pidfile", str(pidfile))
    assert second.wait_for_end() == 2
    assert second.log == [
        f"fairlead: --pidfile {pidfile} belongs to another instance that runs, process {first.process.pid}; stop it or "
        "choose another path."
    ]
    assert int(pidfile.read_text()) == first.process.pid
    first.signal(signal.SIGKILL)
    assert first.wait_for_end() == -signal.SIGKILL
    third = start("--pidfile", str(pidfile)).wait_until_ready()
    assert int(pidfile.read_text()) == third.process.pid


@only_root
@pytest.mark.parametrize("option", ["--logto", "--pidfile"])
@pytest.mark.parametrize("way", ["file", "folder"])
def test_root_follows_no_link_of_somebody_else(start, tmp_path, option, way):
    let_everybody_in(tmp_path)
    roots, theirs = tmp_path / "roots", tmp_path / "theirs"
    roots.mkdir()
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    kept = roots / "kept"
    kept.write_text("root's own")
    link = theirs / "link"
    link.symlink_to(kept if way == "file" else roots)
    path = link if way == "file" else link / "kept"
    master = start(option, str(path), "--uid", "65534")
    assert master.wait_for_end() == 2
    assert re.search(rf"^fairlead: {option} {path} cannot be \w+: permission denied", master.log[-1])
    assert kept.read_text() == "root's own"


@only_root
def test_root_writes_where_the_user_may_and_where_root_alone_may(start, tmp_path):
    let_everybody_in(tmp_path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    (tmp_path / "link").symlink_to(tmp_path / "pid")
    options = ["--logto", str(theirs / "log"), "--pidfile", str(tmp_path / "link"), "--uid", "65534"]
    master = start(*options, worker=SHELL_WORKER)
    wait_until(lambda: (theirs / "log").exists() and "serving" in (theirs / "log").read_text(), "it serves")
    assert ((theirs / "log").stat().st_uid, (tmp_path / "pid").stat().st_uid) == (65534, 0)
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


@only_root
def test_the_log_is_opened_anew_without_the_rights_of_root(start, tmp_path):
    let_everybody_in(tmp_path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    log = theirs / "log"
    master = start("--logto", str(log), "--uid", "65534", worker=SHELL_WORKER)
    wait_until(lambda: log.exists() and "serving" in log.read_text(), "it serves")
    log.rename(theirs / "log.1")
    # Only root could follow this.
    kept = tmp_path / "kept"
    kept.write_text("root's own")
    log.symlink_to(kept)
    master.signal(signal.SIGUSR1)
    refusal = f"--logto {log} cannot be opened anew: permission denied; lines go to the old file still"
    wait_until(lambda: refusal in (theirs / "log.1").read_text(), "it says so")
    log.unlink()
    master.signal(signal.SIGUSR1)
    wait_until(lambda: log.exists() and "was opened anew" in log.read_text(), "it goes on")
    assert log.stat().st_uid == 65534 and kept.read_text() == "root's own"
    master.signal(signal.SIGTERM)
    assert master.wait_for_end() == 0


def test_patience_grows_to_ten_seconds_and_is_renewed_by_a_minute_of_life():
    patience = Patience()
    waits = [patience.next_wait_s(1.0) for _ in range(10)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert patience.next_wait_s(60.0) == 0.0
    assert patience.next_wait_s(1.0) == 0.1
