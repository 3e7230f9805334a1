"""Tests of the harness: what turns samples into verdicts, and what must never leave a process behind.
Rates and times are not tested, because they are what the bench is for. Run them with
`python3 -m unittest discover benches`.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from pathlib import Path
from xml.etree import ElementTree

import picture
from harness import clients, peers, report, servers
from harness.clients import Sample
from harness.contest import Outcome, Spread
from harness.servers import Recipe, ServerFailed
from harness.workloads import WORKLOADS, Bars, Workload

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


class Before(unittest.TestCase):
    """Another checkout of Fairlead in the same rounds."""

    def verdict(self, cpu_us: float) -> str:
        samples = {"limit": sample(100), "fairlead": sample(90, cpu_us), "before": sample(90, 1.0)}
        one = outcome(samples)
        one.recipes.append(Recipe("before", "Fairlead before", ()))
        text = report.markdown({}, "Fairlead", [one])
        return text.split("## Beside the commit before")[1].splitlines()[4].split("|")[-2].strip()

    def test_a_message_may_cost_two_hundredths_more(self) -> None:
        self.assertEqual(self.verdict(1.02), "pass")
        self.assertEqual(self.verdict(1.03), "**miss**")

    def test_a_report_without_it_has_no_such_table(self) -> None:
        one = outcome({"limit": sample(100), "fairlead": sample(90)})
        self.assertNotIn("commit before", report.markdown({}, "Fairlead", [one]))

    def test_the_checkout_is_found_by_its_environment(self) -> None:
        self.assertEqual(peers.checkout_of("/a/b/.venv/bin/python"), Path("/a/b"))


class Rivals(unittest.TestCase):
    """Rows whose bars name other servers."""

    def verdicts(self, bars: Bars, **others: Sample) -> list[str]:
        """The last column by server, Fairlead's own row included."""
        workload = Workload("wss", "wss", "echo", (), bars, peers=("peer",), front="wss")
        samples = {"fairlead": sample(100, 1.0), **others}
        one = Outcome(workload, [Recipe(name, name, ()) for name in ("fairlead", "own", "peer")], [samples])
        lines = report.markdown({}, "Fairlead", [one]).splitlines()
        return [line.split("|")[-2].strip() for line in lines if line.startswith("| wss")]

    def test_each_bar_is_held_against_the_server_it_names(self) -> None:
        bars = Bars(own_rate_at_least=0.7, best_peer_at_least=1.3)
        self.assertEqual(
            self.verdicts(bars, own=sample(140), peer=sample(77)),
            ["", "rate ≥ 0.70: pass", "rate ≥ 1.30: **miss**"],
        )
        self.assertEqual(
            self.verdicts(bars, own=sample(150), peer=sample(76)),
            ["", "rate ≥ 0.70: **miss**", "rate ≥ 1.30: pass"],
        )

    def test_a_proxy_is_judged_by_its_cpu_whatever_its_rate(self) -> None:
        bars = Bars(best_peer_cpu_at_most=1.0)
        self.assertEqual(self.verdicts(bars, own=sample(1), peer=sample(500, 1.0))[2], "CPU ≤ 1.00: pass")
        self.assertEqual(self.verdicts(bars, own=sample(1), peer=sample(50, 0.9))[2], "CPU ≤ 1.00: **miss**")

    def test_a_row_without_fairlead_misses_and_one_without_a_peer_says_so(self) -> None:
        bars = Bars(best_peer_at_least=1.3)
        self.assertEqual(self.verdicts(bars, own=sample(1)), ["", "", ""])
        workload = Workload("wss", "wss", "echo", (), bars, peers=("peer",), front="wss")
        failed = Outcome(workload, [Recipe("fairlead", "Fairlead", ())], [{}])
        text = report.markdown({}, "Fairlead", [failed])
        self.assertIn("**miss**", text)
        self.assertIn("wss: no verdict, no peer took part", text)


class Rows(unittest.TestCase):
    def test_every_row_has_its_front_and_its_peers_have_recipes(self) -> None:
        names = [workload.name for workload in WORKLOADS]
        self.assertEqual(len(names), len(set(names)))
        for workload in WORKLOADS:
            fairlead = peers.fairlead(workload, "python")
            self.assertEqual(bool(fairlead.backend), workload.front.startswith("route-"), workload.name)
            for name in workload.peers:
                self.assertEqual(peers._peer(name).name, name)

    def test_a_bar_against_the_limit_needs_a_row_that_has_it(self) -> None:
        for workload in WORKLOADS:
            bars = workload.bars
            if bars.rate_at_least or bars.cpu_at_most or bars.p99_at_most or bars.kib_per_connection_at_most:
                self.assertTrue(workload.has_limit, workload.name)


class Servers(unittest.TestCase):
    def test_a_worker_in_a_session_of_its_own_is_measured_and_stopped(self) -> None:
        recipe = Recipe("fake", "fake", (sys.executable, "-c", LISTEN, "{port}"))
        with servers.running(recipe, CPU) as server:
            tree = servers._tree(server.process.pid)
            self.assertEqual(server.pids(), sorted(tree))
        self.assertEqual(len(tree), 2)
        self.assertFalse([pid for pid, started in tree.items() if servers._is_alive(pid, started)])

    def test_what_is_behind_a_proxy_is_started_told_and_stopped_but_not_measured(self) -> None:
        say = "import sys; print(*sys.argv[2:], open(sys.argv[3]).read(), flush=True)\n"
        recipe = Recipe(
            "proxy",
            "proxy",
            (sys.executable, "-c", say + LISTEN, "{port}", "{backend}", "{folder}/proxy.conf"),
            backend=(sys.executable, "-c", LISTEN, "{port}"),
            files={"proxy.conf": "{port} to {backend}"},
        )
        with servers.running(recipe, CPU) as server:
            backend = server.backend
            assert backend is not None
            said = server.log.read_text().split()
            self.assertEqual(said[0], str(backend.port))
            self.assertEqual(said[2:], [str(server.port), "to", str(backend.port)])
            behind = servers._tree(backend.process.pid)
            self.assertFalse(set(behind) & set(server.pids()))
        self.assertFalse([pid for pid, started in behind.items() if servers._is_alive(pid, started)])

    def test_a_server_that_ends_at_once_fails_with_its_last_output(self) -> None:
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


class H2load(unittest.TestCase):
    OUTPUT = (
        "finished in 3.00s, 52145.67 req/s, 4.12MB/s\n"
        "requests: 156437 total, 156501 started, 156437 done, 156430 succeeded, 7 failed, 3 errored, 1 timeout\n"
        "status codes: 156430 2xx, 0 3xx, 2 4xx, 4 5xx\n"
        "traffic: 12.38MB (12981234) total, 2.90MB (3041234) headers (space savings 83.33%), 1.94MB (2033590) data\n"
    )

    def test_what_went_wrong_counts_as_errors(self) -> None:
        result = clients._h2load_result(self.OUTPUT)
        self.assertEqual((result.rate, result.requests), (52145.67, 156430))
        # Statuses beyond 3xx, what failed (or errored, which is a part of it), and what came too late.
        self.assertEqual(result.errors, 6 + 7 + 1)

    def test_output_without_a_result_fails(self) -> None:
        with self.assertRaisesRegex(ServerFailed, "unexpected"):
            clients._h2load_result("connect: refused\n")


class Pictures(unittest.TestCase):
    def test_the_picture_of_the_documentation_is_that_of_a_committed_result(self) -> None:
        result = json.loads((picture.RESULTS / picture.SHOWN).read_text())
        drawn = (picture.RESULTS.parents[1] / "docs" / "explain" / "bench.svg").read_text()
        texts = [element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{{{SVG}}}text")]
        self.assertEqual(texts, picture.words(result))

    def test_a_picture_says_who_was_measured_when_and_where(self) -> None:
        result = json.loads((picture.RESULTS / picture.SHOWN).read_text())
        _, facts, peers = picture.heading(result)
        self.assertRegex(facts, r"^\d{4}-\d\d-\d\d, commit [0-9a-f]{7}, .* cores, Linux [\d.]+, CPython")
        self.assertIn("uwsgi 2.", peers)
        for title, bars in picture.groups(result):
            self.assertEqual([bar.label for bar in bars].count("Fairlead"), 1, title)
            self.assertTrue([bar for bar in bars if bar.kind == "peer"], title)


if __name__ == "__main__":
    unittest.main()
