"""Writes the tables of options in docs/start/coming-from-uwsgi.md (`make docs`): the answers to all of uWSGI's options.

Which options there are, which are refused or ignored and why, and what to use instead, comes from the settings. Said
here is what they cannot know: whether uWSGI has an option of that name, and what differs if it has. `section` makes
the text and is all that the architecture tests need; it fails for a setting on which nothing is said here, so a new one
cannot join without its place on the page.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fairlead.settings import uwsgi
from fairlead.settings.options import DIRECTIVES, SETTINGS, Setting
from fairlead.settings.uwsgi_answers import BY_OPTION, BY_PART
from fairlead.settings.uwsgi_rest import REST

PAGE = Path(__file__).parent.parent / "docs" / "start" / "coming-from-uwsgi.md"
BEGIN = "<!-- Made by `make docs` from the settings and tools/uwsgi_options.py. Change the text there. -->"
END = "<!-- Until here. -->"

#: Options that mean here what they mean in uWSGI.
SAME = {
    *("listen", "chmod-socket", "chown-socket", "wsgi-file", "module", "callable", "manage-script-name", "import"),
    *("pythonpath", "env", "chdir", "chdir2", "wsgi-strict", "wsgi-disable-file-wrapper", "processes"),
    *("async", "greenlet", "gevent", "socket-timeout", "chunked-input-timeout", "add-header"),
    *(
        "socket",
        "uwsgi-socket",
        "mode",
        "locks",
        "uid",
        "gid",
        "umask",
        "pidfile",
        "touch-reload",
        "touch-logreopen",
        "py-autoreload",
        "set",
    ),
    *("set-placeholder", "strict", "help", "version", "static-index", "https-export-cert", "http-to-https"),
    *("http-gracetime", "http-modifier1", "http-modifier2"),
}

#: What differs: in uWSGI, and here.
DIFFERENT = {
    "http": ("a router process in front of the workers; keep-alive off", "each worker serves HTTP; keep-alive on"),
    "http-socket": ("closes after each response", "keeps HTTP/1.1 connections open"),
    "http-enable-proxy-protocol": (
        "version 1; a connection without the header is served",
        "versions 1 and 2; a connection without the header is closed",
    ),
    "enable-proxy-protocol": ("the same", "the same"),
    "protocol": ("`uwsgi`, `http`, `fastcgi`, `scgi` and more", "`uwsgi` and `http`"),
    "max-vars": ("64", "256: what browsers send with every header comes through"),
    "https": (
        "a router process, OpenSSL",
        "each worker, rustls: TLS 1.2 and 1.3; two with one address are two certificates on it",
    ),
    "https2": ("speaks SPDY as well", "`--https` with names for its parts"),
    "https-socket": ("OpenSSL", "rustls; all else as `--http-socket`"),
    "virtualenv": ("any Python home", "a virtual environment of the Python that runs Fairlead"),
    "mount": (
        "without `--manage-script-name` only `SCRIPT_NAME` counts",
        "the longest path that `PATH_INFO` begins with",
    ),
    "catch-exceptions": ("without it a request that raised gets no response", "without it: 500, with no traceback"),
    "ugreen": ("its own C stacks", "greenlets"),
    "gevent-monkey-patch": (
        "when the loop starts, so after the application was loaded",
        "before the application is loaded, as `--gevent-early-monkey-patch`",
    ),
    "asyncio": (
        "needs `--greenlet`",
        "runs without it too; serves `async def`; on uvloop's loop where it is installed",
    ),
    "buffer-size": ("4096; longer heads are cut off", "32768; longer heads get 431"),
    "http-headers-timeout": (
        "`--http-timeout` unless it is given",
        "20 s for all of them, or `--http-timeout` where that is shorter",
    ),
    "http-timeout": ("ends silent WebSockets behind the router too", "HTTP only"),
    "route": (
        "regular expressions of PCRE; a WebSocket needs `--offload-threads`; `uwsgi:` needs both modifiers",
        "no look-around and no back-references; WebSockets pass by themselves; missing modifiers are 0; a server that "
        "is not there is a 502; `setheader` too; `--route-…` and the three other tables as well",
    ),
    "static-map": (
        "looked at before the routes; a link may lead out of the folder with `--static-safe`",
        "looked at after the routes; nothing leads out of the folder; GET and HEAD, one range",
    ),
    "http-to": (
        "a router process; a WebSocket needs `--http-websockets`; a request for which no server accepts is dropped",
        "each worker; routes and `--static-map` come first; WebSockets pass; 502; no app is needed",
    ),
    "http-var": ("the value may be missing", "`KEY=VALUE`"),
    "http-connect-timeout": ("of the router, to the workers", "of routes and `--http-to`, to other servers"),
    "http-keepalive": ("off", "on; 0 turns it off"),
    "chunked-input-limit": ("a larger chunk is an error", "a larger chunk comes in pieces"),
    "websockets-ping-freq": (
        "pings go out inside `websocket_recv` and `websocket_recv_nb`",
        "pings go out whatever the application does; 0 turns them off",
    ),
    "websockets-pong-tolerance": (
        "looked at when the application receives; a late check finds the dead late",
        "that many seconds after the ping the connection is dropped; any byte counts as life",
    ),
    "websockets-pong-freq": ("in no release", "unasked pongs, midway between two pings by default; 0 turns them off"),
    "websockets-max-size": ("one frame", "one message, all its fragments together; Close 1009"),
    "channel": (
        "in no release (for a month of 2013 only)",
        "declares a channel for `uwsgi.channel_join` and its like; `fairlead.channels` needs no declaration",
    ),
    "honour-stdin": ("off", "on at a terminal with one process and `--py-autoreload`"),
    "die-on-term": ("SIGTERM stops instead of reloading", "SIGTERM always stops"),
    "reload-mercy": ("for reloads and stops", "for stops; 6 s by default, so that all ends within a container's 10 s"),
    "worker-reload-mercy": (
        "a worker waits so long for its requests, WebSockets among them",
        "the same limit, but WebSockets are closed with 1012, over `--reload-spread`",
    ),
    "threads": (
        "without it a worker runs one request at a time",
        "without it, and without another model, a worker runs 64; `threads = 1` is uWSGI's default",
    ),
    "harakiri": (
        "counts from the request's beginning, so ends every longer WebSocket, and counts what a slow client takes",
        "a WebSocket counts until its handshake only; waits of the application for its client do not count",
    ),
    "max-requests": (
        "the worker waits for its open WebSockets",
        "its successor is ready first; open WebSockets are closed with 1012",
    ),
    "disable-logging": (
        "no lines of requests, WebSockets among them",
        "no lines of requests; `--disable-session-logging` for those of WebSockets",
    ),
    "logto": ("a file, or a UDP address", "a file; opened anew when it was renamed, and by SIGUSR1"),
    "ini": ("a file or an address", "a local file; section `[fairlead]` if there is no `[uwsgi]`"),
    "yaml": ("a parser of its own", "PyYAML, which has to be installed"),
    "json": ("if built with a JSON library", "always"),
    "show-config": (
        "prints, and starts",
        "prints where each value comes from and all that is wrong, with file and line, and does not start",
    ),
}

#: Options that only Fairlead has.
NEW = [
    "asyncio-loop",
    "trusted-proxy",
    "websockets-origin",
    "route-idle-timeout",
    "websockets-idle-timeout",
    "disable-http2",
    "http-body-minimum-rate",
    "request-queue-size",
    "request-queue-timeout",
    "websockets-close-timeout",
    "websocket-text-lenient",
    "channels-memory",
    "channels-file",
    "channels-max-message",
    "channels-backlog",
    "channels-slow-consumer",
    "channels-heartbeat",
    "channels-socket",
    "channels-socket-mode",
    "channels-http",
    "channels-http-token-file",
    "channel-queue",
    "reload-spread",
    "disable-session-logging",
]


def page() -> str:
    """The whole page, with the section as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{PAGE.name} has lost the marks between which its options stand"
    return f"{before}{BEGIN}\n\n{section()}\n{END}{after}"


def section() -> str:
    """The tables."""
    abouts = {about.name: about for about in (*SETTINGS, *DIRECTIVES)}
    said = [*sorted(SAME), *DIFFERENT, *NEW]
    unsaid = sorted(set(abouts) - set(said))
    assert not unsaid, f"say in tools/uwsgi_options.py whether uWSGI has {', '.join(unsaid)}, and what differs"
    gone = sorted(name for name in said if name not in abouts or said.count(name) > 1)
    assert not gone, f"{', '.join(gone)} in tools/uwsgi_options.py: no setting, or there twice"
    lines = ["### Accepted, with the same meaning", ""]
    lines += [f"{', '.join(_named(abouts[name]) for name in abouts if name in SAME)}.", ""]
    lines += ["### Accepted, with a difference", "", "| Option | uWSGI | Fairlead |", "|---|---|---|"]
    for name, (theirs, ours) in sorted(DIFFERENT.items(), key=lambda item: list(abouts).index(item[0])):
        lines.append(f"| {_named(abouts[name])} | {theirs} | {ours} |")
    lines += ["", "### Accepted, because it is always so", "", "| Option | |", "|---|---|"]
    lines += _by_reason(uwsgi.EXACT, "always")
    lines += ["", "### Ignored, with a warning", "", "| Option | Because |", "|---|---|"]
    lines += _by_reason(uwsgi.EXACT, "ignored")
    for title, table in (
        ("Refused: Fairlead has no such part", uwsgi.MISSING),
        ("Refused: not in this version", uwsgi.LATER),
    ):
        lines += [
            "",
            f"### {title}",
            "",
            "| Options that begin with | What is missing | Use instead |",
            "|---|---|---|",
        ]
        lines += [_row(_options(stems.split()), what) for what, stems in table]
    lines += ["", "<details><summary>The rest of what uWSGI has, each by its whole name</summary>", ""]
    lines += ["| Options | What is missing | Use instead |", "|---|---|---|"]
    lines += [_row(_options(names.split()), what) for what, names in REST]
    lines += ["", "</details>"]
    lines += ["", "### Refused: what some of them become", ""]
    answers: dict[str, list[str]] = {}
    for name, answer in BY_OPTION.items():
        answers.setdefault(answer, []).append(name)
    lines += [f"- {_options(names)}: {answer}" for answer, names in answers.items()]
    lines += ["", "### Only in Fairlead", "", f"{', '.join(_named(abouts[name]) for name in NEW)}.", ""]
    return "\n".join(lines)


def _named(about: Setting) -> str:
    """`--name` with its other names, but without those that differ by the s of websockets only."""
    others = [f"`-{about.short}`"] if about.short else []
    others += [f"`--{name}`" for name in about.aliases if not name.startswith("websocket-")]
    return f"`--{about.name}`" + (f" ({', '.join(others)})" if others else "")


def _by_reason(table: dict[str, uwsgi.Foreign], answer: str) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for foreign in table.values():
        if foreign.answer == answer:
            reasons.setdefault(foreign.why, []).append(foreign.name)
    return [f"| {_options(names)} | {why} |" for why, names in reasons.items()]


def _row(options: str, what: str) -> str:
    return f"| {options} | {re.sub(r' [(].*[)]$', '', what)} | {BY_PART[what]} |"


def _options(names: list[str]) -> str:
    return ", ".join(f"`--{name}`" for name in names)


if __name__ == "__main__":
    text = page()
    if PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{PAGE.relative_to(PAGE.parent.parent)} is new\n")
