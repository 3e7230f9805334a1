"""Options that feed the engine's settings: the copy of its table is the table, and each option takes from it what it
must not say again."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from fairlead._native import Engine, EngineSettings, Listener, settings_table
from fairlead.errors import SettingsError
from fairlead.settings.engine_table import ENGINE_SETTINGS
from fairlead.settings.options import BY_NAME, SETTINGS, Given, Settings

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = [("http", ":8080"), ("wsgi-file", "app.py")]


def made(*pairs: tuple[str, str | None]) -> Settings:
    return Settings.of(Given(name, value, "command line") for name, value in [*ENOUGH, *pairs])


def engine_values(*pairs: tuple[str, str | None]) -> dict[str, object]:
    return made(*pairs).engine_values()


def rows() -> list[dict[str, object]]:
    names = ("name", "kind", "default", "least", "most", "words", "meaning", "reason")
    return [{name: getattr(row, name) for name in names} for row in settings_table()]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import engine_settings

    return engine_settings


def test_the_committed_files_are_made_from_the_engines_table(tool) -> None:
    table = rows()
    assert tool.MODULE.read_text() == tool.module(table), "run `make generate`"
    assert tool.part(tool.TYPES.read_text(), tool.TYPES_MARKS) == tool.types(table), "run `make generate`"
    assert tool.part(tool.HEADER.read_text(), tool.HEADER_MARKS) == tool.header(table), "run `make generate`"


def test_every_option_that_feeds_the_engine_names_a_row_and_no_two_name_the_same() -> None:
    fed = [about.engine for about in SETTINGS if about.engine]
    assert len(fed) >= 20 and set(fed) <= set(ENGINE_SETTINGS)
    assert sorted(set(fed)) == sorted(fed)


def test_the_engine_takes_all_values_that_the_settings_have_for_it() -> None:
    EngineSettings(engine_values(("http-to", "127.0.0.1:81"), ("add-header", "X: y"), ("trusted-proxy", "unix")), [])


def test_what_nobody_chose_has_the_default_of_the_table() -> None:
    values = engine_values()
    chosen = {"slots", "log_answered"}  # what the way of running decides
    for name in set(values) - chosen:
        assert values[name] == ENGINE_SETTINGS[name].default, name
    assert (values["http_head_timeout"], values["http_keep_alive_timeout"]) == (20.0, 75.0)
    assert "websocket_pong_interval" not in values


@pytest.mark.parametrize(
    "given, head, connect",
    [
        ([], 20.0, 60.0),
        ([("http-timeout", "5")], 5.0, 5.0),
        ([("http-timeout", "300")], 20.0, 300.0),
        ([("http-headers-timeout", "90")], 90.0, 60.0),
        ([("http-timeout", "5"), ("http-headers-timeout", "90"), ("http-connect-timeout", "7")], 90.0, 7.0),
    ],
)
def test_the_times_that_follow_another(given, head, connect) -> None:
    values = engine_values(*given)
    assert (values["http_head_timeout"], values["proxy_connect_timeout"]) == (head, connect)


def test_values_travel_in_the_engines_units_and_with_its_sense() -> None:
    values = engine_values(
        ("websockets-max-size", "3"),
        ("disable-http2", None),
        ("disable-logging", None),
        ("http-to", "./there.sock"),
        ("http-var", "A=b"),
        ("threads", "7"),
    )
    assert values["websocket_max_message"] == 3072
    assert (values["http2"], values["log_answered"]) == (False, False)
    assert (values["proxy_servers"], values["router_variables"]) == (["./there.sock"], [("A", "b")])
    assert values["slots"] == 7


@pytest.mark.parametrize(
    "name, text, needs",
    [
        ("max-vars", "16384", "a whole number from 1 to 16383"),
        ("websockets-max-size", "2097152", "a whole number from 1 to 2097151"),
        ("http-headers-timeout", "0", "a number of seconds, 0.001 or more"),
        ("websockets-ping-freq", "-1", "a number of seconds, 0 or more"),
        ("channels-slow-consumer", "wait", "close, drop-newest or drop-oldest"),
    ],
)
def test_the_range_of_an_option_is_that_of_the_table(name, text, needs) -> None:
    with pytest.raises(SettingsError) as caught:
        made((name, text))
    assert str(caught.value) == f"--{name} was given {text!r} (command line); it needs {needs}."


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"slot": 1}, 'there is no setting "slot"'),
        ({"slots": 0}, "slots is 0, and it must be from 1 to 1000000"),
        ({"slots": -1}, "slots is -1, and it must be a whole number"),
        ({"slots": "many"}, "slots is 'many', and it must be a whole number"),
        ({"slots": None}, "slots is unset, and it must be a whole number"),
        ({"http_head_timeout": float("nan")}, "http_head_timeout is nan, and it must be a length of time"),
        ({"delivery": "both"}, 'delivery is "both", and it must be one of loop, threads'),
        ({"websocket_origins": "*"}, "websocket_origins is '*', and it must be a list of texts"),
    ],
)
def test_the_engine_refuses_what_cannot_be_in_one_sentence(values, sentence) -> None:
    with pytest.raises(ValueError) as caught:
        EngineSettings(values, [])
    assert str(caught.value) == sentence


def test_the_page_of_limits_says_the_numbers_of_the_settings() -> None:
    page = (ROOT / "docs" / "explain" / "safe-by-default.md").read_text()
    units = {"KiB": 1024, "MiB": 1024**2, "s": 1}
    compared = set()
    for limit, option in re.findall(r"^\| [^|]+ \| ([^|]+) \| `--([a-z0-9-]+)` \|", page, re.MULTILINE):
        about = BY_NAME[option]
        default = ENGINE_SETTINGS[about.engine].default if about.engine else about.default
        number = re.match(r"(\d+) (KiB|MiB|s)\b", limit)
        if not about.is_flag and (number or limit == "off"):
            assert (int(number[1]) * units[number[2]] if number else 0) == default, f"{option}: the page says {limit}"
            compared.add(option)
    assert {"buffer-size", "http-headers-timeout", "http-keepalive", "http-timeout", "socket-timeout"} <= compared
    assert len(compared) >= 11


def test_settings_and_listeners_are_for_one_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = Listener(bound.detach(), "http")
    settings = EngineSettings({}, [listener])
    with pytest.raises(ValueError, match="this listener was used for an engine already"):
        EngineSettings({}, [listener])
    engine = Engine(settings)
    with pytest.raises(ValueError, match="this settings object was used for an engine already"):
        Engine(settings)
    engine.stop(0.0)
