"""The calls that the pages list are there, with these parameters and defaults; and every public name has its place."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable

import fairlead
import pytest
from documentation.pages import text_of
from fairlead import channels

#: Where calls stand: page, what goes before them there, and whose they are. The first owner that has the name counts.
TABLES = {
    "fairlead": ("reference/api.md", r"### `((?:async_)?websocket\(.*?|send_file\(.*?)(?: ->.*)?`", (fairlead,)),
    "WebSocket": ("reference/api.md", "### `class WebSocket`", (fairlead.WebSocket,)),
    "AsyncWebSocket": ("reference/api.md", "### `class AsyncWebSocket`", (fairlead.AsyncWebSocket,)),
    "channels": ("reference/api.md", "### `channels`", (channels,)),
    "channels, how to": ("howto/channels.md", "## The API", (channels, fairlead.WebSocket)),
    "channels outside": ("reference/channels-outside.md", "### From Python|## From Python", (channels.RemoteChannels,)),
}
CALL = r"(?:await )?(\w+\((?:[^()]|\(\))*\))(?: -> [\w]+)?"


def calls(page: str, heading: str) -> list[str]:
    """The calls of the tables below a heading, or of the headings themselves."""
    text = text_of(page)
    if heading.endswith("`") and "(" in heading:
        return re.findall(heading, text)
    _, _, below = re.split(f"({heading})\n", text, maxsplit=1)
    section = re.split(r"^#{1,3} ", below, maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return [call for cell in cells for call in re.findall(f"`{CALL}`", cell)]


def shown(call: str) -> tuple[str, list[tuple[str, str]]]:
    """A call as a page writes it: its name, and its parameters with their defaults; `*` is one of them."""
    name, _, rest = call.partition("(")
    function = ast.parse(f"def f({rest}: pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    values = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    found = [(one.arg, ast.unparse(value) if value else "") for one, value in zip(arguments.args, values, strict=True)]
    if arguments.kwonlyargs:
        found.append(("*", ""))
    for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((one.arg, ast.unparse(value) if value else ""))
    return name, found


def present(function: Callable[..., object]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and ("*", "") not in found:
            found.append(("*", ""))
        found.append((one.name, "" if one.default is one.empty else repr(one.default)))
    return [pair for pair in found if pair[0] != "self"]


@pytest.mark.parametrize("table", TABLES)
def test_a_page_shows_the_parameters_that_a_call_has(table: str) -> None:
    page, heading, owners = TABLES[table]
    found = calls(page, heading)
    assert found, f"{page} shows no calls below {heading}"
    for call in found:
        name, parameters = shown(call)
        owner = next((one for one in owners if hasattr(one, name)), None)
        assert owner is not None, f"{page}: there is no {name}"
        if name in ("fileno", "join", "leave") and call.endswith("()"):
            continue  # "as above": what it takes stands there
        assert parameters == present(getattr(owner, name)), f"{page}: {call}"


def test_the_reference_has_every_public_name() -> None:
    page = text_of("reference/api.md")
    assert [name for name in fairlead.__all__ if not re.search(rf"\b{name}\b", page)] == []
    public = {"publish", "history", "members", "subscribe", "connect", "CLIENT_JS", "Message", "Subscription"}
    assert [name for name in public if not hasattr(channels, name) or not re.search(rf"\b{name}\b", page)] == []
