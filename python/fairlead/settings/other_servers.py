"""What uvicorn, gunicorn and granian call their options, and the nearest of ours.

Whoever comes from one of them types `--bind`, `--port` or `--reload` first, and gets told what that is here. Data and
look-ups only; options of ours and of uWSGI's that have the same name go before these, but for the names that all
readers of this table mean otherwise than uWSGI (`--reload`). No option here is accepted: a value means something else
as often as not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["NAMES", "Mistake", "mistake", "other_server", "other_short"]

_UVICORN, _GUNICORN, _GRANIAN = "uvicorn", "gunicorn", "granian"

#: What stands for an option that nothing here corresponds to; behind it stands why.
_NOTHING = "nothing: "

#: The servers that have a name, the names, and what Fairlead calls it; or `_NOTHING` and why.
_OPTIONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # Where to listen
    ((_UVICORN, _GRANIAN), "host", "--http HOST:PORT"),
    ((_UVICORN, _GRANIAN), "port", "--http :PORT"),
    ((_GUNICORN,), "bind", "--http ADDRESS, or --http PATH for a UNIX socket"),
    ((_UVICORN, _GRANIAN), "uds", "--http PATH"),
    ((_GRANIAN,), "uds-permissions", "--chmod-socket MODE"),
    ((_UVICORN,), "fd", "--http ADDRESS: sockets of others are not taken over"),
    ((_UVICORN, _GUNICORN, _GRANIAN), "backlog", "--listen N"),
    # TLS
    ((_UVICORN,), "ssl-certfile", "--https ADDRESS,CERT,KEY"),
    ((_UVICORN, _GRANIAN), "ssl-keyfile", "--https ADDRESS,CERT,KEY"),
    ((_GUNICORN,), "certfile keyfile", "--https ADDRESS,CERT,KEY"),
    ((_GRANIAN,), "ssl-certificate", "--https ADDRESS,CERT,KEY"),
    ((_UVICORN, _GUNICORN), "ssl-ca-certs ca-certs", "--https ADDRESS,CERT,KEY,,CLIENT_CA"),
    ((_UVICORN, _GUNICORN), "ssl-cert-reqs cert-reqs",
     "--https ADDRESS,CERT,KEY,,!CLIENT_CA, where ! makes a certificate mandatory"),
    ((_UVICORN, _GUNICORN), "ssl-ciphers ciphers", "--https ADDRESS,CERT,KEY,CIPHERS"),
    ((_GRANIAN,), "ssl-ca ssl-client-verify", "--https ADDRESS,CERT,KEY,,!CLIENT_CA"),
    ((_UVICORN, _GRANIAN), "ssl-keyfile-password", _NOTHING + "no key with a password is read; store it without"),
    ((_UVICORN, _GUNICORN, _GRANIAN), "ssl-version ssl-protocol-min",
     _NOTHING + "TLS 1.2 and 1.3 are spoken, and nothing older"),
    ((_GRANIAN,), "ssl-crl", _NOTHING + "lists of revoked certificates are not read"),
    ((_GUNICORN,), "do-handshake-on-connect suppress-ragged-eofs", _NOTHING + "there is nothing to tune there"),
    # Processes and concurrency
    ((_GUNICORN,), "worker-class", "--threads N, --gevent N, --asyncio N, or --async N --greenlet"),
    ((_GUNICORN,), "worker-connections", "--gevent N, --asyncio N or --async N"),
    ((_UVICORN,), "limit-concurrency", "--threads N, --gevent N, --asyncio N or --async N, for each worker"),
    ((_GRANIAN,), "blocking-threads", "--threads N"),
    ((_GRANIAN,), "backpressure", "--threads N, --gevent N, --asyncio N or --async N, for each worker"),
    ((_GRANIAN,), "blocking-threads-idle-timeout runtime-threads runtime-blocking-threads runtime-mode task-impl",
     _NOTHING + "the engine has one thread for HTTP and one for WebSockets in each worker"),
    ((_UVICORN, _GRANIAN), "interface", _NOTHING + "applications are WSGI"),
    ((_UVICORN,), "lifespan", _NOTHING + "applications are WSGI; uwsgi.post_fork_hook and uwsgi.atexit are called"),
    ((_UVICORN, _GRANIAN), "factory", "--module 'package.module:create()', with parentheses"),
    ((_GUNICORN,), "preload preload-app", _NOTHING + "each worker loads the application itself"),
    ((_UVICORN, _GUNICORN), "limit-max-requests", "--max-requests N"),
    ((_UVICORN, _GUNICORN), "limit-max-requests-jitter max-requests-jitter",
     _NOTHING + "a worker's successor is ready before it leaves, so they may leave together"),
    ((_GRANIAN,), "workers-lifetime workers-max-rss rss-sample-interval", "--max-requests N"),
    ((_GRANIAN,), "respawn-failed-workers respawn-interval", _NOTHING + "workers are always started again"),
    ((_UVICORN,), "timeout-worker-healthcheck", _NOTHING + "the master asks each worker by itself"),
    ((_UVICORN,), "reset-contextvars", _NOTHING + "each request has a context of its own"),
    ((_GUNICORN,), "worker-tmp-dir", _NOTHING + "workers need no files"),
    # Reloading
    ((_UVICORN, _GUNICORN, _GRANIAN), "reload", "--py-autoreload SECONDS, or kill -HUP $(cat PIDFILE)"),
    ((_UVICORN,), "reload-delay", "--py-autoreload SECONDS"),
    ((_GUNICORN,), "reload-engine", "--py-autoreload SECONDS"),
    ((_UVICORN, _GUNICORN), "reload-include reload-extra-file", "--touch-reload FILE"),
    ((_UVICORN, _GRANIAN),
     "reload-dir reload-exclude reload-paths reload-ignore-dirs reload-ignore-patterns reload-ignore-paths reload-tick "
     "reload-ignore-worker-failure",
     "--py-autoreload SECONDS, which watches the modules that the application has loaded"),
    # Time-outs
    ((_GUNICORN,), "timeout", "--harakiri SECONDS"),
    ((_GUNICORN,), "graceful-timeout", "--worker-reload-mercy SECONDS, and --reload-mercy SECONDS for a stop"),
    ((_UVICORN,), "timeout-graceful-shutdown", "--reload-mercy SECONDS"),
    ((_GRANIAN,), "workers-kill-timeout", "--reload-mercy SECONDS"),
    ((_GUNICORN,), "keep-alive", "--http-keepalive SECONDS"),
    ((_UVICORN,), "timeout-keep-alive", "--http-keepalive SECONDS"),
    ((_GRANIAN,), "http1-keep-alive no-http1-keep-alive http2-keep-alive-interval http2-keep-alive-timeout",
     "--http-keepalive SECONDS"),
    ((_GRANIAN,), "http1-header-read-timeout", "--http-headers-timeout SECONDS"),
    # HTTP and WebSocket
    ((_GUNICORN,), "limit-request-line limit-request-fields limit-request-field_size limit-request-field-size",
     "--buffer-size BYTES, for the whole head of a request"),
    ((_UVICORN,), "h11-max-incomplete-event-size", "--buffer-size BYTES"),
    ((_GRANIAN,),
     "http1-buffer-size http1-pipeline-flush http2-adaptive-window http2-initial-connection-window-size "
     "http2-initial-stream-window-size http2-max-concurrent-streams http2-max-frame-size http2-max-headers-size "
     "http2-max-send-buffer-size",
     _NOTHING + "there is nothing to tune there"),
    ((_UVICORN, _GRANIAN), "ws no-ws", _NOTHING + "WebSockets need no switch"),
    ((_UVICORN,), "ws-max-size", "--websockets-max-size KIB, in KiB and not in bytes"),
    ((_UVICORN,), "ws-max-queue", _NOTHING + "a client whose application does not receive is not read"),
    ((_UVICORN,), "ws-ping-interval", "--websockets-ping-freq SECONDS"),
    ((_UVICORN,), "ws-ping-timeout", "--websockets-pong-tolerance SECONDS"),
    ((_UVICORN,), "ws-per-message-deflate", _NOTHING + "WebSockets are not compressed yet"),
    ((_UVICORN, _GRANIAN), "root-path url-path-prefix", "--mount /PATH=APP --manage-script-name"),
    ((_UVICORN,), "header", "--add-header 'NAME: VALUE'"),
    ((_UVICORN,), "server-header no-server-header date-header no-date-header",
     _NOTHING + "a response has a Date, and no Server unless --add-header gives one"),
    ((_UVICORN,), "proxy-headers no-proxy-headers", "--trusted-proxy ADDRESS"),
    ((_UVICORN, _GUNICORN), "forwarded-allow-ips", "--trusted-proxy ADDRESS"),
    ((_GUNICORN,), "secure-scheme-headers", "--trusted-proxy ADDRESS"),
    ((_GUNICORN,), "proxy-protocol", "--http-enable-proxy-protocol"),
    ((_GUNICORN,), "proxy-allow-from", "--http-enable-proxy-protocol, and a firewall for the port"),
    ((_GRANIAN,), "static-path-mount static-path-route", "--static-map /PATH=FOLDER"),
    ((_GRANIAN,), "static-path-dir-to-file", "--static-index NAME"),
    ((_GRANIAN,), "static-path-expires", _NOTHING + "no expiry is sent with files; set it in the proxy in front"),
    # Logs
    ((_UVICORN, _GUNICORN, _GRANIAN), "log-level",
     _NOTHING + "each line says how serious it is; --disable-logging leaves the requests out"),
    ((_UVICORN, _GUNICORN, _GRANIAN), "log-config log-config-json log-config-dict logger-class",
     _NOTHING + "lines go to standard error, or to --logto FILE"),
    ((_UVICORN, _GRANIAN), "access-log no-access-log", "--disable-logging, for no line per request"),
    ((_GRANIAN,), "log no-log", "--disable-logging, for no line per request"),
    ((_GUNICORN,), "access-logfile error-logfile log-file", "--logto FILE"),
    ((_GUNICORN,), "capture-output", _NOTHING + "what the application prints goes to the log anyway"),
    ((_GUNICORN, _GRANIAN), "access-logformat access-log-fmt", _NOTHING + "the lines have one form"),
    ((_GUNICORN,), "disable-redirect-access-to-syslog syslog syslog-to syslog-prefix syslog-facility",
     _NOTHING + "lines go to standard error, which a service manager keeps"),
    ((_GUNICORN,), "statsd-host statsd-prefix dogstatsd-tags", _NOTHING + "numbers are in uwsgi.workers()"),
    ((_UVICORN,), "use-colors no-use-colors", _NOTHING + "the log has no colours"),
    ((_GRANIAN,), "metrics-address metrics-port metrics-scrape-interval",
     _NOTHING + "numbers are in uwsgi.workers()"),
    # The process
    ((_UVICORN,), "app-dir", "--pythonpath DIR, or --chdir DIR"),
    ((_GRANIAN,), "working-dir", "--chdir DIR"),
    ((_UVICORN, _GRANIAN), "env-file env-files", "--env KEY=VALUE, or EnvironmentFile= of systemd"),
    ((_GUNICORN,), "pid", "--pidfile FILE"),
    ((_GRANIAN,), "pid-file", "--pidfile FILE"),
    ((_GUNICORN,), "user", "--uid USER"),
    ((_GUNICORN,), "group", "--gid GROUP"),
    ((_GUNICORN,), "daemon", _NOTHING + "a service manager runs it in the background"),
    ((_GUNICORN,), "initgroups", _NOTHING + "the groups of --uid are always taken"),
    ((_GUNICORN,), "tmp-upload-dir", _NOTHING + "bodies are streamed, not stored"),
    ((_GUNICORN,), "name", _NOTHING + "uwsgi.setprocname names a worker"),
    ((_GRANIAN,), "process-name", _NOTHING + "uwsgi.setprocname names a worker"),
    ((_GUNICORN,), "check-config print-config", "--show-config"),
    ((_GUNICORN,), "spew enable-stdio-inheritance strip-header-spaces permit-obsolete-folding "
     "permit-unconventional-http-method permit-unconventional-http-version casefold-http-method "
     "forwarder-headers header-map", _NOTHING + "there is nothing to switch there"),
)  # fmt: skip

#: gunicorn's one-letter names that are none here.
_SHORT = {
    "k": "worker-class", "c": "config", "D": "daemon", "e": "env", "n": "name", "u": "user", "g": "group",
}  # fmt: skip

#: Values that only another server's option of the same name has: option, value, what is said, and the option that is
#: meant.
_MISTAKEN: tuple[tuple[str, str, str, str], ...] = (
    ("buffer-size", r".*[:/].*", "-b is --buffer-size here; gunicorn's -b ADDRESS is --http ADDRESS", "http"),
    ("module", r"[0-9]+", "-w is --module here; gunicorn's -w N is --processes N", "processes"),
    (
        "http",
        r"auto|h11|httptools|[12]",
        "uvicorn and granian choose a parser by it; here it is an address to serve at",
        "http",
    ),
)


class Mistake(NamedTuple):
    """A value that is another server's: what to say, and which option is meant."""

    sentence: str
    meant: str


def _told(servers: tuple[str, ...], ours: str) -> str:
    whose = " and ".join(servers) if len(servers) < 3 else f"{', '.join(servers[:-1])} and {servers[-1]}"
    if ours.startswith(_NOTHING):
        return f"; it is an option of {whose}, to which nothing here corresponds: {ours.removeprefix(_NOTHING)}"
    return f"; Fairlead calls this option of {whose} {ours}"


#: Every name, and what completes a sentence about it.
NAMES: dict[str, str] = {name: _told(servers, ours) for servers, names, ours in _OPTIONS for name in names.split()}


def other_server(name: str) -> str:
    """`; Fairlead calls this option of gunicorn --http ADDRESS`-like ending for an error about `name`, or ""."""
    return NAMES.get(name, "")


def other_short(letter: str) -> str:
    """The same for a one-letter name."""
    name = _SHORT.get(letter, "")
    if name == "env":
        return "; Fairlead calls this option of gunicorn --env KEY=VALUE"
    if name == "config":
        return "; Fairlead calls this option of gunicorn --ini FILE, and reads INI, YAML and JSON"
    return NAMES.get(name, "")


def mistake(name: str, value: str | None) -> Mistake | None:
    """What is wrong with a value that is most likely meant for another server's option of that name."""
    for option, pattern, why, meant in _MISTAKEN:
        if name == option and value is not None and re.fullmatch(pattern, value):
            return Mistake(f"--{name} was given {value!r} (command line); {why}.", meant)
    return None
