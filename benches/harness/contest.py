"""Comparing servers on a noisy machine. All contestants of a row run in turn (A B A B …), each
freshly started; a figure is the median over rounds of the ratio within a round, so slow minutes hit
both sides alike. A round in which a contestant left both CPUs idle was disturbed by something else
and is repeated, within a bound.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from .clients import Clients, Sample
from .servers import Recipe, ServerFailed, running
from .workloads import Workload

Round = dict[str, Sample]


@dataclass(frozen=True)
class Spread:
    """A median with the range it comes from."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: list[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values))


@dataclass
class Outcome:
    """All rounds of one row."""

    workload: Workload
    recipes: list[Recipe]
    rounds: list[Round] = field(default_factory=list)
    #: Disturbed rounds that were thrown away.
    repeated: int = 0
    #: Why a contestant is missing, by its name.
    failures: dict[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return bool(self.rounds) and name in self.rounds[0]

    def spread(self, name: str, value: Callable[[Sample], float]) -> Spread:
        return Spread.of([value(each[name]) for each in self.rounds])

    def ratio(self, name: str, to: str, value: Callable[[Sample], float]) -> Spread | None:
        """How `name` compares with `to`; None when there is nothing to divide by."""
        if not self.has(name) or not self.has(to) or any(value(each[to]) <= 0 for each in self.rounds):
            return None
        return Spread.of([value(each[name]) / value(each[to]) for each in self.rounds])

    def errors(self, name: str) -> int:
        return sum(each[name].errors for each in self.rounds)

    def disturbed(self) -> int:
        """Rounds that were kept although they were disturbed, because the bound was reached."""
        return sum(any(sample.disturbed for sample in each.values()) for each in self.rounds)


def run(workload: Workload, recipes: list[Recipe], clients: Clients, server_cpu: int, pairs: int) -> Outcome:
    """Runs the row. A peer that fails leaves it and the others go on; without Fairlead the row ends."""
    outcome = Outcome(workload, list(recipes))
    while len(outcome.rounds) < pairs:
        one = _round(outcome, clients, server_cpu)
        if "fairlead" in outcome.failures:
            break
        if any(sample.disturbed for sample in one.values()) and outcome.repeated < pairs:
            outcome.repeated += 1
            _say("    disturbed (neither side was busy), repeated")
            continue
        outcome.rounds.append(one)
    # Ratios need the same contestants in every round.
    outcome.rounds = [{name: each[name] for name in each if name not in outcome.failures} for each in outcome.rounds]
    return outcome


def _round(outcome: Outcome, clients: Clients, server_cpu: int) -> Round:
    one: Round = {}
    for recipe in outcome.recipes:
        if recipe.name in outcome.failures:
            continue
        try:
            with running(recipe, server_cpu, clients.cpu) as server:
                one[recipe.name] = sample = clients.sample(outcome.workload, server)
        except ServerFailed as failure:
            outcome.failures[recipe.name] = str(failure)
            _say(f"    {recipe.name}: {failure}")
        else:
            _say(f"    {recipe.name}: {_in_short(sample)}")
    return one


def _in_short(sample: Sample) -> str:
    errors = f", {sample.errors} errors" if sample.errors else ""
    if sample.kib_per_connection is not None:
        return f"{sample.kib_per_connection:.1f} KiB per connection{errors}"
    return f"{sample.rate:,.0f}/s, {sample.cpu_us:.2f} us CPU, p99 {sample.p99_us:,.0f} us{errors}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
