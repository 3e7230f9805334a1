"""`WebSocket` and `AsyncWebSocket` tell whoever asks, in `help` or in an editor, what each method takes and raises.

The sessions are no engine's: what counts here is which of their methods an object of either class calls, and how.
"""

from __future__ import annotations

import builtins
import inspect
import pydoc
import re
from types import MemberDescriptorType
from typing import Any

import fairlead
import pytest
from fairlead import async_websocket as async_websocket_function
from fairlead import base_websocket
from fairlead._native import Session
from fairlead.websocket import REQUEST_KEY

CLASSES = (fairlead.WebSocket, fairlead.AsyncWebSocket)

#: What an object of each class holds of its session.
NATIVE = {
    fairlead.WebSocket: ("receive", "receive_nowait", "send", "close", "ping", "fileno"),
    fairlead.AsyncWebSocket: ("receive_async", "receive_nowait", "send_async", "fileno"),
}


class FakeSession:
    """Takes any call and notes it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, *given))


class FakeRequest:
    has_asyncio = True
    offered_subprotocols = ()

    def accept(self, *given: Any) -> Any:
        return FakeSession()


def opened(cls: type) -> Any:
    make = fairlead.websocket if cls is fairlead.WebSocket else fairlead.async_websocket
    return make({REQUEST_KEY: FakeRequest()})


def public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_public_name_says_what_it_raises(cls):
    for name in (*public(cls), "__iter__" if cls is fairlead.WebSocket else "__aiter__"):
        text = inspect.getdoc(getattr(cls, name)) or ""
        assert re.search(r"\braises?\b", text, re.IGNORECASE), f"{cls.__name__}.{name} does not say what it raises"
        named = re.findall(r"`(\w+(?:Error|Closed))`", text)
        assert named or "Raises nothing" in text, f"{cls.__name__}.{name} names no error"
        for error in named:
            known = getattr(fairlead, error, None) or getattr(builtins, error, None)
            assert known is not None, f"{cls.__name__}.{name} names {error}, which does not exist"


@pytest.mark.parametrize("cls", CLASSES)
def test_help_shows_every_method_with_its_signature(cls):
    page = pydoc.render_doc(cls, renderer=pydoc.plaintext)
    for name in public(cls):
        if callable(getattr(cls, name)):
            signature = str(inspect.signature(getattr(cls, name)))
            assert f"{name}{signature}" in page
            for parameter in list(inspect.signature(getattr(cls, name)).parameters.values())[1:]:
                assert parameter.annotation is not inspect.Parameter.empty
        assert (inspect.getdoc(getattr(cls, name)) or "?").splitlines()[0] in page


def test_both_faces_have_the_same_names_and_share_what_waits_for_nothing():
    # `join` answers at once under both; a coroutine may have a way besides that suspends.
    assert sorted([*public(fairlead.WebSocket), "join_async"]) == public(fairlead.AsyncWebSocket)
    shared = ("receive_nowait", "fileno", "join", "leave", "missed", "subprotocol", "closed")
    for name in shared:
        assert getattr(fairlead.WebSocket, name) is getattr(fairlead.AsyncWebSocket, name)
        assert name in vars(base_websocket.BaseWebSocket)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_object_of_a_class_holds_the_methods_of_its_session(cls):
    """A call of a message is one of the session's, without a Python frame between."""
    ws = opened(cls)
    assert isinstance(ws, cls)
    assert type(ws).__name__ == cls.__name__
    assert type(ws).__doc__ == cls.__doc__
    assert not hasattr(ws, "__dict__")
    held = [name for name in public(cls) if isinstance(inspect.getattr_static(ws, name), MemberDescriptorType)]
    for name in held:
        getattr(ws, name)()
    assert sorted(ws._session.calls) == sorted((name,) for name in NATIVE[cls])
    for name in held:
        assert inspect.getdoc(getattr(type(ws), name)) == inspect.getdoc(getattr(cls, name))


@pytest.mark.parametrize("cls", CLASSES)
def test_what_stands_in_the_class_does_the_same_as_what_an_object_holds(cls):
    ws = opened(cls)
    arguments = {"receive": (2.5,), "send": ("text",), "close": (1001, "over"), "ping": (b"x",)}
    for name in ("receive", "receive_nowait", "send", "close", "ping", "fileno"):
        getattr(ws, name)(*arguments.get(name, ()))
        getattr(cls, name)(ws, *arguments.get(name, ()))
        held, documented = ws._session.calls[-2:]
        assert held == documented
        assert held[1:] == arguments.get(name, ())


@pytest.mark.parametrize("cls", CLASSES)
def test_the_signatures_are_those_of_the_native_methods(cls):
    waits = cls is fairlead.AsyncWebSocket
    for name in ("receive", "receive_nowait", "send", "close", "ping", "fileno"):
        of_session = f"{name}_async" if waits and name in ("receive", "send") else name
        native = inspect.signature(getattr(Session, of_session)).parameters.values()
        documented = inspect.signature(getattr(cls, name)).parameters.values()
        assert [(one.name, one.default) for one in native] == [(one.name, one.default) for one in documented]


def test_a_subclass_of_a_face_has_its_own_methods():
    class Counting(fairlead.WebSocket):
        sent = 0

        def send(self, data: Any) -> None:
            self.sent += 1
            super().send(data)

    ws = Counting(FakeSession())
    ws.send("one")
    assert ws.sent == 1
    ws.receive(0.5)
    assert ws._session.calls == [("send", "one"), ("receive", 0.5)]


def test_to_await_the_end_of_what_waits_for_nothing_is_allowed():
    ws = opened(fairlead.AsyncWebSocket)
    for done in (ws.close(), ws.ping()):
        assert list(done.__await__()) == []


def test_without_a_loop_there_is_no_awaitable_websocket():
    request = FakeRequest()
    request.has_asyncio = False
    with pytest.raises(RuntimeError, match="--asyncio N"):
        async_websocket_function({REQUEST_KEY: request})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 1000),
        (ValueError(), 1011),
        (fairlead.ConnectionClosed(1001, "", "peer"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_block_that_ends_closes_with_the_code_of_its_end(error, code):
    assert base_websocket.close_code_after(error) == code
