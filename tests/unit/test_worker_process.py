"""The master's side of one worker: JSON lines in any slicing, of any length, nonsense, silence, and the environment
handed down."""

from __future__ import annotations

import json
import os
import re
import select
import sys

from fairlead.control_protocol import line as control_line
from fairlead.master import worker_process
from fairlead.master.worker_process import WorkerProcess, environment_for_workers

FIRST = {"worker_id": 3, "generation": 2, "settings": {}}
READY, MODULES = {"event": "ready", "answers_pings": False}, {"event": "modules", "files": ["/a.py"]}


def started(program: str, first: dict[str, object] = FIRST, warnings: list[str] | None = None) -> WorkerProcess:
    head = "import os, socket, sys\ncontrol = socket.socket(fileno=int(os.environ['FAIRLEAD_CONTROL_FD']))\n"
    return WorkerProcess([sys.executable, "-c", head + program], first, [], os.environ, 0.0, (warnings or []).append)


def all_messages(worker: WorkerProcess) -> list[dict[str, object]]:
    messages, is_open = [], True
    while is_open:
        assert select.select([worker.control], [], [], 15)[0]
        more, is_open = worker.receive_nowait()
        messages += more
    worker._process.wait(15)
    return messages


def test_messages_may_come_in_pieces_and_with_nonsense_between():
    warnings = ["start"]
    worker = started(
        'for byte in b\'{"event":"ready"}\\n[1]\\nno\\n\\n{"event":"modules","files":["/a.py"]}\\n{"half\':'
        " control.send(bytes([byte]))",
        warnings=warnings,
    )
    assert all_messages(worker) == [READY, MODULES]
    assert warnings[1:] == [
        f"worker 3 (pid {worker.pid}) has sent the master a message that it does not understand: it is no JSON object"
    ]
    assert worker.ended_nowait() == "exited with status 0"
    worker.close()


def test_of_endless_nonsense_the_log_tells_ever_more_rarely():
    warnings = ["start"]
    worker = started("control.sendall(b'no\\n' * 250)", warnings=warnings)
    assert all_messages(worker) == []
    assert [re.search(r"(a|\d+) messages?", one)[1] for one in warnings[1:]] == ["a", "10", "100"]
    worker.close()


def test_a_line_without_end_is_dropped_and_what_follows_is_understood(monkeypatch):
    monkeypatch.setattr(worker_process, "LONGEST_LINE", 1000)
    warnings = ["start"]
    worker = started("control.sendall(b'x' * 300_000 + b'\\n' + b'{\"event\":\"ready\"}\\n')", warnings=warnings)
    assert all_messages(worker) == [READY]
    assert [one.rpartition(": ")[2] for one in warnings[1:]] == ["it is longer than 1000 bytes"]
    worker.close()


def test_one_worker_that_never_stops_writing_does_not_keep_the_master():
    worker = started('while True: control.sendall(b\'{"event":"ready"}\\n\' * 1000)')
    assert select.select([worker.control], [], [], 15)[0]
    for _ in range(3):
        messages, is_open = worker.receive_nowait()
        assert is_open and len(messages) <= 1024 * 1024 / 18 + 1
    worker.kill()
    worker._process.wait(15)
    worker.close()


def test_the_worker_gets_the_first_line_and_no_terminal():
    worker = started(
        "import json\nline = control.makefile('rb').readline()\n"
        "told = json.dumps({'event': 'failed', 'message': line.decode()})\ncontrol.sendall(told.encode() + b'\\n')\n"
        "assert sys.stdin.read() == ''\nassert os.getsid(0) == os.getpid()\nos.kill(os.getpid(), 9)"
    )
    [told] = all_messages(worker)
    assert json.loads(told["message"]) == FIRST
    assert worker.ended_nowait() == "was killed by signal 9 (SIGKILL)"
    worker.close()


def test_a_first_line_that_no_socket_holds_at_once_arrives_whole():
    long = {**FIRST, "settings": {"route": ["x" * 2000] * 2000}}
    worker = started(
        "line = control.makefile('rb').readline()\n"
        'told = b\'{"event":"failed","message":"%d"}\' % len(line)\n'
        "control.sendall(told + bytes([10]))",
        long,
    )
    while worker.waits_to_send:
        assert select.select([], [worker.control], [], 15)[1]
        worker.flush_nowait()
    assert all_messages(worker) == [{"event": "failed", "message": str(len(control_line(long)))}]
    worker.close()


def test_sending_to_a_worker_that_never_reads_does_not_wait_and_is_told_once():
    warnings = ["start"]
    worker = started("sys.stderr.close(); control.recv(1); import signal; signal.pause()", warnings=warnings)
    for _ in range(4000):
        worker.send({"command": "x" * 1000})
    assert warnings[1:] == [
        f"worker 3 (pid {worker.pid}) does not read what the master says; what does not fit any more is dropped"
    ]
    worker.kill()
    worker._process.wait(15)
    worker.close()


def test_the_environment_finds_this_package_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = environment_for_workers({"PYTHONPATH": "lib:/abs", "A": "1"}, [("A", "2"), ("B", "3")])
    folders = environ["PYTHONPATH"].split(":")
    assert (environ["A"], environ["B"]) == ("2", "3")
    assert folders[:2] == [str(tmp_path / "lib"), "/abs"]
    assert json.dumps(environ)
