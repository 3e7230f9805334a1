"""The exceptions a user of Fairlead can meet, sorted by whose fault they are.

Only exception types and the hints that belong to them live here; no logging, no formatting of tracebacks.
Every message is one sentence: what happened, with the value, and what to do. The class is the stable part
that code may rely on, the wording is free to improve. This file imports nothing of ours, so every other file
may import it.
"""

from __future__ import annotations

__all__ = [
    "BadResult",
    "BodyFailed",
    "BodyTimedOut",
    "ChannelsBusy",
    "ChannelsError",
    "ConnectionClosed",
    "FairleadError",
    "HandshakeRefused",
    "LoadError",
    "MasterError",
    "ResponseTimedOut",
    "SettingsError",
    "hint_for",
    "text_of",
]

#: Who ended a connection: the other side, this side, or nobody (the network or the peer's machine vanished).
CLOSED_BY = ("peer", "local", "lost")


class FairleadError(Exception):
    """Base of all that Fairlead raises on purpose; `except FairleadError` never hides a bug of ours."""


class SettingsError(FairleadError):
    """The operator's fault: an option, a configuration file or the environment. The command ends with status
    2. `problems` has a sentence for each mistake that was found."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class MasterError(FairleadError):
    """The machine's fault at start: a port in use, a folder that cannot be written. Also ends with status
    2."""


class LoadError(FairleadError):
    """The application's fault: its file, module or callable cannot be loaded.

    The original exception, when there is one, is `__cause__`; the message already holds its type and
    location.
    """


class ConnectionClosed(FairleadError):
    """The WebSocket is closed: raised by `receive`, `send`, `ping` and `join` of `fairlead.WebSocket`, and by
    `fairlead.websocket` for a client that has left before its handshake was answered.

    `code` is the Close code of RFC 6455 §7.4 (1005: the peer gave none; 1006: no Close frame arrived),
    `reason` the text that came with it, `by` is "peer", "local" or "lost".
    """

    def __init__(self, code: int, reason: str, by: str) -> None:
        if by not in CLOSED_BY:
            raise ValueError(f"by={by!r} is not one of {', '.join(CLOSED_BY)}")
        # All three go to Exception.args, so that the error survives pickling between processes.
        super().__init__(code, reason, by)
        self.code = code
        self.reason = reason
        self.by = by

    def __str__(self) -> str:
        who = {
            "peer": "the peer closed the connection",
            "local": "this side closed the connection",
            "lost": "the connection was lost",
        }[self.by]
        return f"{who} (code {self.code}" + (f", reason {self.reason!r})" if self.reason else ")")


class HandshakeRefused(FairleadError):
    """The request is no acceptable WebSocket handshake: the client's fault. `status` is the HTTP status the client
    gets, 400 to 499."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"handshake refused with HTTP status {self.status}: {self.reason}"


class BadResult(FairleadError, TypeError):
    """The application returned, or yielded first of all, what is no body. Its text says what that was and what to
    return instead; the log has it without a traceback, in which no line of the application's would stand."""


class BodyFailed(FairleadError, OSError):
    """The rest of a request's body will not come: the client's fault.

    `status` is the HTTP status that tells the client so (400: the chunks are broken), 0 when nobody would read it.
    An OSError, because a body is read like a file.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BodyTimedOut(BodyFailed, TimeoutError):
    """The client sent nothing of its body for too long; `status` is 408."""


class ResponseTimedOut(FairleadError, TimeoutError):
    """The client took nothing of a response for too long: the client's fault."""


class ChannelsError(FairleadError, OSError):
    """The channels cannot be used at present: the machine's fault or the operator's. Nothing was changed."""


class ChannelsBusy(ChannelsError):
    """Another process has the channels' lock and does not move. It goes away when that process goes on or ends;
    callers wait for it (channels/waiting.py) before they let an application see it."""


def text_of(error: BaseException) -> str:
    """`ValueError: what it says`, for a line of the log; also of an error whose own `__str__` raises."""
    try:
        text = str(error)
    except BaseException as failure:
        return f"{type(error).__name__} (its text cannot be had: {type(failure).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def hint_for(error: BaseException) -> str:
    """A sentence that helps with a known mistake behind `error`, or "".

    uWSGI's own listing of a WebSocket application forgets `import uwsgi`, so its copies do too (compat §9, row
    1). Works at load time and for exceptions that a request raises.
    """
    if isinstance(error, NameError) and "'uwsgi'" in text_of(error):
        return "add `import uwsgi` at the top of the file"
    return ""
