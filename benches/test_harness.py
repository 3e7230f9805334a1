"""Tests of the harness: what turns samples into verdicts, and what must never leave a process behind.
Rates and times are not tested, because they are what the bench is for. Run them with
`python3 -m unittest discover benches`.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from xml.etree import ElementTree

import picture
from harness import clients, report, servers
from harness.clients import Sample
from harness.contest import Outcome, Spread
from harness.servers import Recipe, ServerFailed
from harness.workloads import Bars, Workload

SVG = "http://www.w3.org/2000/svg"
CPU = min(os.sched_getaffinity(0))
LISTEN = (
    "import socket, sys, subprocess, time\n"
    "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, start_new_session=True)\n"
    "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
    "time.sleep(60)"
)


def sample(rate: float, cpu_us: float = 1.0, errors: int = 0, busy: float = 1.0) -> Sample:
    return Sample(rate, cpu_us, 1.0, 2.0, errors, busy, busy)


def outcome(*rounds: dict[str, Sample]) -> Outcome:
    workload = Workload("echo", "echo", "echo", (), Bars(0.8, 1.3))
    return Outcome(workload, [Recipe("limit", "limit", ()), Recipe("fairlead", "Fairlead", ())], list(rounds))


def verdict(one: Outcome) -> str:
    row = next(line for line in report.markdown({}, "Fairlead", [one]).splitlines() if line.startswith("| echo"))
    return row.split("|")[-2].strip()


class Contest(unittest.TestCase):
    def test_a_ratio_is_the_median_of_the_ratios_within_rounds(self) -> None:
        one = outcome(*({"limit": sample(of), "fairlead": sample(rate)} for rate, of in ((9, 10), (1, 2), (80, 100))))
        self.assertEqual(one.ratio("fairlead", "limit", report.RATE), Spread(0.8, 0.5, 0.9))

    def test_a_round_in_which_nobody_was_busy_is_disturbed(self) -> None:
        self.assertTrue(sample(1, busy=0.5).disturbed)
        self.assertFalse(sample(1, busy=0.95).disturbed)

    def test_both_bars_decide_the_verdict(self) -> None:
        limit = sample(100, 1.0)
        self.assertEqual(verdict(outcome({"limit": limit, "fairlead": sample(80, 1.3)})), "pass")
        self.assertEqual(verdict(outcome({"limit": limit, "fairlead": sample(79, 1.3)})), "**miss**")
        self.assertEqual(verdict(outcome({"limit": limit, "fairlead": sample(80, 1.31)})), "**miss**")

    def test_a_run_with_errors_never_passes(self) -> None:
        one = outcome({"limit": sample(100), "fairlead": sample(200, errors=1)})
        self.assertEqual(verdict(one), "**miss** (errors)")

    def test_a_server_without_result_misses(self) -> None:
        self.assertEqual(verdict(outcome({"limit": sample(100)})), "**miss**")


class Servers(unittest.TestCase):
    def test_a_worker_in_a_session_of_its_own_is_measured_and_stopped(self) -> None:
        recipe = Recipe("fake", "fake", (sys.executable, "-c", LISTEN, "{port}"))
        with servers.running(recipe, CPU) as server:
            tree = servers._tree(server.process.pid)
            self.assertEqual(server.pids(), sorted(tree))
        self.assertEqual(len(tree), 2)
        self.assertFalse([pid for pid, started in tree.items() if servers._is_alive(pid, started)])

    def test_a_server_that_ends_at_once_fails_with_its_last_words(self) -> None:
        recipe = Recipe("fake", "fake", (sys.executable, "-c", "raise SystemExit('no such app')"))
        with self.assertRaisesRegex(ServerFailed, "no such app"), servers.running(recipe, CPU):
            self.fail("it cannot run")


class Wrk(unittest.TestCase):
    def test_latencies_are_read_in_every_unit(self) -> None:
        output = "  Latency Distribution\n     50%  532.00us\n     99%    1.24s \n"
        self.assertEqual(clients._latency_us("50%", output), 532.0)
        self.assertEqual(clients._latency_us("99%", output), 1_240_000.0)

    def test_closed_connections_are_no_errors_but_statuses_are(self) -> None:
        output = "  Socket errors: connect 1, read 900, write 2, timeout 4\n  Non-2xx or 3xx responses: 10\n"
        self.assertEqual(clients._wrk_errors(output), 17)


class Pictures(unittest.TestCase):
    def test_the_picture_of_the_documentation_is_that_of_the_committed_results(self) -> None:
        results = [json.loads((picture.RESULTS / name).read_text()) for name in picture.SHOWN]
        drawn = picture.svg(picture.rows(results))
        self.assertEqual((picture.RESULTS.parents[1] / "docs" / "bench.svg").read_text(), drawn)
        texts = [element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{{{SVG}}}text")]
        for model in ("gevent", "generators", "asyncio", "threads"):
            self.assertTrue(any(text.startswith(f"{model} host: ") for text in texts), model)


if __name__ == "__main__":
    unittest.main()
