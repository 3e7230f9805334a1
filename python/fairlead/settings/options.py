"""One object per setting, and `Settings`, the checked and frozen result that the rest of Fairlead takes.

A setting is declared once, beside its typed field: option name, kind, default and help text. One that feeds a
setting of the engine names that, and takes default and range from the engine's table (engine_table.py), where they
stand once. The parser (sources.py), `--help` (cli/serve.py) and the reference page are generated from these
declarations, so they cannot disagree. The invariant: a `Settings` made by `Settings.of` holds parsed values and a
combination that can run; nothing behind this border validates again. Where values come from is sources.py, uWSGI
options without a meaning here are uwsgi.py, and what needs a look at the machine (files, ports) is cli/serve.py. The
file stays whole: one table, read from top to bottom by whoever looks for an option.

Names, aliases and defaults follow compat §2.2 and §4.2; a field whose unit its type does not show carries it
(`_s`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import metadata
from typing import Any, NamedTuple, TypeVar, cast

from fairlead.errors import SettingsError
from fairlead.settings.engine_table import ENGINE_SETTINGS
from fairlead.settings.kinds import (
    GROUP,
    USER,
    Address,
    AddressKind,
    ChannelName,
    Choice,
    Flag,
    Header,
    Keepalive,
    Kind,
    Mode,
    Mount,
    Owner,
    Pair,
    RouteRule,
    Seconds,
    ServerAddress,
    SocketPath,
    SocketProtocol,
    Text,
    TrustedPeer,
    Whole,
)
from fairlead.settings.tls import Https, Https2, HttpToHttps, Redirection, SecureAddress

T = TypeVar("T")
D = TypeVar("D")

try:
    VERSION = metadata.version("fairlead")
except metadata.PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0.1.0"


#: Threads of a worker for which no concurrency model is chosen. Many, because one open WebSocket holds one; below the
#: 100 connections that PostgreSQL allows, because each thread of an application may keep one. Idle they cost 16 KiB
#: each (docs/explain/concurrency.md has the measurement).
DEFAULT_THREADS = 64


class Given(NamedTuple):
    """One option as it was given: `value` is None for a bare flag; `where` is "command line", "app.ini:3",
    …"""

    name: str
    value: str | None
    where: str


@dataclass(frozen=True)
class Setting:
    """What is known about one option besides its value. `bare` is what the option means when given without a
    value (uWSGI's "optional argument"); None means that it needs one. `engine` is the engine's setting that it feeds,
    or "". `field` is "" for a directive to the parser."""

    name: str
    kind: Kind[Any]
    help: str
    default: object = None
    default_text: str = ""
    aliases: tuple[str, ...] = ()
    short: str = ""
    many: bool = False
    bare: str | None = None
    since: str = "0.1"
    engine: str = ""
    field: str = ""

    @property
    def is_flag(self) -> bool:
        return isinstance(self.kind, Flag)

    def parse(self, given: Given) -> Any:
        """The checked value, or SettingsError with name, value, place and what is needed."""
        text = given.value
        if text is None:
            text = "" if self.is_flag else self.bare
        if text is None:
            raise SettingsError(f"--{given.name} ({given.where}) has no value; it needs {self.kind.needs}.")
        try:
            return self.kind.parse_as(given.name, self.uncommented(text) or text)
        except ValueError as error:
            why = str(error) or f"it needs {self.kind.needs}"
            if re.search(r"\s[;#]", text):
                why += "; a comment stands on a line of its own"
            raise SettingsError(f"--{given.name} was given {text!r} ({given.where}); {why}.") from None

    def uncommented(self, text: str) -> str | None:
        """A value of a file without the comment behind it; None for one that is taken as it is."""
        return None if self.many else self.kind.without_comment(text)


def setting(
    name: str,
    kind: Kind[T],
    default: D,
    help: str,
    *,
    aliases: tuple[str, ...] = (),
    short: str = "",
    bare: str | None = None,
    default_text: str = "",
) -> T | D:
    """Declare one setting as a field of `Settings`; the last one given wins (compat §4.1)."""
    about = Setting(name, kind, help, default, default_text, _spellings(name, aliases), short, bare=bare)
    return cast("T | D", field(default=default, metadata={"setting": about}))


def settings(
    name: str,
    kind: Kind[T],
    help: str,
    *,
    engine: str = "",
    aliases: tuple[str, ...] = (),
    short: str = "",
    default_text: str = "",
) -> tuple[T, ...]:
    """Declare a setting that may be repeated; its values accumulate in the order given (compat §4.1). With `engine`
    they feed the engine's setting of that name."""
    spellings = _spellings(name, aliases)
    about = Setting(name, kind, help, (), default_text, spellings, short, many=True, engine=engine)
    return cast("tuple[T, ...]", field(default=(), metadata={"setting": about}))


def feeds(
    engine: str,
    name: str,
    help: str,
    *,
    kind: Kind[Any] | None = None,
    unit: int = 1,
    follows: str = "",
    aliases: tuple[str, ...] = (),
    short: str = "",
    bare: str | None = None,
    default_text: str = "",
) -> Any:
    """Declare an option that feeds the engine's setting `engine`, with the default, the range and the kind that the
    engine's table gives it. `unit`: what the operator counts in, 1024 for KiB. `follows`: the option that it follows
    if it is not given; `Settings.engine_values` says how. An option for a flag turns it into what it is not by
    default."""
    about = ENGINE_SETTINGS[engine]
    default: Any = None if follows else about.default
    if about.kind == "flag":
        default = False
    if kind is None:
        kind = _kind_of(engine, unit)
    if not default_text:
        default_text = follows or (str(default // unit) if unit > 1 else "")
    spellings = _spellings(name, aliases)
    made = Setting(name, kind, help, default, default_text, spellings, short, bare=bare, engine=engine)
    return field(default=default, metadata={"setting": made})


def _spellings(name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """Other names of a setting: uWSGI has each `websockets-…` without the s too (compat §2.2)."""
    if not name.startswith("websockets-"):
        return aliases
    return (*aliases, name.replace("websockets-", "websocket-", 1))


def _kind_of(engine: str, unit: int) -> Kind[Any]:
    about = ENGINE_SETTINGS[engine]
    if about.kind == "duration":
        return Seconds(about.least)
    if about.kind == "choice":
        return Choice(*about.words)
    if about.kind == "flag":
        return Flag()
    metavar = {1: "N", 1024: "KIB"}[unit]
    return Whole(-(-int(about.least) // unit), int(about.most) // unit, unit=unit, metavar=metavar)


#: The options beside `route` whose rules stand in one table with it, in the order given, and those of the tables of
#: responses, of errors and of the end (compat §5.1).
_SUBJECTS = "host uri qs remote-addr user-agent remote-user referer if if-not run label"
ROUTE_TABLES = (
    *(f"route-{subject}" for subject in _SUBJECTS.split()),
    "response-route",
    *(f"response-route-{subject}" for subject in f"{_SUBJECTS} status".split()),
    "error-route",
    *(f"error-route-{subject}" for subject in f"{_SUBJECTS} status".split()),
    "final-route",
    *(f"final-route-{subject}" for subject in f"{_SUBJECTS} status".split()),
)


@dataclass(frozen=True)
class Settings:
    """All that a run of Fairlead can be told, parsed and checked; make one with `Settings.of`."""

    # Listening
    http: tuple[Address, ...] = settings(
        "http", AddressKind(), "serve HTTP and WebSockets here; requests look as behind uWSGI's HTTP router"
    )
    http_socket: tuple[Address, ...] = settings(
        "http-socket",
        AddressKind(),
        "the same, as uWSGI's workers see it themselves",
        aliases=("http11-socket",),
    )
    socket: tuple[Address, ...] = settings(
        "socket",
        AddressKind(),
        "serve the uwsgi protocol here (nginx: uwsgi_pass); what the peer says of its clients is trusted",
        short="s",
    )
    uwsgi_socket: tuple[Address, ...] = settings("uwsgi-socket", AddressKind(), "the same, whatever --protocol says")
    protocol: str = setting(
        "protocol", SocketProtocol(), "uwsgi", "what is spoken at --socket", aliases=("socket-protocol",)
    )
    https: tuple[SecureAddress, ...] = settings(
        "https", Https(),
        "the same as --http over TLS; CIPHERS may be empty; a CLIENT_CA behind a ! makes clients show a certificate",
    )  # fmt: skip
    https2: tuple[SecureAddress, ...] = settings("https2", Https2(), "the same with names for its parts")
    https_socket: tuple[SecureAddress, ...] = settings("https-socket", Https(), "the same as --http-socket over TLS")
    https_export_cert: bool = setting(
        "https-export-cert", Flag(), False, "give the application a client's certificate as PEM, in HTTPS_CC"
    )
    http_to_https: tuple[Redirection, ...] = settings(
        "http-to-https", HttpToHttps(), "answer every request here with the same address over https"
    )
    listen: int = setting("listen", Whole(1), 100, "connections the kernel queues per listener", short="l")
    chmod_socket: int | None = setting(
        "chmod-socket",
        Mode(),
        None,
        "permissions of UNIX sockets; 666 when no mode is given",
        aliases=("chmod",),
        short="C",
        bare="666",
    )
    chown_socket: tuple[int, int] | None = setting(
        "chown-socket", Owner(), None, "owner of UNIX sockets; taken before privileges are dropped"
    )

    http_enable_proxy_protocol: bool = setting(
        "http-enable-proxy-protocol", Flag(), False,
        "at --http, expect the PROXY protocol's header (version 1 or 2) before anything else",
    )  # fmt: skip
    enable_proxy_protocol: bool = setting("enable-proxy-protocol", Flag(), False, "the same at --http-socket")

    # Application
    wsgi_file: str = setting("wsgi-file", Text("FILE", "a file"), "", "load this Python file", aliases=("file",))
    module: str = setting(
        "module", Text("MODULE[:CALLABLE]", "a module"), "",
        "load this module; `module:factory()` calls the factory", aliases=("wsgi",), short="w",
    )  # fmt: skip
    callable: str = setting(
        "callable",
        Text("NAME", "a name"),
        "",
        "the callable in the file or module",
        default_text="application",
    )
    mount: tuple[tuple[str, str], ...] = settings("mount", Mount(), "serve another app (file or module) below a path")
    manage_script_name: bool = setting(
        "manage-script-name", Flag(), False, "move the mount's path from PATH_INFO to SCRIPT_NAME"
    )
    imports: tuple[str, ...] = settings(
        "import", Text("MODULE|FILE", "a module or file"), "import this in each worker, before the app",
        aliases=(
            "shared-import", "pyimport", "py-import", "python-import", "shared-pyimport", "shared-py-import",
            "shared-python-import",
        ),
    )  # fmt: skip
    pythonpath: tuple[str, ...] = settings(
        "pythonpath", Text("DIR", "a folder"),
        "put this folder (or glob) in front of sys.path; the last comes first",
        aliases=("python-path", "pp"),
    )  # fmt: skip
    virtualenv: str = setting(
        "virtualenv", Text("DIR", "a folder"), "", "use the packages of this virtual environment",
        aliases=("venv", "home", "pyhome"), short="H",
    )  # fmt: skip
    env: tuple[tuple[str, str], ...] = settings("env", Pair("=", "KEY=VALUE"), "set an environment variable")
    chdir: str = setting("chdir", Text("DIR", "a folder"), "", "go to this folder first; other paths start there")
    chdir2: str = setting("chdir2", Text("DIR", "a folder"), "", "go to this folder after the app is loaded")
    wsgi_strict: bool = setting("wsgi-strict", Flag(), False, "refuse a bytes result: its items are numbers (PEP 3333)")
    wsgi_disable_file_wrapper: bool = setting(
        "wsgi-disable-file-wrapper", Flag(), False, "do not offer wsgi.file_wrapper"
    )
    catch_exceptions: bool = setting(
        "catch-exceptions",
        Flag(),
        False,
        "show the traceback of a failed request to the client; for development only",
    )

    # Concurrency
    processes: int = setting("processes", Whole(1, 4096), 1, "worker processes", aliases=("workers",), short="p")
    threads: int | None = setting(
        "threads", Whole(1, 65535), None,
        "connections at a time in each worker, a thread each; 1 serves one after the other, as uWSGI does by default",
        default_text=f"{DEFAULT_THREADS}, where no other model is chosen",
    )  # fmt: skip
    async_slots: int = setting(
        "async", Whole(0, 1_000_000), 0,
        "connections at a time in each worker, under the engine chosen below", default_text="off",
    )  # fmt: skip
    greenlet: bool = setting("greenlet", Flag(), False, "run each of the --async slots in a greenlet")
    ugreen: bool = setting("ugreen", Flag(), False, "the same; uWSGI's own engine is not needed here")
    gevent: int = setting(
        "gevent", Whole(0, 1_000_000), 0,
        "connections at a time in each worker, a gevent greenlet each", default_text="off",
    )  # fmt: skip
    gevent_monkey_patch: bool = setting(
        "gevent-monkey-patch", Flag(), False, "call gevent.monkey.patch_all() before the application is loaded",
        aliases=("gevent-early-monkey-patch",),
    )  # fmt: skip
    asyncio: int = setting(
        "asyncio", Whole(0, 1_000_000), 0,
        "connections at a time in each worker, on an asyncio loop", default_text="off",
    )  # fmt: skip
    asyncio_loop: str = setting(
        "asyncio-loop", Choice("auto", "uvloop", "asyncio"), "auto",
        "whose loop --asyncio runs; auto is uvloop's where it is installed",
    )  # fmt: skip

    request_queue_size: int | None = feeds(
        "request_queue_size", "request-queue-size",
        "requests that may wait for a slot in each worker; further ones get 503 with Retry-After",
        default_text="1024 with routes that answer, files or --http-to; else what the kernel queues (--listen)",
    )  # fmt: skip
    request_queue_timeout_s: float | None = feeds(
        "request_queue_timeout", "request-queue-timeout",
        "how long a request may wait for a slot before it gets 503 with Retry-After",
        default_text="as long as its client waits",
    )  # fmt: skip

    # HTTP
    buffer_size: int = feeds(
        "http_head_bytes", "buffer-size", "bytes a request's line and headers may have in all", short="b"
    )
    max_vars: int = feeds("uwsgi_max_variables", "max-vars", "variables that a packet of the uwsgi protocol may have")
    http_timeout_s: float = feeds(
        "http_stall_timeout", "http-timeout", "give up on a silent HTTP client after this long"
    )
    http_headers_timeout_s: float | None = feeds(
        "http_head_timeout", "http-headers-timeout", "time a client has for all of its request headers",
        follows="http-timeout",
        default_text=f"{ENGINE_SETTINGS['http_head_timeout'].default:g}, or http-timeout where that is shorter",
    )  # fmt: skip
    http_body_minimum_rate: int = feeds(
        "http_body_minimum_rate", "http-body-minimum-rate",
        "bytes a second with which a request's body has to come while it is waited for; 0: any",
    )  # fmt: skip
    http_keepalive_s: float = feeds(
        "http_keep_alive_timeout", "http-keepalive",
        "keep idle HTTP connections this long; 0 closes after each response",
        kind=Keepalive(ENGINE_SETTINGS["http_keep_alive_timeout"].default), bare="on",
    )  # fmt: skip
    disable_http2: bool = feeds("http2", "disable-http2", "speak HTTP/1.1 only")
    socket_timeout_s: float = setting(
        "socket-timeout", Seconds(), 4.0, "how long `send` waits for a client that does not read", short="z"
    )
    chunked_input_timeout_s: float = setting(
        "chunked-input-timeout", Seconds(), 0.0, "how long `uwsgi.chunked_read` waits for a silent client",
        default_text="socket-timeout",
    )  # fmt: skip
    chunked_input_limit: int = setting(
        "chunked-input-limit", Whole(1, 2**30), 2**20,
        "bytes that `uwsgi.chunked_read` returns at most; a larger chunk comes in pieces",
    )  # fmt: skip
    add_header: tuple[tuple[str, str], ...] = settings(
        "add-header", Header(), "add a header to each response", engine="response_headers"
    )
    trusted_proxy: tuple[str, ...] = settings(
        "trusted-proxy", TrustedPeer(),
        "trust Forwarded and X-Forwarded-* of peers with this address, of this network, of UNIX sockets, or of all",
        engine="trusted_proxies", default_text="none",
    )  # fmt: skip

    # Routing
    route: tuple[tuple[str, str], ...] = settings(
        "route", RouteRule(), "a rule: where the path matches, do something with the request", aliases=ROUTE_TABLES
    )
    static_map: tuple[tuple[str, str], ...] = settings(
        "static-map",
        Mount("FOLDER"),
        "serve the files of a folder under a path, or one file at a path; what is no file goes to the application",
    )
    static_index: tuple[str, ...] = settings(
        "static-index", Text("NAME", "the name of a file"), "the file that stands for a folder, such as index.html"
    )
    route_idle_timeout_s: float = feeds(
        "proxy_idle_timeout", "route-idle-timeout",
        "close a proxied WebSocket that is silent in both directions for this long; 0 never",
    )  # fmt: skip
    http_to: tuple[Address, ...] = settings(
        "http-to", ServerAddress(),
        "send what comes to --http and --https to these servers in turn, by the uwsgi protocol; no app is needed then",
        engine="proxy_servers",
    )  # fmt: skip
    http_gracetime_s: float = feeds(
        "proxy_retry_after", "http-gracetime", "how long a server of --http-to that does not accept is left out"
    )
    http_var: tuple[tuple[str, str], ...] = settings(
        "http-var", Pair("=", "KEY=VALUE"), "add a variable to each request that comes to --http or --https",
        engine="router_variables",
    )  # fmt: skip
    http_modifier1: int = feeds("proxy_modifier1", "http-modifier1", "modifier1 of the packets for --http-to")
    http_modifier2: int = feeds("proxy_modifier2", "http-modifier2", "modifier2 of them")
    http_connect_timeout_s: float | None = feeds(
        "proxy_connect_timeout", "http-connect-timeout",
        "how long a server that a route or --http-to leads to may take to accept", follows="http-timeout",
    )  # fmt: skip

    # WebSocket
    websockets_ping_freq_s: float = feeds(
        "websocket_ping_interval", "websockets-ping-freq", "ping a silent client this often; 0 never"
    )
    websockets_pong_tolerance_s: float = feeds(
        "websocket_pong_tolerance", "websockets-pong-tolerance",
        "how long a pinged client may stay silent before it counts as gone",
    )  # fmt: skip
    websockets_pong_freq_s: float | None = feeds(
        "websocket_pong_interval", "websockets-pong-freq", "send unasked pongs this often; 0 never",
        default_text="midway between two pings",
    )  # fmt: skip
    websockets_max_bytes: int = feeds(
        "websocket_max_message", "websockets-max-size", "largest message, in KiB; a larger one closes with 1009",
        unit=1024,
    )  # fmt: skip
    websockets_origin: tuple[str, ...] = settings(
        "websockets-origin", Text("ORIGIN", "an origin such as https://example.org, or *"),
        "let browsers of this origin connect too; * for all", engine="websocket_origins",
        default_text="the same origin",
    )  # fmt: skip
    websockets_idle_timeout_s: float = feeds(
        "websocket_idle_timeout", "websockets-idle-timeout", "close sessions without a message for this long; 0 never"
    )
    websockets_close_timeout_s: float = feeds(
        "websocket_close_timeout", "websockets-close-timeout", "how long to wait for the answer to a Close"
    )
    websocket_text_lenient: bool = setting(
        "websocket-text-lenient", Flag(), False, "send bytes that are no UTF-8 as binary instead of raising"
    )

    # Channels
    channel: tuple[str, ...] = settings(
        "channel", ChannelName(),
        "declare a channel for the calls of the module `uwsgi`; fairlead.channels needs no declaration",
    )  # fmt: skip
    channels_memory: int = setting(
        "channels-memory", Whole(1, 16384, unit=2**20, metavar="MIB"), 64 * 2**20,
        "memory for the messages of all channels and their history, in MiB", default_text="64",
    )  # fmt: skip
    channels_file: str = setting(
        "channels-file", Text("FILE", "a file"), "",
        "share the channels with all instances that name this file, best in /dev/shm or /run",
        default_text="memory of this instance",
    )  # fmt: skip
    channels_max_message: int = setting(
        "channels-max-message", Whole(1, 2**21 - 1, unit=1024, metavar="KIB"), 2**20,
        "largest message of a channel, in KiB", default_text="1024",
    )  # fmt: skip
    channels_backlog: int = feeds(
        "channel_backlog", "channels-backlog", "a client for which so much waits is a slow consumer, in KiB", unit=1024
    )
    channels_slow_consumer: str = feeds(
        "channel_slow_consumer", "channels-slow-consumer", "close a slow consumer with 1013, or drop messages for it"
    )
    channels_heartbeat_s: float = feeds(
        "channel_heartbeat", "channels-heartbeat",
        "tell clients that joined with offsets so often that they are connected, in seconds; 0: never",
    )  # fmt: skip
    channels_socket: Address | None = setting(  # noqa: RUF009
        "channels-socket", SocketPath(), None,
        "let other programs publish and listen over this UNIX socket", default_text="none",
    )  # fmt: skip
    channels_socket_mode: int = setting(
        "channels-socket-mode", Mode(), 0o600, "file mode of that socket", default_text="600"
    )
    channels_http: Address | None = setting(  # noqa: RUF009
        "channels-http", AddressKind(), None,
        "let other programs publish and look back by HTTP here, with a token", default_text="none",
    )  # fmt: skip
    channels_http_token_file: str = setting(
        "channels-http-token-file", Text("FILE", "a file"), "", "the file with the token for --channels-http",
        default_text="none",
    )  # fmt: skip
    channel_queue: int = setting(
        "channel-queue", Whole(1), 10_000,
        "messages that wait for `uwsgi.channel_recv`; further ones are dropped for that member",
    )  # fmt: skip

    # Process
    mode: str = setting("mode", Text("WORD", "a word"), "", "a word for the app, which finds it in uwsgi.mode")
    locks: int = setting(
        "locks",
        Whole(0, 65535),
        0,
        "locks of uwsgi.lock() that all workers share, besides number 0",
    )
    uid: int | None = setting("uid", USER, None, "become this user once the listeners are bound")
    gid: int | None = setting("gid", GROUP, None, "become this group", default_text="that of --uid")
    umask: int | None = setting("umask", Mode(), None, "file creation mask")
    honour_stdin: bool | None = setting(
        "honour-stdin", Flag(), None, "let workers read standard input, for a debugger",
        default_text="on at a terminal with one process and --py-autoreload",
    )  # fmt: skip
    pidfile: str = setting("pidfile", Text("FILE", "a file"), "", "write the master's process id here")
    die_on_term: bool = setting("die-on-term", Flag(), False, "accepted: SIGTERM always stops Fairlead")

    # Reloading and stopping
    reload_mercy_s: float = setting(
        "reload-mercy", Seconds(), 6.0, "on a stop, time for requests and sessions to end before they are cut"
    )
    worker_reload_mercy_s: float = setting(
        "worker-reload-mercy",
        Seconds(),
        60.0,
        "on a reload, time for an old worker to end before it is killed",
    )
    reload_spread_s: float | None = setting(
        "reload-spread", Seconds(), None,
        "on a reload, time over which an old worker closes its WebSockets; 0 closes all at once",
        default_text="a second for every 2,000 of them",
    )  # fmt: skip
    harakiri_s: float = setting(
        "harakiri", Seconds(), 0.0,
        "end an HTTP request that takes longer than this, or kill its worker where one that waits cannot be ended "
        "alone (threads); open WebSockets and waits for the client do not count",
        short="t", default_text="off",
    )  # fmt: skip
    max_requests: int = setting(
        "max-requests", Whole(), 0, "replace a worker after this many requests", short="R", default_text="off"
    )
    touch_reload: tuple[str, ...] = settings("touch-reload", Text("FILE", "a file"), "reload when this file changes")
    py_autoreload_s: float = setting(
        "py-autoreload", Seconds(), 0.0, "look for changed modules this often and reload; for development",
        aliases=("py-auto-reload", "python-autoreload", "python-auto-reload"), default_text="off",
    )  # fmt: skip

    # Logging
    disable_logging: bool = setting("disable-logging", Flag(), False, "no line per request; errors stay", short="L")
    disable_session_logging: bool = setting(
        "disable-session-logging", Flag(), False, "no line for each WebSocket at its end"
    )
    logto: str = setting(
        "logto", Text("FILE", "a file"), "", "write the log here; opened anew when it was renamed, and by SIGUSR1",
        default_text="standard error",
    )  # fmt: skip
    touch_logreopen: tuple[str, ...] = settings(
        "touch-logreopen", Text("FILE", "a file"), "open the log's file anew when this file changes"
    )

    #: Everything as it was given, placeholders included and in order; `uwsgi.opt` is made from it
    #: (compat §1.5).
    given: tuple[Given, ...] = ()

    #: The one-letter placeholders and their values, for `uwsgi.magic_table` (compat §1.5).
    magic: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, given: Iterable[Given], magic: Mapping[str, str] | None = None) -> Settings:
        """Parse and check what was given, in order. Names that are no setting (placeholders, ignored options)
        are kept in `given` only. Raises SettingsError, with all that is wrong."""
        result, problems = cls.read(given, magic)
        if problems:
            raise SettingsError(*problems)
        return result

    @classmethod
    def read(
        cls, given: Iterable[Given], magic: Mapping[str, str] | None = None, refused: Iterable[str] = ()
    ) -> tuple[Settings, list[str]]:
        """The same for whoever wants to know all that is wrong: the settings without what cannot be parsed, and a
        sentence for each mistake. `refused` are names that were given and are not among `given`: what would be missing
        without them is not missed."""
        given = tuple(given)
        values: dict[str, Any] = {}
        problems: list[str] = []
        missed = {BY_NAME[name].field for name in refused if name in BY_NAME}
        for item in given:
            about = BY_NAME.get(item.name)
            if about is None or not about.field:
                continue
            try:
                value = about.parse(item)
            except SettingsError as error:
                problems.append(str(error))
                missed.add(about.field)
                continue
            values[about.field] = (*values.get(about.field, ()), value) if about.many else value
        result = cls(given=given, magic=tuple((magic or {}).items()), **values)
        problems += [result.placed(sentence) for sentence in _misfits(result, missed)]
        return result, problems

    def placed(self, sentence: str) -> str:
        """`sentence` with the lines of files in which the options stand that it names first: behind a semicolon stands
        what to do."""
        places: list[str] = []
        for name in dict.fromkeys(re.findall(r"--([a-z][a-z0-9-]*)", sentence.partition(";")[0])):
            about = BY_NAME.get(name)
            wheres = [item.where for item in self.given if about is not None and BY_NAME.get(item.name) is about]
            if not wheres or wheres[-1] in ("command line", *places) or any(f"({one}" in sentence for one in wheres):
                continue
            places.append(wheres[-1])
        if not places:
            return sentence
        end = sentence[-1] if sentence.endswith((".", "?")) else ""
        return f"{sentence.removesuffix(end)} ({', '.join(places)}){end}"

    def as_plain(self) -> dict[str, Any]:
        """A dict of JSON values with the fields' names; addresses are text, durations seconds, sizes
        bytes."""
        plain: dict[str, Any] = {}
        for about in SETTINGS:
            value = getattr(self, about.field)
            to_plain = about.kind.to_plain
            if about.many:
                plain[about.field] = [to_plain(one) for one in value]
            else:
                plain[about.field] = None if value is None else to_plain(value)
        plain["given"] = [list(item) for item in self.given]
        plain["magic"] = [list(item) for item in self.magic]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Settings:
        """The inverse of `as_plain`, for the worker; missing keys keep their defaults."""
        values: dict[str, Any] = {}
        for about in SETTINGS:
            value = plain.get(about.field, MISSING)
            if value is MISSING:
                continue
            of_plain = about.kind.of_plain
            if about.many:
                values[about.field] = tuple(of_plain(one) for one in value)
            else:
                values[about.field] = None if value is None else of_plain(value)
        given = tuple(Given(*item) for item in plain.get("given", ()))
        return cls(given=given, magic=tuple((key, value) for key, value in plain.get("magic", ())), **values)

    @property
    def runner(self) -> str:
        """The concurrency model: "threads", "greenlets", "generators", "gevent" or "asyncio" (compat §7.1)."""
        if self.gevent:
            return "gevent"
        if self.asyncio:
            return "asyncio"
        if self.async_slots:
            return "greenlets" if self.greenlet or self.ugreen else "generators"
        return "threads"

    @property
    def send_timeout_s(self) -> float:
        """What `send` waits for a client; gevent and asyncio raise it, as in uWSGI (compat §2.2)."""
        return max(self.socket_timeout_s, 30.0) if self.gevent or self.asyncio else self.socket_timeout_s

    @property
    def slots(self) -> int:
        """Connections that one worker runs at a time. A router alone runs none."""
        default = DEFAULT_THREADS if self.app_name else 1
        return self.gevent or self.asyncio or self.async_slots or self.threads or default

    @property
    def is_model_chosen(self) -> bool:
        """An option says how requests run at the same time; else it is `DEFAULT_THREADS` threads."""
        return bool(self.gevent or self.asyncio or self.async_slots or self.threads)

    @property
    def has_threads(self) -> bool:
        """Several threads may run the application at the same moment (PEP 3333's `wsgi.multithread`)."""
        return self.runner == "threads" and self.slots > 1

    @property
    def app_name(self) -> str:
        """What the operator calls the application, for log lines; "" for a router alone."""
        return self.wsgi_file or self.module or ", ".join(app for _, app in self.mount)

    @property
    def has_own_sockets(self) -> bool:
        """There are listeners that the router has no part in."""
        return bool(self.http_socket or self.https_socket or self.socket or self.uwsgi_socket)

    @property
    def proxy_protocol(self) -> list[str]:
        """The options of the listeners whose connections begin with a PROXY header."""
        of_router = ["http", "https", "https2"] if self.http_enable_proxy_protocol else []
        return of_router + (["http-socket", "https-socket"] if self.enable_proxy_protocol else [])

    def engine_values(self) -> dict[str, Any]:
        """What the engine is started with, by the names of its table; what nobody chose is left to that. How requests
        are delivered is the runner's to say."""
        values: dict[str, Any] = {}
        for about in SETTINGS:
            value = getattr(self, about.field)
            if not about.engine or value is None:
                continue
            if about.many:
                value = [about.kind.to_plain(one) for one in value]
            elif about.is_flag:
                value = value != ENGINE_SETTINGS[about.engine].default
            values[about.engine] = value
        head_timeout_s = ENGINE_SETTINGS["http_head_timeout"].default
        values.setdefault("http_head_timeout", min(head_timeout_s, self.http_timeout_s))
        values.setdefault("proxy_connect_timeout", self.http_timeout_s)
        values["slots"] = self.slots
        values["log_answered"] = not self.disable_logging
        return values


def _misfits(it: Settings, missed: set[str]) -> Iterator[str]:
    """What cannot run together, each with the reason. `missed`: fields that were given and not understood, so nobody
    can say that they are not there. The greenlet rule is uWSGI's own (compat §4.2)."""
    models = [
        f"--{name} {slots}"
        for name, slots in (
            ("threads", it.threads if it.threads != 1 else 0),
            ("async", it.async_slots),
            ("gevent", it.gevent),
            ("asyncio", it.asyncio),
        )
        if slots
    ]
    if len(models) > 1:
        yield (
            f"{' and '.join(models)} are {len(models)} concurrency models, and a worker runs one; keep one and add "
            "--processes for more cores."
        )
    if it.greenlet or it.ugreen:
        option = "greenlet" if it.greenlet else "ugreen"
        if it.gevent:
            yield f"--{option} chooses how --async runs, and --gevent {it.gevent} is there; keep one."
        elif not (it.async_slots or it.asyncio or missed & {"async_slots", "asyncio"}):
            yield f"--{option} requires async mode; add --async N, the connections at a time per worker."
    if it.gevent_monkey_patch and not it.gevent and "gevent" not in missed:
        yield "--gevent-monkey-patch without gevent would stop the worker; add --gevent N."
    if it.wsgi_file and it.module:
        yield (
            f"--wsgi-file {it.wsgi_file} and --module {it.module} both name the application; keep one, or --mount both."
        )
    if not (it.app_name or it.http_to or missed & {"wsgi_file", "module", "mount", "http_to"}):
        yield "there is no application to serve; add --wsgi-file app.py or --module package.module."
    yield from _misfits_of_tls(it)
    has_router = bool(it.http or it.https or it.https2 or missed & {"http", "https", "https2"})
    has_own = it.has_own_sockets or bool(missed & {"http_socket", "https_socket", "socket", "uwsgi_socket"})
    if not (has_router or has_own):
        yield "there is no address to serve at; add --http :8080."
    yield from _misfits_of_the_router(it, missed, has_router)
    for option, wanted, listener, is_there, other in (
        ("http-enable-proxy-protocol", it.http_enable_proxy_protocol, "--http and --https", has_router, ""),
        (
            "enable-proxy-protocol",
            it.enable_proxy_protocol,
            "--http-socket and --https-socket",
            it.http_socket or it.https_socket or missed & {"http_socket", "https_socket"},
            "http-",
        ),
    ):
        if wanted and not is_there:
            yield (f"--{option} is for {listener}, and there is none; did you mean --{other}enable-proxy-protocol?")
        if wanted and "*" in it.trusted_proxy:
            yield (
                f"--trusted-proxy * with --{option} would trust the clients that the proxy announces; name the "
                "proxies in front of it, or leave it out."
            )
    if it.reload_spread_s and it.reload_spread_s >= it.worker_reload_mercy_s:
        yield (
            f"--reload-spread {it.reload_spread_s:g} leaves the last WebSockets no time before --worker-reload-mercy "
            f"{it.worker_reload_mercy_s:g} cuts them; lower the one or raise the other."
        )
    if it.channels_http and not (it.channels_http_token_file or "channels_http_token_file" in missed):
        yield (
            f"--channels-http {it.channels_http.text} would let everybody publish; add --channels-http-token-file FILE."
        )
    if it.channels_http_token_file and not (it.channels_http or "channels_http" in missed):
        yield "--channels-http-token-file has no use without --channels-http; add that, or leave it out."
    points = [point for point, _ in it.mount]
    for twice in dict.fromkeys(point for point in points if points.count(point) > 1):
        yield f"--mount names the path {twice or '/'!r} twice; keep one app for each path."


def _misfits_of_the_router(it: Settings, missed: set[str], has_router: bool) -> Iterator[str]:
    """The router has the listeners of --http and --https; the workers' own need an application."""
    for option, is_given in (("http-to", it.http_to), ("http-var", it.http_var)):
        if is_given and not has_router:
            yield f"--{option} is for --http and --https, and there is neither; add --http :8080."
    has_app = it.app_name or missed & {"wsgi_file", "module", "mount"}
    if it.http_to and not has_app and it.has_own_sockets:
        yield (
            "--http-to is for what comes to --http and --https, and there is no application for the other addresses; "
            "add --wsgi-file app.py, or leave --socket, --uwsgi-socket, --http-socket and --https-socket out."
        )


def _misfits_of_tls(it: Settings) -> Iterator[str]:
    """One address has one list of ciphers and one authority for clients, however many certificates."""
    for kind, group in (("https", (*it.https, *it.https2)), ("https-socket", it.https_socket)):
        for number, one in enumerate(group):
            for other in group[number + 1 :]:
                if one.address.text != other.address.text or (one.address.port == 0 and one.address.family == "tcp"):
                    continue
                for what in ("ciphers", "client_ca"):
                    mine, its = getattr(one, what), getattr(other, what)
                    if mine and its and mine != its:
                        yield (
                            f"--{kind} {one.address.text} is given twice with different parts {what.upper()}, "
                            f"{mine!r} and {its!r}; write it once."
                        )


#: The groups of `--help` and of the reference page, each with its first field; fields stand in that order.
GROUPS: tuple[tuple[str, str], ...] = (
    ("Listening", "http"),
    ("Application", "wsgi_file"),
    ("Concurrency", "processes"),
    ("HTTP", "buffer_size"),
    ("Routing", "route"),
    ("WebSocket", "websockets_ping_freq_s"),
    ("Channels", "channel"),
    ("Process", "mode"),
    ("Reloading and stopping", "reload_mercy_s"),
    ("Logging", "disable_logging"),
)

#: The settings, in the order of `--help`.
SETTINGS: tuple[Setting, ...] = tuple(
    Setting(**{**vars(one.metadata["setting"]), "field": one.name})
    for one in fields(Settings)
    if "setting" in one.metadata
)

_FILE = Text("FILE[:SECTION]", "a file")

#: Options that steer the parser and leave no value behind; they act at once, where they stand (compat §4.1).
DIRECTIVES: tuple[Setting, ...] = (
    Setting("ini", _FILE, "read options from an INI file, section [uwsgi]", many=True),
    Setting("yaml", _FILE, "the same from YAML", aliases=("yml",), short="y", many=True),
    Setting("json", _FILE, "the same from JSON", aliases=("js",), short="j", many=True),
    Setting("set", Pair("=", "KEY=VALUE"), "set an option or a placeholder", short="S", many=True),
    Setting(
        "set-placeholder", Pair("=", "KEY=VALUE"), "set a placeholder for %(KEY)",
        aliases=("set-ph",), many=True,
    ),
    Setting("strict", Flag(), "an unknown key in a file is an error, not a placeholder", False),
    Setting("show-config", Flag(), "print what is set, where it came from and what is wrong with it, and exit", False),
    Setting("help", Flag(), "print this text and exit", False, short="h", aliases=("usage",)),
    Setting("version", Flag(), "print the version and exit", False),
)  # fmt: skip

#: Every name and alias; and every one-letter name.
BY_NAME: dict[str, Setting] = {
    name: about for about in (*SETTINGS, *DIRECTIVES) for name in (about.name, *about.aliases)
}
BY_SHORT: dict[str, Setting] = {about.short: about for about in (*SETTINGS, *DIRECTIVES) if about.short}
