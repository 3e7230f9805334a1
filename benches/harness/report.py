"""Outcomes as Markdown for readers and as JSON for whoever wants to compare runs. A verdict is
given only where a row has a bar, and never for a run with errors: a server that loses messages
has no speed. Each table stands for itself, so that it can be quoted.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from .clients import Sample
from .contest import Outcome, Spread
from .servers import Recipe

RATE: Callable[[Sample], float] = operator.attrgetter("rate")
CPU: Callable[[Sample], float] = operator.attrgetter("cpu_us")
P99: Callable[[Sample], float] = operator.attrgetter("p99_us")
SERVER_BUSY: Callable[[Sample], float] = operator.attrgetter("server_cpu_share")
LOAD_BUSY: Callable[[Sample], float] = operator.attrgetter("client_cpu_share")
MEMORY: Callable[[Sample], float] = operator.attrgetter("kib_per_connection")
#: What a change that is not about speed may add to the cost of a message.
BEFORE_AT_MOST = 1.02


def markdown(facts: dict[str, str], server_label: str, outcomes: list[Outcome]) -> str:
    """The whole report."""
    parts = [
        f"# Bench of {server_label}",
        _facts(facts),
        "Ratios are medians over rounds of (server ÷ limit server in the same round), with their range. "
        "Server CPU per message is the steadier figure on a noisy machine. "
        "How it is measured: `benches/README.md`.",
        _websocket_table(server_label, outcomes),
        _rivals_table("Plain WSGI", [outcome for outcome in outcomes if not outcome.workload.is_websocket]),
        _rivals_table(
            "The front: TLS, HTTP/2, the uwsgi protocol, proxies",
            [outcome for outcome in outcomes if outcome.workload.is_websocket and not outcome.workload.has_limit],
        ),
        _before_table(outcomes),
        _peers_table(outcomes),
        _remarks(outcomes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(folder: Path, name: str, text: str, facts: dict[str, str], outcomes: list[Outcome]) -> Path:
    """Writes NAME.md and, beside it, every sample as NAME.json; the path of the former."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.md"
    page.write_text(text)
    rows = [
        {
            "workload": asdict(outcome.workload),
            "commands": {recipe.name: recipe.command for recipe in outcome.recipes},
            "rounds": [{name: sample.as_json() for name, sample in each.items()} for each in outcome.rounds],
            "repeated": outcome.repeated,
            "failures": outcome.failures,
        }
        for outcome in outcomes
    ]
    data = json.dumps({"facts": facts, "rows": rows}, indent=1)
    # Relative to the repository: a result is committed, and where somebody keeps their checkout is nobody's business.
    (folder / f"{name}.json").write_text(data.replace(f"{Path(__file__).resolve().parents[2]}/", "") + "\n")
    return page


def _against_limit(outcome: Outcome) -> bool:
    return outcome.workload.is_websocket and outcome.workload.has_limit


def _facts(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _websocket_table(server_label: str, outcomes: list[Outcome]) -> str:
    rows = []
    for outcome in filter(_against_limit, outcomes):
        if not outcome.has("fairlead"):
            rows.append([outcome.workload.title, "", "no result", "", "", "", "", "**miss**"])
        elif outcome.workload.mode == "idle":
            rows.append(_idle_row(outcome))
        else:
            rows.append(_ratio_row(outcome))
    head = [
        "workload",
        "limit",
        "rate ÷ limit",
        "bar",
        "CPU per message ÷ limit",
        "bar",
        "p99 (limit)",
        "verdict",
    ]
    return _table(head, rows, f"## {server_label} against the limit")


def _ratio_row(outcome: Outcome) -> list[str]:
    bars = outcome.workload.bars
    rate = outcome.ratio("fairlead", "limit", RATE)
    cpu = outcome.ratio("fairlead", "limit", CPU)
    late = outcome.ratio("fairlead", "limit", P99)
    absolute = p99 = "no limit"
    if outcome.has("limit"):
        absolute = f"{_median(outcome, 'limit', RATE):,.0f}/s, {_median(outcome, 'limit', CPU):.2f} µs"
        p99 = f"{_ms(outcome, 'fairlead')} ({_ms(outcome, 'limit')}) ms"
    return [
        outcome.workload.title,
        absolute,
        _spread(rate),
        _bar("≥", bars.rate_at_least),
        _spread(cpu),
        _bar("≤", bars.cpu_at_most),
        p99 + (f", bar {_bar('≤', bars.p99_at_most)}" if bars.p99_at_most is not None else ""),
        _verdict(
            outcome,
            [
                (bars.rate_at_least, rate, _at_least),
                (bars.cpu_at_most, cpu, _at_most),
                (bars.p99_at_most, late, _at_most),
            ],
        ),
    ]


def _idle_row(outcome: Outcome) -> list[str]:
    bar = outcome.workload.bars.kib_per_connection_at_most
    memory = outcome.spread("fairlead", MEMORY)
    limit = f"{_median(outcome, 'limit', MEMORY):.1f} KiB" if outcome.has("limit") else "no limit"
    figure = f"{memory.median:.1f} KiB ({memory.low:.1f} to {memory.high:.1f})"
    verdict = _verdict(outcome, [(bar, memory, _at_most)])
    return [outcome.workload.title, limit, figure, f"≤ {bar} KiB", "", "", "", verdict]


def _rivals_table(title: str, outcomes: list[Outcome]) -> str:
    """Every contestant of a row whose bars name other servers, and Fairlead divided by each of them."""
    rows = [_rival_row(outcome, recipe) for outcome in outcomes for recipe in outcome.recipes]
    head = [
        "workload",
        "server",
        "rate",
        "CPU per message",
        "p99",
        "CPU busy: server, load",
        "rate, Fairlead ÷ server",
        "CPU, Fairlead ÷ server",
        "bar and verdict",
    ]
    return _table(head, rows, f"## {title}")


def _rival_row(outcome: Outcome, recipe: Recipe) -> list[str]:
    name, bars = recipe.name, outcome.workload.bars
    if not outcome.has(name):
        return [
            outcome.workload.title,
            recipe.label,
            "no result",
            "",
            "",
            "",
            "",
            "",
            "**miss**" * (name == "fairlead"),
        ]
    rate, cpu = outcome.ratio("fairlead", name, RATE), outcome.ratio("fairlead", name, CPU)
    least, most = {
        "fairlead": (None, None),
        "limit": (None, None),
        "before": (None, None),
        "own": (bars.own_rate_at_least, None),
    }.get(name, (bars.best_peer_at_least, bars.best_peer_cpu_at_most))
    barred = [f"rate {_bar('≥', least)}"] * (least is not None) + [f"CPU {_bar('≤', most)}"] * (most is not None)
    verdict = _verdict(outcome, [(least, rate, _at_least), (most, cpu, _at_most)])
    return [
        outcome.workload.title,
        recipe.label,
        f"{_median(outcome, name, RATE):,.0f}/s",
        f"{_median(outcome, name, CPU):.2f} µs",
        f"{_ms(outcome, name)} ms" if _median(outcome, name, P99) else "not told",
        f"{_median(outcome, name, SERVER_BUSY):.0%}, {_median(outcome, name, LOAD_BUSY):.0%}",
        "" if name == "fairlead" else _spread(rate),
        "" if name == "fairlead" else _spread(cpu),
        f"{', '.join(barred)}: {verdict}" if barred else "",
    ]


def _before_table(outcomes: list[Outcome]) -> str:
    """What the change since another commit costs: a row is held when the median is within `BEFORE_AT_MOST`."""
    rows = []
    for outcome in outcomes:
        if not outcome.has("before"):
            continue
        value = MEMORY if outcome.workload.mode == "idle" else CPU
        cost = outcome.ratio("fairlead", "before", value)
        rate = None if outcome.workload.mode == "idle" else outcome.ratio("fairlead", "before", RATE)
        rows.append(
            [
                outcome.workload.title,
                f"{_median(outcome, 'before', value):.2f} {'KiB' if value is MEMORY else 'µs'}",
                _spread(cost),
                f"≤ {BEFORE_AT_MOST:.2f}",
                _spread(rate) if rate else "",
                _verdict(outcome, [(BEFORE_AT_MOST, cost, _at_most)]),
            ]
        )
    head = ["workload", "before", "CPU per message (or memory) ÷ before", "bar", "rate ÷ before", "verdict"]
    return _table(head, rows, "## Beside the commit before")


def _peers_table(outcomes: list[Outcome]) -> str:
    rows = []
    for outcome in filter(_against_limit, outcomes):
        for recipe in outcome.recipes:
            if recipe.name in ("limit", "fairlead", "before") or not outcome.has(recipe.name):
                continue
            if outcome.workload.mode == "idle":
                figures = [f"{_median(outcome, recipe.name, MEMORY):.1f} KiB", "", ""]
            else:
                rate = outcome.ratio(recipe.name, "limit", RATE)
                cpu = outcome.ratio(recipe.name, "limit", CPU)
                figures = [_spread(rate), _spread(cpu), f"{_ms(outcome, recipe.name)} ms"]
            rows.append([outcome.workload.title, recipe.label, *figures])
    head = ["workload", "server", "rate ÷ limit", "CPU per message ÷ limit", "p99"]
    return _table(head, rows, "## Other servers in the same rounds")


def _remarks(outcomes: list[Outcome]) -> str:
    lines = []
    for outcome in outcomes:
        title = outcome.workload.title
        if outcome.repeated:
            lines.append(f"- {title}: {outcome.repeated} disturbed rounds repeated.")
        if outcome.disturbed():
            lines.append(f"- {title}: {outcome.disturbed()} of {len(outcome.rounds)} rounds disturbed, kept.")
        if outcome.workload.bars.name_peers and not any(map(outcome.has, outcome.workload.peers)):
            lines.append(f"- {title}: no verdict, no peer took part (`--install-peers`).")
        for recipe in outcome.recipes:
            if outcome.has(recipe.name) and outcome.errors(recipe.name):
                lines.append(f"- {title}: {outcome.errors(recipe.name)} errors of {recipe.label}.")
        for name, failure in outcome.failures.items():
            reason = failure.strip().splitlines()[0] if failure.strip() else "no reason given"
            lines.append(f"- {title}: {name} failed: {reason}")
    return "## Remarks\n\n" + "\n".join(lines) if lines else ""


Check = tuple["float | None", "Spread | None", Callable[[float, float], bool]]


def _at_least(value: float, bar: float) -> bool:
    return value >= bar


def _at_most(value: float, bar: float) -> bool:
    return value <= bar


def _verdict(outcome: Outcome, checks: list[Check]) -> str:
    """Pass only when every bar that is set is reached, by a run without errors."""
    barred = [(bar, spread, reaches) for bar, spread, reaches in checks if bar is not None]
    if not barred:
        return ""
    if outcome.errors("fairlead"):
        return "**miss** (errors)"
    good = all(spread is not None and reaches(spread.median, bar) for bar, spread, reaches in barred)
    verdict = "pass" if good else "**miss**"
    return f"{verdict} (disturbed)" if outcome.disturbed() else verdict


def _median(outcome: Outcome, name: str, value: Callable[[Sample], float]) -> float:
    return outcome.spread(name, value).median


def _ms(outcome: Outcome, name: str) -> str:
    return f"{_median(outcome, name, P99) / 1000:.2f}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _bar(sign: str, bar: float | None) -> str:
    return "" if bar is None else f"{sign} {bar:.2f}"


def _table(head: list[str], rows: list[list[str]], title: str) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"{title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
