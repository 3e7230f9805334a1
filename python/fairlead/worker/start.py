"""One worker's life: told by the master, load the application, choose the runner, run, leave.

`python -m fairlead.worker` with an inherited control socket (see control_protocol.py for the lines that go over it). It
joins what does not know each other: settings, loading, engine, runner and the way an application is called. The `uwsgi`
module is registered before any user code runs. Signals mean nothing here: the master decides, and tells by the socket;
when the socket ends the master is gone, and the worker leaves too. The file stays whole: it is one life, in its order,
and what it decides lies in the modules beside it.
"""

from __future__ import annotations

import atexit
import errno
import math
import mimetypes
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from fairlead import apps, channels, forked, runners
from fairlead._native import Answered, Channels, Engine, EngineSettings, Listener, MasterWatch, Routes, StaticFiles
from fairlead.apps.contract import Setup
from fairlead.compat import uwsgi as uwsgi_compat
from fairlead.compat.uwsgi import bodies
from fairlead.compat.uwsgi.async_calls import AsyncCalls
from fairlead.control_protocol import CONTROL_FD
from fairlead.current import inherit_from
from fairlead.errors import FairleadError, LoadError, SettingsError, text_of
from fairlead.logs import AccessLog, Log, open_standard_streams, shortened
from fairlead.os_threads import Latch, get_ident, start_thread
from fairlead.runners.contract import Runner, RunnerFactory
from fairlead.settings.options import Settings
from fairlead.settings.uwsgi_answers import why_absent
from fairlead.statistics import REPORT_EVERY_S
from fairlead.websocket import configure
from fairlead.worker.control import Control
from fairlead.worker.drain import cut, running_tasks, spread_over
from fairlead.worker.driver_watch import DriverWatch
from fairlead.worker.fork_guard import ForkGuard
from fairlead.worker.loading import Loaded, files_of_failure, load_application
from fairlead.worker.output import OutputFile, replace_output
from fairlead.worker.services import Services
from fairlead.worker.slot_watch import watch_slots
from fairlead.worker.tls import WorkerTls
from fairlead.worker.watchdog import StallLog

if TYPE_CHECKING:
    from fairlead._native import EngineValues

__all__ = ["main"]

#: Seconds that killed tasks have to end before the process leaves without them.
_KILL_GRACE_S = 1.0


#: How long what was told last may take to leave: a master that is held up must not hold up its workers for good.
_MASTER_READS_S = 1.0

#: Characters of the reason why a worker cannot start: an exception of the application's may hold anything.
_LONGEST_REASON = 8192

#: What the system says of a number that is no descriptor any more, or some other file's: the application has closed it.
_LOST = frozenset({errno.EBADF, errno.ENOTSOCK})


class Worker:
    """What one start message makes of the process."""

    def __init__(self, control: Control, start: dict[str, Any], log: Log) -> None:
        self._control = control
        self._master_watch = MasterWatch(control.fileno())
        self._start = start
        self._log = log
        self._output = OutputFile()
        self._settings = Settings.from_plain(start["settings"])
        self._services = Services(control, start, self._settings, log)
        self._forks = ForkGuard(
            (control.fileno(), self._master_watch.fileno()),
            (one["fd"] for one in start["listeners"]),
            (control.in_forked_child, self._services.in_forked_child),
        )
        settings = self._settings
        self._access = AccessLog(log, not settings.disable_logging, not settings.disable_session_logging)
        self._ended = Latch()
        self._requests_left = self._settings.max_requests
        self._async_calls = AsyncCalls(log.info)
        self._reported: dict[str, Any] = {}
        self._is_report_broken = False
        #: Tells of clients that left since it was last called; `True`: without waiting for more.
        self._tell_of_disconnects: Callable[[bool], None] = lambda at_once: None
        self._look_at_slots: Callable[[], None] = lambda: None
        self._drivers = DriverWatch(self._settings, log)
        #: What the module `uwsgi` holds, for hooks that the application sets there.
        self._names: dict[str, Any] = {}

    def run(self) -> int:
        """Serve until told to stop. Returns the exit status."""
        settings = self._settings
        configure(settings.send_timeout_s)
        bodies.configure(settings.chunked_input_timeout_s or settings.send_timeout_s, settings.chunked_input_limit)
        uwsgi = sys.modules["uwsgi"] = uwsgi_compat.make(self._process())
        self._names = vars(uwsgi)
        try:
            native = Channels.inherited(self._start["channels_fd"], settings.channels_max_message)
        except ValueError as error:
            return self._fail(f"the channels cannot be used: {error}.")
        channels.configure(native)
        began = time.monotonic()
        try:
            self._tls = WorkerTls(self._start, self._control, self._log)
            # First: a runner may have to change the library before the application sees it.
            factory = runners.find(settings.runner, settings)
            self._control.tell(event="loading")
            loaded = load_application(settings)
            self._end_if_forked()
        except LoadError as error:
            self._end_if_forked()
            self._log_cause(error)
            # --py-autoreload tries again when one of them changes.
            self._control.tell(event="modules", files=files_of_failure(error, settings))
            return self._fail(str(error))
        mounts = getattr(uwsgi, "applications", None)
        if not isinstance(mounts, dict):
            mounts = {}
        applications = {**loaded.mounts, **mounts}
        for mount, application in applications.items():
            if why := apps.why_not_callable(application, runs_coroutines=factory.start_task is not None):
                return self._fail(f"the application{f' at {mount}' if mount else ''} {why}.")
        self._services.app_is_loaded(applications, time.monotonic() - began)
        self._drivers.look()
        setup = Setup(
            cores=settings.slots,
            io_timeout_s=max(settings.http_timeout_s, settings.send_timeout_s),
            log=self._log,
            access=self._access,
            watch=self._services.deadlines,
            variables=self._variables(factory),
            has_threads=settings.has_threads,
            has_processes=settings.processes > 1,
            move_script_name=settings.manage_script_name,
            show_tracebacks=settings.catch_exceptions,
            has_routes=bool(settings.route),
            after_request=self._after_request,
            after_item=None if factory.blocks_threads else self._async_calls.suspend_for,
            before_items=self._async_calls.begin_items if factory.waits_at_items_only else None,
        )
        caller = apps.caller_for(_finder(loaded, mounts), setup, settings)
        # Before the engine accepts: a hook that takes its time must hold up nobody whom another worker could serve.
        _call_hook(uwsgi, "post_fork_hook", self._log)
        self._end_if_forked()
        try:
            engine = self._start_engine(native, factory)
            self._forks.engine_is_made(engine)
            self._master_watch.serves(engine, settings.reload_mercy_s)
            runner = factory(engine, caller.run, settings.slots)
        except OSError as error:
            return self._fail(f"the engine cannot start: {error}.")
        except SettingsError as error:
            return self._fail(str(error))
        self._tell_of_disconnects = caller.disconnects.tell
        caller.start_task, caller.task_exit = runner.start_task, runner.task_exit
        self._services.deadlines.can_end(runner.ender)
        inherit_from(runner.ancestors)
        self._async_calls.serve(runner)
        channels.serve(runner.subscribe, runner.sleep, runner.sleep_async, runner.turn)
        if about := getattr(runner, "about", ""):
            self._log.info(about)
        self._services.runner_is_made(caller, runner, lambda: engine.busy().running)
        self._look_at_slots = watch_slots(engine, settings, self._queue_lengths, self._log).look
        self._control.hand_over()
        stalls = StallLog(self._log, get_ident(), engine.is_stalled)
        for name, work in (
            ("fairlead-log", lambda: self._write_engine_log(engine, stalls)),
            ("fairlead-control", lambda: self._obey(engine, runner)),
        ):
            start_thread(work, name)
        self._control.tell(event="modules", files=list(loaded.files))
        self._report()  # so that nobody finds a worker that serves without its statistics
        self._services.is_serving()
        self._control.tell(event="ready", answers_pings=True)
        self._control.flush(_MASTER_READS_S)  # the list of modules may be longer than the socket takes at once
        try:
            runner.run()
        except OSError as error:
            if error.errno in _LOST and not forked.is_child:  # the loop of a library found its descriptors gone
                MasterWatch.descriptors_are_lost()
            raise
        self._end_if_forked()
        self._ended.set()
        engine.stop(0.5)
        _call_hook(uwsgi, "atexit", self._log)
        self._tell_of_disconnects(True)
        self._report()
        self._control.flush(_MASTER_READS_S)
        return 0

    def _fail(self, why: str) -> int:
        self._control.tell(event="failed", message=shortened(why, _LONGEST_REASON))
        self._control.flush(_MASTER_READS_S)
        return 2

    def _start_engine(self, native: Channels, factory: RunnerFactory) -> Engine:
        settings = self._settings
        try:
            routes = Routes(list(settings.route), self._start["worker_id"]) if settings.route else None
            files = None
            if settings.static_map:
                files = StaticFiles(list(settings.static_map), list(settings.static_index), _media_types())
        except ValueError as error:
            raise SettingsError(str(error)) from None
        scoreboard = self._start.get("scoreboard")
        values = {**settings.engine_values(), "delivery": "threads" if factory.blocks_threads else "loop"}
        return Engine(
            EngineSettings(
                cast("EngineValues", values),
                self._listeners(),
                scoreboard=(scoreboard["fd"], scoreboard["cell"]) if scoreboard else None,
                channels=native,
                routes=routes,
                static_files=files,
            )
        )

    def _listeners(self) -> list[Listener]:
        with_proxy_header = self._settings.proxy_protocol
        return [
            Listener(
                one["fd"],
                one["kind"],
                proxy_protocol=one["kind"] in with_proxy_header,
                tls=tls,
                https_port=one.get("https_port", 0),
            )
            for one, tls in zip(self._start["listeners"], self._tls.by_listener, strict=True)
        ]

    def _variables(self, factory: RunnerFactory) -> dict[str, Any]:
        """The variables that are the same for every request, whatever the interface."""
        variables: dict[str, Any] = {
            "SERVER_NAME": platform.node(),
            "uwsgi.version": uwsgi_compat.VERSION,
            "uwsgi.node": platform.node().encode(),
        }
        if not factory.blocks_threads:
            variables.update(self._async_calls.environ())
        return variables

    def _process(self) -> uwsgi_compat.Process:
        settings, start = self._settings, self._start
        return uwsgi_compat.Process(
            services=self._services,
            worker_id=start["worker_id"],
            master_pid=start["master_pid"],
            numproc=settings.processes,
            cores=settings.slots,
            has_threads=settings.has_threads,
            buffer_size=settings.buffer_size,
            sockets=[listener["fd"] for listener in start["listeners"]],
            is_a_reload=start["is_a_reload"],
            options=_options(settings),
            send_timeout_s=settings.send_timeout_s,
            text_lenient=settings.websocket_text_lenient,
            async_calls=self._async_calls,
            model=settings.runner,
            locks=settings.locks + 1,
            magic=dict(settings.magic),
            channels=frozenset(settings.channel),
            channel_queue=settings.channel_queue,
            mode=settings.mode or None,
            why_absent=why_absent,
            pidfile=settings.pidfile or None,
            loop=settings.runner if settings.runner in ("gevent", "asyncio") else None,
        )

    def _after_request(self) -> None:
        if self._requests_left:
            self._requests_left -= 1
            if not self._requests_left:
                self._control.tell(event="request", action="replace")
        # Looked up each time: the application may set it at any moment.
        hook = self._names.get("after_req_hook")
        if hook is not None:
            hook()

    def _report(self) -> None:
        """Tell the master this worker's statistics, if they have changed. Whatever goes wrong with that is no reason to
        stop obeying."""
        try:
            self._tell_statistics()
        except Exception as error:
            if not self._is_report_broken:
                self._is_report_broken = True
                self._log.exception(f"the statistics cannot be told: {error}", error)

    def _queue_lengths(self) -> int:
        """Connections that nobody has accepted yet."""
        return sum(self._services.queue_length(one["fd"]) for one in self._start["listeners"])

    def _tell_statistics(self) -> None:
        statistics = self._services.statistics()
        told = {name: value for name, value in statistics.items() if name not in ("rss", "vsz")}
        if told != self._reported:
            self._reported = told
            self._control.tell(event="stats", **statistics)

    def _write_engine_log(self, engine: Engine, stalls: StallLog) -> None:
        while not self._ended.is_set():
            try:
                self._write_line(engine.wait_log(3600.0) or ("", ""), stalls)
            except Exception as error:  # one line is lost, the next ones are not
                self._log.exception(f"a line of the log cannot be written: {error}", error)

    def _write_line(self, line: Answered | tuple[str, str], stalls: StallLog) -> None:
        if isinstance(line, Answered):
            self._access.request(
                line.peer,
                line.method,
                line.path,
                line.protocol,
                line.status,
                line.sent_bytes,
                line.duration_s,
                dict(line.variables),
            )
            return
        level, text = line
        if level == "stalled":
            stalls.stalled(float(text))
        elif level == "recovered":
            stalls.recovered(float(text))
        elif level:
            self._log.write(level, text)

    def _obey(self, engine: Engine, runner: Runner) -> None:
        """The control thread: the master's commands, or its end; and the statistics for it in between."""
        deadline: float | None = None
        while not self._ended.is_set():
            left_s = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                message = self._control.wait(min(left_s, REPORT_EVERY_S))
            except (EOFError, OSError) as error:
                if isinstance(error, OSError) and error.errno in _LOST:
                    MasterWatch.descriptors_are_lost()
                if deadline is not None:
                    # Stopping already: the deadline goes on counting, and nobody will shorten it.
                    self._ended.wait(left_s)
                    break
                self._log.warning("the master is gone; this worker leaves too")
                message = {"command": "stop", "reason": "stop", "deadline_s": self._settings.reload_mercy_s}
            if message is None and left_s > REPORT_EVERY_S:
                self._tell_of_disconnects(False)
                self._report()
                self._drivers.look()
                self._look_at_slots()
                continue
            if message is None:
                break
            if message.get("command") != "stop":
                self._answer(message)
                continue
            is_first = deadline is None
            ends = time.monotonic() + float(message["deadline_s"])
            deadline = ends if deadline is None else min(deadline, ends)
            self._master_watch.leaves_within(deadline - time.monotonic())
            reason = str(message.get("reason"))
            if is_first:
                self._drain(engine, runner, reason, deadline - time.monotonic())
            elif reason == "stop":
                engine.drain(1001, "")  # those whose turn in a reload has yet to come
        if self._ended.is_set():
            return
        if what := cut(running_tasks(), engine.busy().sessions, engine.http_peers()):
            self._log.warning(what)
        self._services.is_killing()
        runner.kill()
        if not self._ended.wait(_KILL_GRACE_S):
            self._log.warning("not all of it has ended by that: this worker leaves without")
            self._log.finish()
            os._exit(0)

    def _answer(self, message: dict[str, Any]) -> None:
        """A command that changes nothing about how long this worker lives: nor does a failure of it."""
        command = message.get("command")
        try:
            if command == "ping":
                self._control.tell(event="pong")
            elif command == "certificates":
                self._tls.renew(message["latest"])
            elif command == "ticket_keys":
                self._tls.renew_ticket_keys()
            elif command == "harakiri":
                self._services.deadlines.answer()
            elif command == "log":
                self._output.follow(message["path"], tuple(message["file"]))
                self._log.look()
        except Exception as error:
            self._log.exception(f"the master's command {command} has failed: {error}", error)

    def _drain(self, engine: Engine, runner: Runner, reason: str, left_s: float) -> None:
        try:
            # 1012 tells a client that the service comes back, 1001 that it goes away (RFC 6455 §7.4.1, IANA).
            if reason == "reload":
                spread_s = spread_over(engine.busy().sessions, self._settings.reload_spread_s, left_s)
                engine.drain(1012, "", spread_s)
            else:
                engine.drain(1001, "")
            start_thread(lambda: self._stop_when_quiet(engine, runner), "fairlead-end")
        except Exception as error:  # no thread is to be had, say: then the deadline ends it
            self._log.exception(f"this worker will leave at its deadline only: {error}", error)

    def _stop_when_quiet(self, engine: Engine, runner: Runner) -> None:
        # The runner serves on while connections that are open already may still bring a request. Nothing tells when the
        # last one has ended, so it is asked for, fifty times a second while the worker leaves.
        while not engine.is_quiet() and not self._ended.wait(0.02):
            pass
        runner.stop()

    def _end_if_forked(self) -> None:
        if forked.is_child:
            forked.end(self._log)

    def _log_cause(self, error: LoadError) -> None:
        cause = error.__cause__
        # A sentence of ours with its place tells all, and so does a mistake of syntax.
        if cause is not None and not isinstance(cause, (SyntaxError, FairleadError)):
            self._log.exception("the application cannot be loaded", cause)


def main() -> int:
    """Run the worker that the environment describes. Returns the exit status."""
    open_standard_streams()
    # Ctrl-C in a terminal reaches all processes of the group; the master alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        # A service manager may send what is the master's to all its processes. No SIG_IGN: what the application starts
        # would inherit that.
        signal.signal(number, _do_nothing)
    log = Log()
    atexit.register(log.finish)  # first, so it comes behind what the application has registered
    replace_output(log)
    try:
        control = Control(int(os.environ.pop(CONTROL_FD)))
    except (KeyError, ValueError, OSError):
        log.plain("fairlead.worker is started by fairlead; run `fairlead --help`.")
        return 2
    try:
        start = control.wait()
    except (EOFError, OSError):
        return 1
    assert start is not None  # it waits without a limit
    for inherited in (*start["listeners"], *([start["scoreboard"]] if start["scoreboard"] else [])):
        os.set_inheritable(inherited["fd"], False)
    certificates = start.get("certificates")
    for descriptor in (start["locks_fd"], start["channels_fd"], *([certificates["fd"]] if certificates else [])):
        os.set_inheritable(descriptor, False)
    return Worker(control, start, log).run()


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Keeps the signal's default action, which ends the process, from happening."""


def _finder(loaded: Loaded, mounts: dict[str, Any]) -> Any:
    """`uwsgi.applications`, when the app filled it, goes before what was loaded (compat §1.1)."""
    find = loaded.find
    if not mounts and list(loaded.mounts) == [""]:
        the_only_one = find("")
        return lambda path: the_only_one
    if not mounts:
        return find
    by_path = {path.rstrip("/"): app for path, app in mounts.items()}

    def find_mount(path: str) -> Any:
        point = path.rstrip("/")
        while point not in by_path:
            if not point:
                return find(path)
            point = point.rpartition("/")[0]
        return point, by_path[point]

    return find_mount


def _options(settings: Settings) -> dict[str, Any]:
    """`uwsgi.opt` (compat §1.5): bytes, True for an option without a value, a list for a repeated one."""
    options: dict[str, Any] = {}
    for given in settings.given:
        value: Any = True if given.value is None else str(given.value).encode()
        if given.name in options:
            before = options[given.name]
            options[given.name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            options[given.name] = value
    return options


def _media_types() -> dict[str, str]:
    """By the ending of a file's name: the machine's and Python's own. Text is UTF-8, as almost all of it is."""
    mimetypes.init()
    return {
        ending: f"{kind}; charset=utf-8" if kind.startswith("text/") or kind.endswith(("javascript", "json")) else kind
        for ending, kind in mimetypes.types_map.items()
    }


def _call_hook(module: Any, name: str, log: Log) -> None:
    hook = getattr(module, name, None)
    if hook is None:
        return
    try:
        hook()
    except BaseException as error:
        # A hook that calls sys.exit() means itself: the worker serves others.
        log.exception(f"uwsgi.{name} raised {text_of(error)}", error)
