"""What an operator has given that does nothing, or not what it says: a sentence each, for the log of a start.

A table of options and of what each needs to have an effect; `remarks` goes through it. Nothing here refuses: what
cannot run together is options.py's. An option joins when it is read by one part of the server only, and that part may
be missing; one that is always read does not stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fairlead.settings.options import BY_NAME, Settings

__all__ = ["EFFECTS", "remarks"]


class Effect(NamedTuple):
    """`options` do something where `is_used` holds; `why` completes "--option has no effect: " where it does not."""

    options: tuple[str, ...]
    is_used: Callable[[Settings], Any]
    why: str


def _has_http(it: Settings) -> bool:
    own = it.http_socket or it.https_socket or (it.socket and it.protocol == "http")
    return bool(it.http or it.https or it.https2 or own)


def _has_uwsgi(it: Settings) -> bool:
    return bool(it.uwsgi_socket or (it.socket and it.protocol == "uwsgi"))


def _secure(it: Settings) -> tuple[Any, ...]:
    return (*it.https, *it.https2, *it.https_socket)


def _has_unix_socket(it: Settings) -> bool:
    plain = (*it.http, *it.http_socket, *it.socket, *it.uwsgi_socket)
    addresses = (*plain, *(one.address for one in (*_secure(it), *it.http_to_https)))
    return any(address.family == "unix" for address in addresses)


#: Which option needs what.
EFFECTS: tuple[Effect, ...] = (
    Effect(("protocol",), lambda it: it.socket, "there is no --socket, and at other addresses one protocol is spoken"),
    Effect(("max-vars",), _has_uwsgi, "nothing speaks the uwsgi protocol here; add --socket or --uwsgi-socket"),
    Effect(("chmod-socket", "chown-socket"), _has_unix_socket, "there is no UNIX socket among the addresses"),
    Effect(
        ("https-export-cert",),
        lambda it: any(one.client_ca for one in _secure(it)),
        "no client is asked for a certificate; add the CLIENT_CA of --https",
    ),
    Effect(("callable",), lambda it: it.wsgi_file or it.module, "there is neither --wsgi-file nor --module"),
    Effect(("manage-script-name",), lambda it: it.mount, "there is no --mount"),
    Effect(
        ("wsgi-strict", "wsgi-disable-file-wrapper", "catch-exceptions"),
        lambda it: it.app_name,
        "there is no application",
    ),
    Effect(("asyncio-loop",), lambda it: it.asyncio, "there is no --asyncio"),
    Effect(
        ("http-keepalive", "http-headers-timeout", "disable-http2"),
        _has_http,
        "nothing speaks HTTP here; add --http or --http-socket",
    ),
    Effect(("static-index",), lambda it: it.static_map, "there is no --static-map"),
    Effect(
        ("route-idle-timeout", "http-connect-timeout"),
        lambda it: it.route or it.http_to,
        "nothing leads to another server; add a --route or --http-to",
    ),
    Effect(("http-gracetime",), lambda it: it.http_to, "there is no --http-to"),
    Effect(
        ("http-modifier1", "http-modifier2"), lambda it: it.http_to, "there is no --http-to, and workers serve WSGI"
    ),
    Effect(
        ("websockets-pong-tolerance",),
        lambda it: it.websockets_ping_freq_s,
        "--websockets-ping-freq is 0, so nobody is asked for a pong",
    ),
    Effect(("channel-queue",), lambda it: it.channel, "there is no --channel"),
    Effect(("channels-socket-mode",), lambda it: it.channels_socket, "there is no --channels-socket"),
    Effect(("die-on-term",), lambda it: it.die_on_term, "SIGTERM always stops"),
)


def remarks(it: Settings) -> list[str]:
    """What runs and is most likely not meant, a sentence each, with the line of the file."""
    return list(dict.fromkeys(it.placed(sentence) for sentence in _remarks(it)))


def _remarks(it: Settings) -> Iterator[str]:
    for given in it.given:
        about = BY_NAME.get(given.name)
        rest = about.uncommented(given.value) if about is not None and given.value is not None else None
        if rest is not None:
            yield (
                f"--{given.name} is read as {rest} ({given.where}), as in uWSGI; write a comment on a line of its own, "
                "because behind a text it is a part of the text."
            )
    is_given = {BY_NAME[given.name].name for given in it.given if given.name in BY_NAME}
    for effect in EFFECTS:
        if not effect.is_used(it):
            for option in effect.options:
                if option in is_given:
                    yield f"--{option} has no effect: {effect.why}."
    if it.http_to and it.app_name and not it.has_own_sockets:
        yield (
            f"--http-to takes all that comes to --http and --https, so nothing leads to {it.app_name}; give it a "
            "--socket or --http-socket, or leave it out."
        )
