"""What to do instead of each of uWSGI's options that is refused, and of the names that its module has and ours has not:
the nearest thing that works.

By the part that is missing, and by option where one has an answer of its own. Both the refusal and the tables of
docs/start/coming-from-uwsgi.md take the texts from here; a test holds that no refused option is left without one.
Backticks are for the page. Data and look-ups only.
"""

from __future__ import annotations

__all__ = ["BY_OPTION", "BY_PART", "answer_for", "why_absent"]

#: Nothing is lost without it.
_LEAVE_OUT = "nothing is needed"

#: By the missing part, as the tables of uwsgi.py and uwsgi_rest.py call it: what to use.
BY_PART: dict[str, str] = {
    "the cache": "a dict in each worker, or Redis",
    "the spooler": "a queue of jobs with workers of its own, such as RQ or Celery",
    "mules and farms": "a program of its own beside the server, under the service manager",
    "the queue": "Redis, or a database",
    "shared areas": "Redis, or `multiprocessing.shared_memory`",
    "the legion subsystem": "a load balancer in front of several machines",
    "the emperor": "one unit of the service manager for each instance, such as `fairlead@.service`",
    "cron and timers": "the service manager's timers; inside a worker a thread",
    "SNMP": "what the application tells by `uwsgi.workers()`",
    "alarms": "what the service manager does when a unit fails or logs an error",
    "metrics": "what the application measures itself, and `uwsgi.workers()`",
    "RPC": "HTTP, or Redis",
    "the fast router": "`--http-to ADDRESS`, a plain router, or a proxy in front",
    "the subscription system": "the list of servers of `--http-to`, or of the proxy in front",
    "cheaper mode": "a fixed `--processes N`",
    "cgroups and namespaces": "the service manager, or a container",
    "attached daemons": "units of the service manager",
    "hooks": "`ExecStartPre=` and `ExecStopPost=` of systemd; in Python `uwsgi.post_fork_hook`, `uwsgi.atexit`",
    "the Lua, PHP, CGI, JVM and Mono plugins": "the languages' own servers, behind a `--route` with `http:`",
    "the tornado loop": "`--asyncio N`",
    "the choice of a loop": "`--async N`, `--gevent N` or `--asyncio N`",
    "Perl": "uWSGI itself for that application, behind a `--route` with `uwsgi:`",
    "Ruby": "uWSGI itself for that application, behind a `--route` with `uwsgi:`",
    "PyPy": "CPython",
    "stackless": "`--greenlet`",
    "other settings of TLS than those of --https": "`--https`, more than once for several names",
    "other protocols than HTTP and uwsgi": "`--socket` or `--http-socket`, and the same in the proxy",
    "other ways to serve static files than --static-map": "`--static-map`, the proxy in front, or the application",
    "the statistics server": "`uwsgi.workers()`, which a page of the application can show",
    "a choice of what harakiri does and counts": "`--harakiri` alone",
    "a body size limit": "the proxy in front (nginx: `client_max_body_size`), or the application",
    "running in the background (use your service manager)": "the service manager, and `--logto FILE` for the log",
    "a second pidfile or log": "`--pidfile FILE`, and `--logto FILE` or the service manager's log",
    "log formats": "the log as it is; `uwsgi.set_logvar` adds to a line",
    "other kinds of reload": "`--touch-reload`, `--py-autoreload`, `--max-requests`, SIGHUP",
    "XML configuration (write the file as INI, YAML or JSON)": "INI, YAML or JSON",
    "PasteDeploy": "a file of your own with `application = loadapp('config:FILE')`",
    "uWSGI's signals": "`fairlead.channels` or Redis; a thread from `uwsgi.post_fork_hook` for a timer",
    "uWSGI's HTTP router": "`--http-to ADDRESS`, or a proxy in front",
    "plugins in C": "Python",
    "uWSGI's own commands (send the master a signal with kill)": "`kill -HUP` and `kill -TERM` to the master",
    "uWSGI as another program": "Python itself",
    "kinds of application other than WSGI": "the application's WSGI callable, by `--wsgi-file` or `--module`",
    "changes to an application's responses": "the proxy in front, or a middleware",
    "virtual hosts": "one instance for each, behind a proxy",
    "static files": "`--static-map`, or the proxy in front",
    "limits on memory and processes": "the service manager (systemd: `MemoryMax=`, `TasksMax=`)",
    "other logs than one": "standard error, which the service manager keeps",
    "the care of log files": "the service manager's log",
    "control of the master by files": "signals, `--touch-reload`",
    "other ways to choose users": "`--uid` and `--gid`, or the service manager",
    "shared sockets": "the address itself at `--http`, `--http-socket` or `--socket`; `@name` for an abstract one",
    "other ways to set the environment": "`--env KEY=VALUE`, or the service manager",
    "other ways to load modules": "`--import MODULE` for what has to be done before the application is loaded",
    "other ways to answer": "the application as it is",
    "other ways to read a configuration": "`--ini`, `--set`; blocks from `if-env` to `endif`, `for` to `endfor`",
}  # fmt: skip

_EXPIRES = "`--response-route-uri '^/static/ addheader:Cache-Control: max-age=3600'`"
_LOGGED = "`--final-route-status '^[123] donotlog:'`, which leaves the lines of failed requests"

#: By option, where the part's answer is not the nearest.
BY_OPTION: dict[str, str] = {
    "check-static": "`--static-map /=DIR`",
    "check-static-docroot": "`--static-map /=DIR`",
    "static-check": "`--static-map /=DIR`",
    "static-map2": "`--static-map /PATH=DIR/PATH`, which names the folder itself",
    "static-safe": "a `--static-map` for that folder as well",
    "static-skip-ext": "`--route '[.]php$ continue:'` for what the application shall answer",
    "static-expires": _EXPIRES,
    "static-expires-mtime": _EXPIRES,
    "static-expires-uri": _EXPIRES,
    "static-expires-uri-mtime": _EXPIRES,
    "static-expires-path-info": _EXPIRES,
    "static-expires-path-info-mtime": _EXPIRES,
    "static-expires-type": _EXPIRES,
    "static-expires-type-mtime": _EXPIRES,
    "static-gzip": "the proxy in front (nginx: `gzip_static`)",
    "static-gzip-all": "the proxy in front (nginx: `gzip_static`)",
    "static-gzip-dir": "the proxy in front (nginx: `gzip_static`)",
    "static-gzip-ext": "the proxy in front (nginx: `gzip_static`)",
    "static-gzip-suffix": "the proxy in front (nginx: `gzip_static`)",
    "static-cache-paths": _LEAVE_OUT,
    "static-cache-paths-name": _LEAVE_OUT,
    "static-offload-to-thread": _LEAVE_OUT,
    "mimefile": "the machine's /etc/mime.types",
    "mime-file": "the machine's /etc/mime.types",
    "honour-range": "`--static-map`, which answers ranges",
    "file-serve-mode": "`X-Sendfile` of the proxy in front",
    "fileserve-mode": "`X-Sendfile` of the proxy in front",
    "del-header": "`--response-route-run delheader:NAME`",
    "rem-header": "`--response-route-run delheader:NAME`",
    "error-page-403": "the proxy in front (nginx: `error_page`), or the application",
    "error-page-404": "the proxy in front (nginx: `error_page`), or the application",
    "error-page-500": "the proxy in front (nginx: `error_page`), or the application",
    "vhost": "`--mount` for paths, `--route-host` for hosts, or one instance for each behind a proxy",
    "touch-workers-reload": "`--touch-reload FILE`",
    "touch-chain-reload": "`--touch-reload FILE`",
    "chain-reload": "SIGHUP: new workers are ready before the old ones leave",
    "fs-reload": "`--touch-reload FILE`",
    "fs-brutal-reload": "`--touch-reload FILE`",
    "reload-on-rss": "`--max-requests N`",
    "reload-on-as": "`--max-requests N`",
    "evil-reload-on-rss": "`--max-requests N`, or `MemoryMax=` of systemd",
    "evil-reload-on-as": "`--max-requests N`, or `MemoryMax=` of systemd",
    "max-worker-lifetime": "`--max-requests N`",
    "min-worker-lifetime": _LEAVE_OUT,
    "max-requests-delta": "`--max-requests N`; a worker's successor is ready before it leaves",
    "py-auto-reload-ignore": "`--touch-reload FILE` for the files that count",
    "propagate-touch": _LEAVE_OUT,
    "harakiri-verbose": "nothing: the log names the request and where it stood",
    "log-4xx": _LOGGED,
    "log-5xx": _LOGGED,
    "log-x-forwarded-for": "`--trusted-proxy ADDRESS`, which changes REMOTE_ADDR and the log",
    "log-date": "nothing: each line begins with date and time",
    "logdate": "nothing: each line begins with date and time",
    "log-zero": _LEAVE_OUT,
    "log-big": _LEAVE_OUT,
    "log-sendfile": _LEAVE_OUT,
    "log-ioerror": _LEAVE_OUT,
    "logger": "`--logto FILE`",
    "req-logger": "`--logto FILE`",
    "logto2": "`--logto FILE`",
    "pidfile2": "`--pidfile FILE`",
    "safe-pidfile": "`--pidfile FILE`",
    "safe-pidfile2": "`--pidfile FILE`",
    "reload": "`kill -HUP $(cat FILE)`",
    "stop": "`kill -TERM $(cat FILE)`",
    "pause": "`kill -TERM $(cat FILE)` and another start",
    "ping": "a GET of a page",
    "dump-options": "`--help`",
    "config": "`--ini FILE`, `--yaml FILE` or `--json FILE`",
    "include": "`--ini FILE`",
    "inherit": "`--ini FILE`",
    "ifenv": "`if-env`",
    "ifexists": "`if-exists`",
    "ifdir": "`if-dir`",
    "if-directory": "`if-dir`",
    "end-if": "`endif`",
    "end-for": "`endfor`",
    "xmlconfig": "INI, YAML or JSON",
    "shared-socket": "the address itself: `--http ADDRESS`, `--http-socket ADDRESS` or `--socket ADDRESS`",
    "undeferred-shared-socket": "the address itself: `--http ADDRESS`, `--http-socket ADDRESS` or `--socket ADDRESS`",
    "abstract-socket": "`@name` as the address",
    "map-socket": "all addresses for all workers",
    "sni": "`--https ADDRESS,CERT,KEY` once for each name",
    "ssl-sessions-use-cache": "nothing: tickets resume sessions in every worker",
    "ssl-sessions-timeout": "nothing: tickets resume sessions in every worker",
    "worker-mount": "`--mount /PATH=APP`",
    "no-initgroups": _LEAVE_OUT,
    "immediate-uid": "`--uid USER`",
    "immediate-gid": "`--gid GROUP`",
    "add-gid": "`--uid USER`, whose groups are all taken",
    "chroot": "`RootDirectory=` of systemd, or a container",
    "limit-as": "`MemoryMax=` of systemd",
    "limit-nproc": "`TasksMax=` of systemd",
    "wsgi-lite": "`--wsgi-file FILE`",
    "start_response-nodelay": _LEAVE_OUT,
    "wsgi-accept-buffer": _LEAVE_OUT,
    "wsgi-accept-buffers": _LEAVE_OUT,
    "write-errors-tolerance": _LEAVE_OUT,
    "write-errors-exception-only": _LEAVE_OUT,
    "vassal-sos": "a fixed `--processes N`",
    "http-server-name-as-http-host": "HTTP_HOST in the application",
    "http-auto-gzip": "the proxy in front, or a middleware",
    "http-harakiri": "`--harakiri SECONDS`",
    "http-cheap": _LEAVE_OUT,
    "exit-on-reload": "`kill -TERM` and the service manager's restart",
    "early-emperor": "one unit of the service manager for each instance, such as `fairlead@.service`",
    "exec-pre-app": "`ExecStartPre=` of systemd, or `--import FILE`",
    "mule": "a unit of the service manager with the mule's own program",
    "attach-daemon": "a unit of the service manager for that program",
    "attach-daemon2": "a unit of the service manager for that program",
    "smart-attach-daemon": "a unit of the service manager for that program",
    "tornado": "`--asyncio N`",
    "python-raw": "`--wsgi-file FILE`",
    "threaded-logger": _LEAVE_OUT,
}  # fmt: skip


#: Names of uWSGI's module `uwsgi`, by the missing part.
_NAMES = {
    name: part
    for part, names in (
        ("the cache",
         "cache_clear cache_dec cache_del cache_div cache_exists cache_get cache_inc cache_keys cache_mul cache_num "
         "cache_set cache_update"),
        ("the spooler",
         "i_am_the_spooler mule_msg_recv_size send_to_spooler set_spooler_frequency spool spooler_dir "
         "spooler_get_task spooler_jobs spooler_pid spooler_pids spoolers"),
        ("mules and farms",
         "farm_get_msg farm_msg in_farm install_mule_msg_hook mule_file mule_get_msg mule_msg"),
        ("the queue",
         "queue_get queue_last queue_pop queue_pull queue_pull_slot queue_push queue_set queue_size queue_slot"),
        ("shared areas",
         "sharedarea_dec8 sharedarea_inc8 sharedarea_memoryview sharedarea_object sharedarea_read sharedarea_read16 "
         "sharedarea_read32 sharedarea_read64 sharedarea_read8 sharedarea_rlock sharedarea_unlock sharedarea_update "
         "sharedarea_wlock sharedarea_write sharedarea_write16 sharedarea_write32 sharedarea_write64 "
         "sharedarea_write8"),
        ("uWSGI's signals", "register_signal signal signal_received signal_registered signal_wait"),
        ("cron and timers", "add_cron add_file_monitor add_ms_timer add_rb_timer add_timer"),
        ("RPC", "call register_rpc rpc rpc_list"),
        ("metrics",
         "metric_dec metric_div metric_get metric_inc metric_mul metric_set metric_set_max metric_set_min"),
        ("alarms", "alarm"),
        ("SNMP", "snmp_decr_counter32 snmp_incr_counter32 snmp_set_community snmp_set_counter32 snmp_set_gauge"),
        ("the legion subsystem", "i_am_the_lord lord_scroll scrolls"),
    )
    for name in names.split()
}  # fmt: skip


def answer_for(name: str, part: str) -> str:
    """What to do instead of the option `name`, for which `part` is missing: an imperative, without backticks."""
    text = BY_OPTION.get(name) or BY_PART[part]
    if text.startswith("nothing"):
        return f"remove it{text.removeprefix('nothing').removeprefix(' is needed')}"
    return f"remove it and use {text.replace('`', '')}"


def why_absent(name: str) -> str:
    """What completes a sentence about a name that uWSGI's module has and ours has not; "" for any other."""
    part = _NAMES.get(name)
    return f"Fairlead does not have {part}; use {BY_PART[part].replace('`', '')}" if part else ""
