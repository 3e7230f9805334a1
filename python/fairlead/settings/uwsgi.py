"""uWSGI's option names that have no meaning of their own in Fairlead, and what is said about each.

Three answers exist, by compat §4.2 and §8: *always on* (what the option asks for is how Fairlead works),
*ignored* with one warning (it tunes a part that Fairlead has not), and *refused* (a subsystem or a language
that is missing: going on without it would pretend). Data and one look-up only; real settings are in
options.py and are looked up first, and what to do instead of a refused one is uwsgi_answers.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairlead.settings.uwsgi_answers import answer_for
from fairlead.settings.uwsgi_rest import REST

#: What a command line option is followed by: nothing, a value, or a value only in the form `--name=value`.
NONE, VALUE, OPTIONAL = "none", "value", "optional"


@dataclass(frozen=True)
class Foreign:
    """The verdict on one uWSGI name: `answer` is "always", "ignored" or "refused"; `why` completes a
    sentence, and `instead`, of a refused one, says in the imperative what to do."""

    name: str
    answer: str
    why: str
    takes: str = VALUE
    instead: str = ""


#: Flags whose "on" is how Fairlead works anyway.
_ALWAYS = {
    "a master process always runs": "master",
    "each worker loads the app itself": "lazy-apps lazy",
    "Fairlead never starts without an app": "need-app",
    "WebSockets need no switch": "http-websockets",
    "bodies are always streamed": ("http-raw-body http-chunked-input http-auto-chunked wsgi-manage-chunked-input"),
    "master and workers write to the same log": "log-master",
    "threads are always enabled": "enable-threads",
    "UNIX sockets and the pidfile are always removed": "vacuum",
}

_IGNORED: tuple[tuple[str, str, str], ...] = (
    (NONE, "the kernel shares out connections", "thunder-lock reuse-port"),
    (NONE, "each worker has one interpreter", "single-interpreter"),
    (NONE, "a worker that stops waits for its requests anyway", "gevent-wait-for-hub"),
    (OPTIONAL, "there is nothing to tune there", "memory-report"),
    (NONE, "there is nothing to tune there",
     "no-orphans close-on-exec close-on-exec2 auto-procname so-keepalive tcp-nodelay "
     "ignore-sigpipe ignore-write-errors disable-write-exception no-default-app reload-os-env "
     "py-call-osafterfork http-manage-expect no-threads-wait skip-zero no-defer-accept freebind "
     "reaper no-fd-passing persistent-ipcsem never-swap use-abort http-quiet disable-sendfile "
     "log-master-stream log-master-req-stream force-gateway"),
    (VALUE, "each request gets a fresh environ", "wsgi-env-behaviour wsgi-env-behavior"),
    (VALUE, "the HTTP front is part of each worker",
     "http-processes http-workers http-socket-modifier1 http-socket-modifier2 "
     "https-socket-modifier1 https-socket-modifier2 "
     "http-events http-buffer-size http-uid http-gid"),
    (VALUE, "the engine passes data on in the background by itself", "offload-threads offload-thread"),
    (VALUE, "any worker of an instance resumes a TLS session of any other", "https-session-context"),
    (VALUE, "nothing has to be loaded", "plugin plugins need-plugin need-plugins plugin-dir plugins-dir"),
    (VALUE, "greenlets have no stack of their own to size",
     "ugreen-stacksize threads-stacksize thread-stacksize thread-stack-size threads-stack-size"),
    (VALUE, "bodies are streamed, not buffered",
     "post-buffering post-buffering-bufsize body-read-warning"),
    (VALUE, "there is nothing to tune there",
     "lock-engine ftok cpu-affinity max-fd procname procname-prefix procname-prefix-spaced "
     "procname-append procname-master optimize backtrace-depth safe-fd fd-safe ksm prio check-interval "
     "forkbomb-delay mem-collector-freq so-send-timeout so-write-timeout socket-send-timeout "
     "socket-write-timeout socket-sndbuf socket-rcvbuf tcp-fast-open tcp-fastopen "
     "tcp-fast-open-client tcp-fastopen-client log-master-bufsize clock response-headers-limit"),
)  # fmt: skip

#: Subsystems of compat §8: the name itself, `name-…`, `name2…`, `names`.
MISSING: tuple[tuple[str, str], ...] = (
    ("the cache", "cache"),
    ("the spooler", "spooler"),
    ("mules and farms", "mule farm"),
    ("the queue", "queue"),
    ("shared areas", "sharedarea"),
    ("the legion subsystem", "legion"),
    ("the emperor", "emperor vassal"),
    ("cron and timers", "cron legion-cron unique-cron timer rb-timer signal-timer"),
    ("SNMP", "snmp"),
    ("alarms", "alarm log-alarm"),
    ("metrics", "metric enable-metrics"),
    ("RPC", "rpc"),
    ("the fast router", "fastrouter rawrouter sslrouter forkptyrouter"),
    ("the subscription system", "subscribe subscribe-to subscription unsubscribe"),
    ("cheaper mode", "cheaper cheap idle"),
    ("cgroups and namespaces", "cgroup namespace unshare chroot"),
    ("attached daemons", "attach-daemon smart-attach-daemon legion-attach-daemon"),
    ("hooks", "hook exec-pre exec-post exec-as exec-asap"),
    ("the Lua, PHP, CGI, JVM and Mono plugins", "lua php cgi jvm mono"),
)

#: What later versions bring; matched like the subsystems.
LATER: tuple[tuple[str, str], ...] = (
    ("the tornado loop", "tornado"),
    ("the choice of a loop", "loop"),
    ("Perl", "psgi coroae perl plshell"),
    ("Ruby", "rack rb rbthread rb-thread ruby fiber"),
    ("PyPy", "pypy"),
    ("stackless", "stackless"),
    ("other settings of TLS than those of --https", "ssl sni"),
    ("other protocols than HTTP and uwsgi", "suwsgi-socket fastcgi-socket scgi-socket"),
    ("other ways to serve static files than --static-map",
     "static-map2 static-check check-static check-static-docroot static-skip-ext static-safe static-cache-paths "
     "static-cache-paths-name static-expires static-expires-mtime static-expires-type static-expires-type-mtime "
     "static-expires-uri static-expires-uri-mtime static-expires-path-info static-expires-path-info-mtime static-gzip "
     "static-gzip-all static-gzip-dir static-gzip-ext static-gzip-suffix static-offload-to-thread"),
    ("the statistics server", "stats"),
    ("a choice of what harakiri does and counts", "harakiri no-harakiri"),
    ("a body size limit", "limit-post"),
    ("running in the background (use your service manager)", "daemonize"),
    ("a second pidfile or log", "pidfile2 safe-pidfile logto2 logger req-logger threaded-logger"),
    ("log formats", "log-format logformat log-date log-micros log-4xx log-5xx log-slow log-x-forwarded-for"),
    ("other kinds of reload",
     "touch-workers-reload touch-chain-reload chain-reload reload-on-rss reload-on-as evil-reload-on-rss "
     "evil-reload-on-as max-worker-lifetime min-worker-lifetime touch-logrotate"),
    ("XML configuration (write the file as INI, YAML or JSON)", "xml"),
    ("PasteDeploy", "paste ini-paste"),
)  # fmt: skip

#: One-letter names of the above, as uWSGI has them.
_SHORT = {
    "M": "master", "T": "enable-threads", "i": "single-interpreter", "m": "memory-report", "O": "optimize",
    "d": "daemonize", "x": "xml", "q": "queue",
}  # fmt: skip


def _exact() -> dict[str, Foreign]:
    table = {}
    for why, names in _ALWAYS.items():
        for name in names.split():
            table[name] = Foreign(name, "always", why, NONE)
    for takes, why, names in _IGNORED:
        for name in names.split():
            table[name] = Foreign(name, "ignored", why, takes)
    return table


EXACT = _exact()

#: All names known here, for the search for the nearest one.
NAMES = tuple(EXACT)


def find(name: str) -> Foreign | None:
    """What to say about uWSGI's option `name`; None when it is no such option."""
    if name in EXACT:
        return EXACT[name]
    for table, verdict in (
        (MISSING, "which Fairlead does not have"),
        (LATER, "which is not in this version yet"),
    ):
        for what, stems in table:
            if any(re.fullmatch(rf"{re.escape(stem)}(s|[0-9]+)?(-.+)?", name) for stem in stems.split()):
                return Foreign(name, "refused", f"needs {_short_name(what)}, {verdict}", instead=answer_for(name, what))
    for what, names in REST:
        if name in names.split():
            why = f"needs {_short_name(what)}, which Fairlead does not have"
            return Foreign(name, "refused", why, instead=answer_for(name, what))
    return None


def _short_name(part: str) -> str:
    """Without what the tables say in parentheses: what to do stands behind it anyway."""
    return re.sub(r" [(].*[)]$", "", part)


def find_short(letter: str) -> Foreign | None:
    """The same for a one-letter name."""
    return find(_SHORT[letter]) if letter in _SHORT else None
