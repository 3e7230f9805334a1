"""The rest of uWSGI 2.0's options, by name: refused like those of the tables in uwsgi.py.

They stand apart because they are matched exactly: many are everyday words (`stop`, `test`, `config`) that could well
begin the name of somebody's placeholder. Without this list an unknown key in a file would be taken as a placeholder, so
that an option which changes what a deployment does (`del-header`, `reload-on-exception`) would be lost in silence.
Data only.
"""

from __future__ import annotations

__all__ = ["REST"]

#: What each needs, and the names.
REST: tuple[tuple[str, str], ...] = (
    ("the cache", "add-cache-item load-file-in-cache load-file-in-cache-gzip check-cache"),
    ("the spooler", "touch-spoolers-reload"),
    ("mules and farms", "touch-mules-reload"),
    ("shared areas", "py-sharedarea"),
    ("the emperor",
     "early-emperor heartbeat imperial-monitor-list imperial-monitors-list zerg zerg-fallback zerg-server zergpool "
     "zerg-pool"),
    ("cron and timers", "unique-legion-cron rbtimer signal-rbtimer"),
    ("uWSGI's signals", "signal signal-bufsize signals-bufsize touch-signal fs-signal"),
    ("alarms", "segfault-alarm backlog-alarm lq-alarm listen-queue-alarm"),
    ("metrics",
     "carbon carbon-timeout carbon-freq carbon-id carbon-no-workers carbon-max-retry carbon-retry-delay carbon-root "
     "carbon-hostname-dots carbon-name-resolve carbon-resolve-names carbon-idle-avg carbon-use-metrics rrdtool "
     "rrdtool-freq rrdtool-lib nagios"),
    ("uWSGI's HTTP router",
     "httprouter http-zerg http-fallback http-use-cache http-use-pattern http-use-base http-use-code-string "
     "http-use-socket http-cheap http-stats http-stats-server http-ss http-harakiri http-auto-gzip http-stud-prefix "
     "http-server-name-as-http-host http-manage-source http-manage-rtsp"),
    ("the subscription system",
     "st start-unsubscribed weight auto-weight http-subscription-server http-subscription-fallback-key "
     "http-resubscribe multicast multicast-ttl multicast-loop udp"),
    ("cheaper mode", "die-on-idle"),
    ("cgroups and namespaces",
     "ns ns-net setns setns-socket setns-socket-skip setns-skip setns-preopen jailed refork re-fork refork-as-root "
     "re-fork-as-root refork-post-jail re-fork-post-jail pivot-root pivot_root"),
    ("attached daemons", "attach-control-daemon daemons-honour-stdin"),
    ("hooks",
     "after-request-hook after-request-call exec-in-jail mount-asap mount-pre-jail mount-post-jail mount-in-jail "
     "mount-as-root mount-as-vassal mount-as-emperor umount-asap umount-pre-jail umount-post-jail umount-in-jail "
     "umount-as-root umount-as-vassal umount-as-emperor wait-for-interface wait-for-interface-timeout wait-interface "
     "wait-interface-timeout wait-for-iface wait-for-iface-timeout wait-iface wait-iface-timeout wait-for-fs "
     "wait-for-file wait-for-dir wait-for-mountpoint wait-for-fs-timeout wait-for-file-timeout wait-for-dir-timeout "
     "wait-for-mountpoint-timeout wait-for-socket wait-for-socket-timeout call-asap call-pre-jail call-post-jail "
     "call-in-jail call-as-root call-as-user call-as-user-atexit call-pre-app call-post-app call-as-vassal "
     "call-as-vassal1 call-as-vassal3 call-as-emperor call-as-emperor1 call-as-emperor2 call-as-emperor4 touch-exec "
     "file-write binsh"),
    ("plugins in C",
     "symcall symcall-use-next symcall-register-rpc symcall-post-fork dlopen autoload allowed-modifiers "
     "remap-modifier raw-socket raw-modifier1 raw-modifier2 cflags dot-h config-py build-plugin plugin-list "
     "plugins-list profiler clock-list clocks-list"),
    ("uWSGI's own commands (send the master a signal with kill)",
     "stop reload pause suspend resume ping ping-timeout connect-and-read extract dump-options print-sym "
     "print-symbol binary-append-data print iprint exit get no-server command-mode"),
    ("uWSGI as another program",
     "python py pyrun pyshell pyshell-oneshot eval test worker-exec worker-exec2 python-worker-override python-raw "
     "python-version py-tracebacker py-call-uwsgi-fork-hooks py-programname py-program-name py-executable "
     "py-sys-executable pyargv binary-path privileged-binary-patch unprivileged-binary-patch "
     "privileged-binary-patch-arg unprivileged-binary-patch-arg"),
    ("kinds of application other than WSGI", "pecan web3 pump wsgi-lite"),
    ("other protocols than HTTP and uwsgi",
     "puwsgi-socket fastcgi-nph-socket fastcgi-modifier1 fastcgi-modifier2 scgi-nph-socket scgi-modifier1 "
     "scgi-modifier2"),
    ("changes to an application's responses",
     "rem-header del-header collect-header response-header-collect pull-header error-page-403 error-page-404 "
     "error-page-500"),
    ("virtual hosts", "vhost vhost-host"),
    ("static files", "mimefile mime-file honour-range file-serve-mode fileserve-mode upload-progress"),
    ("limits on memory and processes", "limit-as limit-nproc"),
    ("other logs than one",
     "rsyslog rsyslog-packet-size rsyslog-split-messages log-syslog log-socket log-encoder log-req-encoder"),
    ("log formats", "logdate log-prefix log-zero log-big log-sendfile log-ioerror"),
    ("the care of log files", "log-reopen log-truncate log-maxsize log-backupname logfile-chown logfile-chmod"),
    ("other kinds of reload",
     "reload-on-exception reload-on-exception-type reload-on-exception-value reload-on-exception-repr reload-on-fd "
     "brutal-reload-on-fd fs-reload fs-brutal-reload exit-on-reload max-requests-delta check-mount check-mountpoint "
     "mount-check mountpoint-check propagate-touch py-auto-reload-ignore"),
    ("control of the master by files", "master-fifo notify-socket flock flock2 flock-wait flock-wait2"),
    ("other ways to choose users",
     "add-gid immediate-uid immediate-gid no-initgroups master-as-root drop-after-init drop-after-apps"),
    ("shared sockets", "shared-socket undeferred-shared-socket abstract-socket map-socket shutdown-sockets"),
    ("other ways to set the environment", "envdir early-envdir unenv force-cwd"),
    ("other ways to load modules",
     "pymodule-alias post-pymodule-alias no-site worker-mount max-apps ignore-script-name exception-handler "
     "skip-atexit skip-atexit-teardown"),
    ("other ways to answer",
     "start_response-nodelay wsgi-accept-buffer wsgi-accept-buffers write-errors-tolerance "
     "write-errors-exception-only"),
    ("other ways to read a configuration",
     "config fallback-config inherit include inject-before inject-after declare-option declare-option2 resolve "
     "blacklist end-blacklist whitelist end-whitelist ifenv ifexists ifdir ifplugin if-directory end-if end-for "
     "xmlconfig"),
)  # fmt: skip
