"""The master's side of one worker: JSON lines in any slicing, nonsense, silence, and the environment handed
down."""

from __future__ import annotations

import json
import os
import select
import sys

from fairlead.master import worker_process
from fairlead.master.worker_process import WorkerProcess, environment_for_workers

FIRST = {"worker_id": 3, "generation": 2, "settings": {}}


def started(program: str) -> WorkerProcess:
    head = "import os, socket, sys\ncontrol = socket.socket(fileno=int(os.environ['FAIRLEAD_CONTROL_FD']))\n"
    return WorkerProcess([sys.executable, "-c", head + program], FIRST, [], os.environ, 0.0)


def all_messages(worker: WorkerProcess) -> list[dict[str, object]]:
    messages, is_open = [], True
    while is_open:
        assert select.select([worker.control], [], [], 15)[0]
        more, is_open = worker.receive_nowait()
        messages += more
    worker._process.wait(15)
    return messages


def test_messages_may_come_in_pieces_and_with_nonsense_between():
    worker = started(
        'for byte in b\'{"event":"a"}\\n[1]\\nno\\n\\n{"event":"b"}\\n{"half\': control.send(bytes([byte]))'
    )
    assert all_messages(worker) == [{"event": "a"}, {"event": "b"}]
    assert worker.ended_nowait() == "exited with status 0"
    worker.close()


def test_a_worker_without_end_of_line_is_not_read_forever(monkeypatch):
    monkeypatch.setattr(worker_process, "LONGEST_LINE", 1000)
    worker = started("control.sendall(b'x' * 10_000)")
    assert all_messages(worker) == []
    worker.close()


def test_the_worker_gets_the_first_line_and_no_terminal():
    worker = started(
        "line = control.makefile('rb').readline()\ncontrol.sendall(line)\nassert sys.stdin.read() == ''\n"
        "assert os.getsid(0) == os.getpid()\nos.kill(os.getpid(), 9)"
    )
    assert all_messages(worker) == [FIRST]
    assert worker.ended_nowait() == "was killed by signal 9 (SIGKILL)"
    worker.close()


def test_sending_to_a_worker_that_never_reads_does_not_wait():
    worker = started("sys.stderr.close(); control.recv(1); import signal; signal.pause()")
    for _ in range(2000):
        worker.send({"command": "x" * 1000})
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
