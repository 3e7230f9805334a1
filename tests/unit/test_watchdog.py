"""What is said of a thread that stands still, and that one which a debugger has stopped is none."""

from __future__ import annotations

import threading

import pytest
from fairlead.worker.watchdog import StallLog


class Lines(list[str]):
    warning = list.append


@pytest.mark.parametrize(("module", "count"), [("pdb", 0), ("bdb", 0), ("app", 2)])
def test_a_debugger_is_no_stall(module: str, count: int) -> None:
    entered, gate = threading.Event(), threading.Event()
    names: dict[str, object] = {"__name__": module}
    exec("def wait(entered, gate):\n    entered.set()\n    gate.wait()", names)
    thread = threading.Thread(target=names["wait"], args=(entered, gate))  # type: ignore[arg-type]
    thread.start()
    assert entered.wait(15)
    log = Lines()
    stalls = StallLog(log, thread.ident or 0, lambda: True)
    try:
        stalls.stalled(1.0)
        stalls.stalled(11.0)
        stalls.recovered(12.0)
    finally:
        gate.set()
        thread.join()
    assert len(log) == count, log
