"""The master's statistics of its workers: sums over the processes of a worker id, a missing worker."""

from __future__ import annotations

import json
from typing import Any

from fairlead.master.statistics import WorkerStatistics


class Worker:
    def __init__(self, worker_id: int, pid: int, **stats: Any) -> None:
        self.worker_id, self.pid, self.stats = worker_id, pid, stats


def statistics_of(*worker_ids: int) -> WorkerStatistics:
    statistics = WorkerStatistics(worker_ids, clock=lambda: 1000.7)
    for worker_id in worker_ids:
        statistics.spawned(worker_id)
    return statistics


def test_a_worker_shows_its_own_statistics():
    worker = Worker(1, 7, requests=3, exceptions=1, tx=40, running_time=900, avg_rt=300, rss=11, vsz=22, running=2)
    [row] = statistics_of(1).rows({1: worker}, [worker])
    assert row == {
        "id": 1, "pid": 7, "requests": 3, "delta_requests": 3, "signals": 0, "exceptions": 1, "status": "busy",
        "rss": 11, "vsz": 22, "running_time": 900, "last_spawn": 1000, "respawn_count": 1, "tx": 40, "avg_rt": 300,
        "apps": [],
    }  # fmt: skip


def test_a_worker_without_running_tasks_is_idle():
    worker = Worker(1, 7, running=0)
    assert statistics_of(1).rows({1: worker}, [worker])[0]["status"] == "idle"


def test_a_worker_that_is_not_there_is_cheap():
    [row] = statistics_of(1).rows({}, [])
    assert (row["status"], row["pid"], row["requests"]) == ("cheap", 0, 0)


def test_before_all_serve_a_worker_that_arrives_is_shown():
    worker = Worker(1, 7, requests=1)
    assert statistics_of(1).rows({}, [worker])[0]["pid"] == 7


def test_processes_of_one_id_add_up_and_the_serving_one_is_shown():
    statistics = statistics_of(1, 2)
    gone = Worker(1, 5, requests=100, exceptions=2, tx=1000, running_time=50, rss=9)
    statistics.ended(gone)
    statistics.spawned(1)
    leaving = Worker(1, 6, requests=10, tx=100)
    serving = Worker(1, 7, requests=1, tx=1, rss=3)
    first, second = statistics.rows({1: serving}, [leaving, serving])
    assert (first["pid"], first["requests"], first["delta_requests"]) == (7, 111, 1)
    assert (first["exceptions"], first["tx"], first["running_time"], first["rss"]) == (2, 1101, 50, 3)
    assert (first["respawn_count"], second["respawn_count"]) == (2, 1)
    assert second["requests"] == 0


def test_applications_are_shown_as_told():
    app = {"mountpoint": "/a", "startup_time": 1, "callable": 5, "requests": 2, "exceptions": 0, "chdir": "/srv"}
    worker = Worker(1, 7, apps=[app])
    assert statistics_of(1).rows({1: worker}, [worker])[0]["apps"] == [app]


def test_an_answer_about_many_workers_fits_a_sockets_buffer():
    statistics = statistics_of(*range(1, 801))
    app = {
        "mountpoint": "",
        "startup_time": 1,
        "callable": 2**47,
        "requests": 10**9,
        "exceptions": 0,
        "chdir": "/srv/app",
    }
    workers = [
        Worker(n, 10**6 + n, requests=10**9, tx=10**12, running_time=10**12, rss=10**9, vsz=10**10, apps=[app])
        for n in range(1, 801)
    ]
    rows = statistics.rows({worker.worker_id: worker for worker in workers}, workers)
    assert len(json.dumps(rows, separators=(",", ":"))) < 212_992
