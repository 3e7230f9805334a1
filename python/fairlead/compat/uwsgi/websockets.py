"""The WebSocket calls of the module `uwsgi` (compat §1.3).

Their errors are plain `OSError` with uWSGI's text alone; the typed reason is their `__cause__`.
"""

from __future__ import annotations

from typing import Any, Callable

from fairlead import ConnectionClosed, HandshakeRefused, current_session
from fairlead.compat.uwsgi.arguments import MISSING, NO_REQUEST, RequestContext, Text, request_of, text
from fairlead.compat.uwsgi.contract import Process

__all__ = ["websocket_calls"]

_TEXTS = {
    "receive": "unable to receive websocket message",
    "send_text": "unable to send websocket message",
    "send_binary": "unable to send websocket binary message",
}
_HANDSHAKE = "unable to complete websocket handshake"
_BLOCKING_IN_GENERATOR = (
    "a generator application waits by `yield`, and websocket_recv() has nothing yet: first "
    "`yield uwsgi.wait_fd_read(uwsgi.connection_fd(), 3)`, then call websocket_recv_nb(); or start with --greenlet too"
)


def websocket_calls(process: Process) -> dict[str, Any]:
    """The functions by name."""

    def websocket_handshake(key: Text = "", origin: Text = "", proto: Text = "", /) -> None:
        request = request_of()
        chosen_key = text(key)
        text(origin)  # checked like the others; the reply has no header for it any more (compat §2.5, row 15)
        offered = request.offered_subprotocols
        wanted = text(proto)
        subprotocol = wanted if wanted in offered else None
        if not wanted and offered:
            subprotocol = offered[0]
        try:
            request.accept(chosen_key or None, subprotocol, process.send_timeout_s)
        except (HandshakeRefused, ConnectionClosed, RuntimeError) as error:
            raise OSError(_HANDSHAKE) from error

    def translate(verb: str, error: BaseException | None) -> BaseException:
        if error is None and not _in_a_request():
            return SystemError(NO_REQUEST)
        # Before the handshake uWSGI would read and write raw frames; compat §1.3 wants the usual error.
        return OSError(_TEXTS[verb])

    # The hot calls are the engine's own callables: a Python frame for each would double the price of a small message.
    verbs = current_session(request_of, translate)
    websocket_recv: Callable[..., bytes] = verbs.receive_bytes
    websocket_recv_nb = verbs.receive_bytes_nowait
    websocket_send = verbs.send_text
    websocket_send_binary = verbs.send_binary

    def websocket_send_lenient(message: Text, request_context: Any = MISSING) -> None:
        if isinstance(message, str) or _is_utf8(message):
            verbs.send_text(message, *_given(request_context))
        else:
            verbs.send_binary(message, *_given(request_context))

    def websocket_recv_unless_in_generator(request_context: Any = MISSING) -> bytes:
        try:
            session = request_of(request_context).session
            message = None if session is None else session.receive_bytes_nowait()
        except ConnectionClosed as error:
            raise OSError(_TEXTS["receive"]) from error
        if session is None:
            raise OSError(_TEXTS["receive"])
        if message is None:
            if process.async_calls.is_in_generator():
                raise RuntimeError(_BLOCKING_IN_GENERATOR)
            return verbs.receive_bytes(*_given(request_context))
        return message

    def request_context() -> RequestContext:
        return RequestContext(request_of())

    return {
        "websocket_handshake": websocket_handshake,
        "websocket_recv": websocket_recv_unless_in_generator if process.model == "generators" else websocket_recv,
        "websocket_recv_nb": websocket_recv_nb,
        "websocket_send": websocket_send_lenient if process.text_lenient else websocket_send,
        "websocket_send_binary": websocket_send_binary,
        "request_context": request_context,
    }


def _in_a_request() -> bool:
    try:
        request_of()
    except SystemError:
        return False
    return True


def _given(context: Any) -> tuple[Any, ...]:
    return () if context is MISSING else (context,)


def _is_utf8(data: Any) -> bool:
    try:
        bytes(data).decode()
    except UnicodeDecodeError:
        return False
    return True
