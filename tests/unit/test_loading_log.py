"""When the master says that an application takes long to load; the time is a parameter."""

from __future__ import annotations

from typing import NamedTuple

from fairlead.master.loading import LoadingLog


class Worker(NamedTuple):
    label: str


class Lines(list[str]):
    info = list.append


def test_a_line_comes_after_a_second_then_ten_then_thirty_then_each_minute() -> None:
    now = 100.0
    log = Lines()
    loading = LoadingLog(log, lambda: now, "app.py")  # type: ignore[arg-type]
    loading.begins(Worker("worker 1"))  # type: ignore[arg-type]
    said = []
    for _ in range(6):
        (now,) = loading.due_at()
        loading.on_time(now - 0.001)
        assert len(log) == len(said)
        loading.on_time(now)
        said.append(now - 100.0)
    assert said == [1.0, 10.0, 30.0, 60.0, 120.0, 180.0]
    assert log[0] == "loading app.py: 1 s so far, worker 1" and log[-1].startswith("loading app.py: 180 s")


def test_one_that_is_ready_is_not_spoken_of() -> None:
    log = Lines()
    loading = LoadingLog(log, lambda: 0.0, "app.py")  # type: ignore[arg-type]
    quick, slow = Worker("quick"), Worker("slow")
    for worker in (quick, slow):
        loading.begins(worker)  # type: ignore[arg-type]
    loading.ends(quick)  # type: ignore[arg-type]
    loading.ends(quick)  # type: ignore[arg-type]
    loading.on_time(5.0)
    assert log == ["loading app.py: 5 s so far, slow"] and len(loading.due_at()) == 1
