"""The master: owns the listeners, starts workers, and sees to it that the port is never without an acceptor.

It never imports the app, never accepts, never sleeps: one `selectors` loop waits for signals, for workers' messages and
for the next deadline. Sockets are listeners.py, their certificates certificates.py, root's rights privileges.py, the
log's file log_file.py, processes worker_process.py, what workers tell each other scoreboard.py, watched files
reload.py, what workers tell of themselves statistics.py and harakiri.py; here are the decisions. Settings are read
once: a reload takes up a changed *app* and changed certificates, not changed options (the listeners belong to the
master, so half of them could not change anyway); restart for those.
The file stays whole: one state machine, whose places and moves have to be seen together.

A worker is always in exactly one place, and moves only downwards:

- an `_Arrival`: started, not yet ready. The workers of one arrival are promoted together or not at all.
- `_serving`: ready, and the only one of its worker id.
- `_leaving`: told to stop, with the moment when it is killed (infinity: it was).

The invariant: a serving worker starts leaving only after its successor was promoted, or in a stop. A reload
comes in several arrivals where the channels have no places for all workers twice (`_to_reload`). A first start that
fails ends the program; a later failure leaves what runs alone, and is tried again with growing
patience.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fairlead.errors import FairleadError, LoadError, MasterError
from fairlead.locks import make_lock_file
from fairlead.logs import Log
from fairlead.master.certificates import Certificates
from fairlead.master.harakiri import Harakiri
from fairlead.master.heartbeat import Heartbeat
from fairlead.master.listeners import Listener, bind_all
from fairlead.master.loading import LoadingLog
from fairlead.master.log_file import LogFile
from fairlead.master.open_files import raise_limit
from fairlead.master.privileges import Account, FileRemover, Pidfile
from fairlead.master.region_owner import RegionOwner
from fairlead.master.reload import TOUCH_EVERY_S, Watch
from fairlead.master.scoreboard import Scoreboard
from fairlead.master.signals import CHILD, RELOAD, REOPEN, STOP, SignalPipe, name_of
from fairlead.master.statistics import WorkerStatistics
from fairlead.master.worker_process import WorkerProcess, default_command, environment_for_workers
from fairlead.os_threads import LONGEST_SLEEP_S
from fairlead.settings.options import VERSION, Settings

#: Between the deadline a worker is told and its SIGKILL: time to cut its own sessions and exit in order. Our
#: worker gives its killed tasks one second, so it must be more.
KILL_GRACE_S = 2.0

#: Waits before a dead worker's successor: none, then these bounds, doubling; forgotten after a life this
#: long.
FIRST_WAIT_S, LONGEST_WAIT_S, FORGOTTEN_AFTER_S = 0.1, 10.0, 60.0


@dataclass
class Patience:
    """How long to wait before one worker id is started again."""

    failures: int = 0

    def next_wait_s(self, lived_s: float) -> float:
        """0, then 0.1 s, doubling to 10 s; a worker that lived for a minute starts the row anew."""
        self.failures = 1 if lived_s >= FORGOTTEN_AFTER_S else self.failures + 1
        # The exponent is bounded too: a worker that dies for weeks must not compute 2**100000.
        return 0.0 if self.failures == 1 else min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self.failures - 2, 10))


@dataclass
class _Arrival:
    """Workers on their way. `reason`: "start", "reload" (all ids), "respawn", "replace" (one id each)."""

    reason: str
    worker_ids: Sequence[int]
    workers: dict[int, WorkerProcess] = field(default_factory=dict)


class Master:
    """Runs the workers of one instance until a signal stops it."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        command: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        places: int | None = None,
    ) -> None:
        """`command` is the worker's program, by default `python -m fairlead.worker` with this interpreter. `places`: so
        many processes there can be, by default what the channels have room for."""
        # Absolute, so that a worker which starts in the folder already can enter it once more.
        folder = os.path.abspath(settings.chdir) if settings.chdir else ""
        self._settings = settings = replace(settings, chdir=folder)
        self._log = log
        self._command = list(command or default_command())
        self._environ = environment_for_workers(os.environ if environ is None else environ, settings.env)
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._listeners: list[Listener] = []
        self._certificates = Certificates((), log, 0.0)
        self._scoreboard: Scoreboard | None = None
        self._arrivals: list[_Arrival] = []
        self._serving: dict[int, WorkerProcess] = {}
        self._leaving: dict[WorkerProcess, float] = {}
        self._respawn_at: dict[int, float] = {}
        self._patience = {worker_id: Patience() for worker_id in self._worker_ids}
        self._statistics = WorkerStatistics(self._worker_ids)
        self._harakiri = Harakiri(log, clock)
        self._heartbeat = Heartbeat(log, clock)
        self._locks_fd = -1
        self._pidfile: Pidfile | None = None
        self._remover: FileRemover | None = None
        self._channels = RegionOwner(settings, log)
        self._places = places or self._channels.places
        self._generation = 0
        #: Whose turn is yet to come in a reload: there were no places for all.
        self._to_reload: list[int] = []
        self._is_announced = False
        #: Why to reload once the first workers are ready.
        self._reload_later = ""
        self._is_stopping = False
        self._start_failure: FairleadError | None = None
        self._touched: Watch | None = None
        self._modules: Watch | None = None
        self._log_file: LogFile | None = None
        self._log_touched: Watch | None = None
        #: The application cannot be loaded, and a change of its files will be tried.
        self._waits_for_change = False
        self._loading = LoadingLog(log, clock, settings.app_name)
        #: A debugger in a worker reads what is typed at the terminal.
        is_alone = settings.processes == 1 and bool(settings.py_autoreload_s)
        wanted = settings.honour_stdin
        self._honours_stdin = is_alone and os.isatty(0) if wanted is None else wanted

    def run(self) -> int:
        """Serve until stopped; returns 0. Raises MasterError or SettingsError when listeners or memory cannot be
        prepared, and LoadError when the first workers do not become ready; no process is left then."""
        with SignalPipe() as signals:
            self._selector.register(signals, selectors.EVENT_READ)
            try:
                self._prepare()
                self._generation = 1
                self._arrive("start", self._worker_ids)
                while self._workers() or not self._is_stopping:
                    self._turn(signals)
            finally:
                self._clean_up()
        if self._start_failure is not None:
            raise self._start_failure
        return 0

    # -- before and after

    @property
    def _worker_ids(self) -> range:
        return range(1, self._settings.processes + 1)

    def _prepare(self) -> None:
        """The order matters: what needs privileges comes before they are dropped, paths start in --chdir."""
        settings = self._settings
        if settings.chdir:
            try:
                os.chdir(settings.chdir)
            except OSError as error:
                raise MasterError(f"--chdir {settings.chdir}: {(error.strerror or '').lower()}.") from None
        if settings.umask is not None:
            os.umask(settings.umask)
        account = Account.of(settings.uid, settings.gid)
        self._listeners = bind_all(settings, account.owner)
        raise_limit(settings, len(self._listeners), self._log)
        self._certificates = Certificates(self._listeners, self._log, self._clock(), account.open_to_read)
        self._channels.bind(account)
        if settings.processes > 1:
            self._scoreboard = Scoreboard()
        if settings.pidfile:
            self._pidfile = Pidfile(settings.pidfile, account)
        if settings.logto:
            self._log_file = LogFile(settings.logto, account, self._log, self._clock())
        if account.is_another:
            self._leave_files_to_root()
        account.become()
        self._locks_fd = make_lock_file()  # now, so that it belongs to whom the workers run as
        self._channels.make()
        now = self._clock()
        if settings.touch_reload:
            self._touched = Watch(settings.touch_reload, TOUCH_EVERY_S, now)
        if settings.touch_logreopen:
            self._log_touched = Watch(settings.touch_logreopen, TOUCH_EVERY_S, now)
        if settings.py_autoreload_s:
            self._modules = Watch((), settings.py_autoreload_s, now)

    def _leave_files_to_root(self) -> None:
        """Without its rights the master may not remove at the end what it has made now."""
        files = [
            (os.path.abspath(listener.address.name), listener.file_id)
            for listener in (*self._listeners, *self._channels.listeners)
            if listener.file_id is not None
        ]
        if self._pidfile is not None:
            files.append((self._pidfile.path, self._pidfile.file_id))
        if files:
            self._remover = FileRemover(files)

    def _clean_up(self) -> None:
        # Normally nobody is left here; after a bug in this file nobody may stay behind either.
        for worker in self._workers():
            worker.kill()
        for listener in self._listeners:
            listener.close()
        self._channels.close()
        self._certificates.close()
        if self._scoreboard is not None:
            self._scoreboard.close()
        if self._pidfile is not None:
            self._pidfile.remove()
        if self._remover is not None:
            self._remover.close()
        if self._locks_fd >= 0:
            os.close(self._locks_fd)
        self._selector.close()

    # -- the turn

    def _turn(self, signals: SignalPipe) -> None:
        """Wait for the next thing to do, and do it."""
        self._listen_for_room()
        for key, mask in self._selector.select(self._wait_s()):
            if key.fileobj is signals:
                for number in signals.read_nowait():
                    self._on_signal(number)
                continue
            if mask & selectors.EVENT_WRITE:
                key.data.flush_nowait()
            if mask & selectors.EVENT_READ:
                self._on_readable(key.data)
        self._on_time(self._clock())

    def _wait_s(self) -> float | None:
        due = [kill_at for kill_at in self._leaving.values() if kill_at != math.inf]
        due += [*self._respawn_at.values(), *self._harakiri.due_at(), *self._heartbeat.due_at()]
        due += self._loading.due_at()
        if self._channels.due_at is not None and self._is_announced and not self._is_stopping:
            due.append(self._channels.due_at)
        due += [what.due_at for what in (self._log_file, self._log_touched) if what is not None]
        if not self._is_stopping:
            due += self._certificates.due_at
            due += [watch.due_at for watch in (self._touched, self._modules) if watch is not None]
        first = min(due, default=math.inf)
        return None if first == math.inf else min(LONGEST_SLEEP_S, max(0.0, first - self._clock()))

    def _listen_for_room(self) -> None:
        """Wake up for the sockets of workers for whom something waits, when they have room for it."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if key.data.waits_to_send else 0)
                if events != key.events:
                    self._selector.modify(key.fileobj, events, key.data)

    def _on_signal(self, number: int) -> None:
        if number in CHILD:
            self._reap()
        elif number in STOP and self._is_stopping:
            self._log.warning(f"{name_of(number)} again: cutting all workers")
            for worker in self._workers():
                worker.kill()
        elif number in STOP:
            self._stop(name_of(number))
        elif number in RELOAD:
            self._reload(name_of(number))
        elif number in REOPEN:
            self._reopen_log(name_of(number))
        else:
            self._log.warning(
                f"{name_of(number)} means nothing here; SIGHUP reloads, SIGTERM stops, SIGUSR1 opens --logto anew"
            )

    def _on_time(self, now: float) -> None:
        for worker, kill_at in list(self._leaving.items()):
            if kill_at <= now:
                self._log.warning(f"{worker.label} did not end in time and is killed")
                worker.kill()
                self._leaving[worker] = math.inf
        for worker_id, due_at in list(self._respawn_at.items()):
            if due_at <= now:
                del self._respawn_at[worker_id]
                self._arrive("respawn", [worker_id])
        self._harakiri.on_time(now)
        self._heartbeat.on_time(now)
        self._loading.on_time(now)
        if self._is_announced and not self._is_stopping and (why := self._channels.on_time(now)):
            self._reload(f"{why}; a new one is made")
        if not self._is_stopping:
            self._certificates.on_time(now, self._workers())
        if self._log_file is not None and (why := self._log_file.why_to_reopen(now)):
            self._reopen_log(why)
        if self._log_touched is not None and (path := self._log_touched.changed(now)):
            self._reopen_log(f"{path} changed")
        for watch in (self._touched, self._modules):
            path = watch.changed(now) if watch is not None and not self._is_stopping else ""
            if path:
                self._reload(f"{path} changed")

    # -- what is decided

    def _reopen_log(self, why: str) -> None:
        """Open the file of --logto anew, here and in the workers."""
        if self._log_file is None:
            self._log.warning(f"{why} opens the file of --logto anew, and there is none: the log is standard error")
        elif command := self._log_file.reopen(why):
            for worker in self._workers():
                worker.send(command)

    def _reload(self, why: str) -> None:
        """Start a new generation; the old one leaves when the whole new one is ready. A reload during a
        reload starts again: the newest state of the app wins."""
        if self._is_stopping:
            return
        if self._waits_for_change:
            self._waits_for_change = False
            self._log.info(f"starting again: {why}")
            self._certificates.renew(self._workers())
            self._arrive("start", self._worker_ids)
            return
        if not self._is_announced:
            if not self._reload_later:
                self._log.info(f"{why}: the first workers are not ready yet; reloading after that")
            self._reload_later = why
            return
        self._log.info(f"reloading: {why}")
        self._certificates.renew(self._workers())
        self._channels.renew()
        for arrival in list(self._arrivals):
            if arrival.reason == "reload":
                self._give_up(arrival)
        self._generation += 1
        self._to_reload = list(self._worker_ids)
        if not self._go_on_reloading():
            self._log.info(f"the reload waits for workers to end: all of {self._places} places are taken")

    def _go_on_reloading(self) -> bool:
        """Start as many of the new generation as there are places; false if there are none, or none are to come."""
        if any(arrival.reason == "reload" for arrival in self._arrivals):
            return False
        room = max(0, self._places - len(self._workers()))
        now, self._to_reload = self._to_reload[:room], self._to_reload[room:]
        if now:
            self._arrive("reload", now)
        return bool(now)

    def _stop(self, why: str) -> None:
        """Tell everybody to leave within --reload-mercy; those of an unfinished reload get no more time than
        that."""
        self._log.info(f"stopping: {why}")
        self._is_stopping = True
        self._respawn_at.clear()
        self._to_reload.clear()
        for arrival in list(self._arrivals):
            self._give_up(arrival)
        for worker in [*self._leaving, *self._serving.values()]:
            self._dismiss(worker, "stop", self._settings.reload_mercy_s)
        self._serving.clear()
        # From here on a new connection is refused as soon as the workers close theirs, instead of hanging in
        # a queue.
        for listener in self._listeners:
            listener.close()
        self._channels.refuse()

    def _arrive(self, reason: str, worker_ids: Sequence[int]) -> None:
        """Start one worker for each id."""
        arrival = _Arrival(reason, worker_ids)
        self._arrivals.append(arrival)
        try:
            for worker_id in worker_ids:
                worker = arrival.workers[worker_id] = self._spawn(worker_id)
                self._selector.register(worker.control, selectors.EVENT_READ, worker)
        except OSError as error:
            program = self._command[0]
            self._arrival_failed(arrival, f"{program} cannot be started: {(error.strerror or '').lower()}.")

    def _spawn(self, worker_id: int) -> WorkerProcess:
        listeners = [
            {
                "fd": listener.socket.fileno(),
                "kind": listener.kind,
                "address": listener.bound,
                "https_port": listener.https_port,
            }
            for listener in self._listeners
        ]
        fds = [self._locks_fd, self._channels.fd, *(listener.socket.fileno() for listener in self._listeners)]
        scoreboard = None
        if self._scoreboard is not None:
            fds.append(self._scoreboard.fd)
            cell = self._scoreboard.free_cell([worker.cell for worker in self._workers()])
            scoreboard = {"fd": self._scoreboard.fd, "cell": cell}
        first_line: dict[str, Any] = {
            "settings": self._settings.as_plain(),
            "engine": self._settings.engine_values(),
            "listeners": listeners,
            "locks_fd": self._locks_fd,
            "channels_fd": self._channels.fd,
            "scoreboard": scoreboard,
            "certificates": self._certificates.for_worker(),
            "worker_id": worker_id,
            "master_pid": os.getpid(),
            "generation": self._generation,
            "is_a_reload": self._generation > 1,
        }
        if self._certificates.fd >= 0:
            fds.append(self._certificates.fd)
        self._statistics.spawned(worker_id)
        return WorkerProcess(
            self._command,
            first_line,
            fds,
            self._environ,
            self._clock(),
            self._log.warning,
            reads_stdin=self._honours_stdin,
        )

    def _promote(self, arrival: _Arrival) -> None:
        """All are ready: they serve, their predecessors leave."""
        self._arrivals.remove(arrival)
        for worker_id, worker in arrival.workers.items():
            self._respawn_at.pop(worker_id, None)
            old = self._serving.get(worker_id)
            self._serving[worker_id] = worker
            if old is not None:
                self._dismiss(old, "reload", self._settings.worker_reload_mercy_s)
        if arrival.reason == "reload":
            # Stand-ins that were being started for the old generation have nothing to stand in for.
            for other in list(self._arrivals):
                if set(other.worker_ids) <= set(arrival.worker_ids):
                    self._give_up(other)
            ready = _count(len(arrival.workers), "new worker")
            if self._to_reload:
                self._log.info(f"{ready} ready, {len(self._to_reload)} to come when places are free")
                self._go_on_reloading()
            else:
                self._log.info(f"reloaded: {ready} ready, the old leave")
        elif arrival.reason == "start":
            self._announce()
            if self._reload_later:
                self._reload(self._reload_later)
        else:
            self._log.info(", ".join(f"{worker.label} is ready" for worker in arrival.workers.values()))
        for worker in arrival.workers.values():
            if worker.wants_successor and self._serving.get(worker.worker_id) is worker:
                self._replace(worker)

    def _arrival_failed(self, arrival: _Arrival, why: str) -> None:
        """`why` is a whole sentence."""
        self._give_up(arrival)
        if self._is_stopping:
            return
        if arrival.reason == "start" and self._modules is not None and self._modules.paths:
            self._waits_for_change = True
            self._log.error(f"{why.rstrip('.')}; waiting for a change of one of the application's files")
        elif arrival.reason == "start":
            # Several workers usually fail for the same reason: the first sentence is enough.
            self._start_failure = LoadError(why)
            self._is_stopping = True
        elif arrival.reason in ("respawn", "replace"):
            # Whoever was to be replaced serves on, and goes when one of its successors is ready at last.
            what = "the replacement of " if arrival.reason == "replace" else ""
            for worker_id in arrival.worker_ids:
                self._respawn(worker_id, 0.0, f"{what}worker {worker_id} did not come up ({why})")
        else:
            self._to_reload.clear()
            self._log.error(f"{arrival.reason} failed, what runs goes on: {why}")
            for worker_id in set(arrival.worker_ids) - set(self._serving):
                if not self._is_coming(worker_id):
                    self._respawn(worker_id, 0.0, f"worker {worker_id} is missing")

    def _give_up(self, arrival: _Arrival) -> None:
        self._arrivals.remove(arrival)
        for worker in arrival.workers.values():
            # One that was ready early may have sessions already: they get the time that all sessions get.
            mercy_s = self._settings.worker_reload_mercy_s if worker.is_ready else 0.0
            self._dismiss(worker, "reload", mercy_s)

    def _dismiss(self, worker: WorkerProcess, reason: str, mercy_s: float) -> None:
        worker.send({"command": "stop", "reason": reason, "deadline_s": mercy_s})
        if not worker.is_ready:
            worker.terminate()
        self._loading.ends(worker)
        self._heartbeat.leaves(worker)
        kill_at = self._clock() + mercy_s + KILL_GRACE_S
        self._leaving[worker] = min(kill_at, self._leaving.get(worker, kill_at))

    def _respawn(self, worker_id: int, lived_s: float, what: str) -> None:
        wait_s = self._patience[worker_id].next_wait_s(lived_s)
        self._log.error(f"{what}; starting another" + (f" in {wait_s:g} s" if wait_s else ""))
        self._respawn_at[worker_id] = self._clock() + wait_s

    def _is_coming(self, worker_id: int) -> bool:
        """Whether a successor is on its way that does not depend on other ids."""
        return worker_id in self._respawn_at or any(
            worker_id in arrival.worker_ids for arrival in self._arrivals if arrival.reason in ("respawn", "replace")
        )

    # -- what workers say and do

    def _on_readable(self, worker: WorkerProcess) -> None:
        messages, is_open = worker.receive_nowait()
        if not is_open:
            # A worker that closed its socket is about to end; SIGCHLD tells when and how.
            self._unregister(worker)
        for message in messages:
            self._on_message(worker, message)

    def _on_message(self, worker: WorkerProcess, message: Mapping[str, Any]) -> None:
        event = message["event"]
        arrival = self._arrival_of(worker)
        if event == "ready" and not worker.is_ready:
            worker.is_ready = True
            self._loading.ends(worker)
            self._heartbeat.is_ready(worker, message["answers_pings"])
            if arrival is not None and all(one.is_ready for one in arrival.workers.values()):
                self._promote(arrival)
        elif event == "loading" and arrival is not None:
            self._loading.begins(worker)
        elif event == "pong":
            self._heartbeat.answered(worker)
        elif event == "failed" and arrival is not None:
            self._arrival_failed(arrival, message["message"])
        elif event == "stats":
            worker.stats = dict(message)
        elif event == "statistics":
            if message["statistics"] is not None:
                worker.stats = message["statistics"]
            rows = self._statistics.rows(self._serving, self._workers())
            worker.send({"command": "answer", "ticket": message["ticket"], "workers": rows})
        elif event == "certificates":
            self._certificates.on_message(message)
        elif event == "harakiri":
            self._harakiri.on_message(worker, message)
        elif event == "modules" and self._modules is not None:
            self._modules.add(message["files"])
        elif event == "request":
            self._on_request(worker, message["action"])

    def _on_request(self, worker: WorkerProcess, action: str) -> None:
        """What an app (`uwsgi.reload()`, `uwsgi.stop()`) or --max-requests asks for."""
        if action == "reload" and self._is_announced:
            self._reload(f"{worker.label} asks for it")
        elif action == "stop" and not self._is_stopping:
            self._stop(f"{worker.label} asks for it")
        elif action == "replace" and not self._is_stopping:
            worker.wants_successor = True  # it asks once; before all of its arrival are ready it may be too early
            if self._serving.get(worker.worker_id) is worker:
                self._replace(worker)

    def _replace(self, worker: WorkerProcess) -> None:
        if not self._is_coming(worker.worker_id):
            self._log.info(f"{worker.label} asks to be replaced")
            self._arrive("replace", [worker.worker_id])

    def _reap(self) -> None:
        """One SIGCHLD may stand for several ends, so all are looked at."""
        for worker in self._workers():
            how = worker.ended_nowait()
            if how:
                # What it said last, a "failed" above all, are still in the socket.
                self._on_readable(worker)
                self._on_ended(worker, how)

    def _on_ended(self, worker: WorkerProcess, how: str) -> None:
        self._unregister(worker)
        worker.close()
        self._harakiri.forget(worker)
        self._heartbeat.forget(worker)
        self._loading.ends(worker)
        self._statistics.ended(worker)
        if self._scoreboard is not None and worker.cell is not None:
            self._scoreboard.clear(worker.cell)
        self._channels.forget_members(self._clock())
        arrival = self._arrival_of(worker)
        if arrival is not None:
            self._arrival_failed(arrival, f"{worker.label} {how} before it was ready; see its output above.")
        if self._leaving.pop(worker, None) is not None:
            self._go_on_reloading()
            return
        if self._serving.get(worker.worker_id) is worker:
            del self._serving[worker.worker_id]
            if not self._is_coming(worker.worker_id):
                self._respawn(worker.worker_id, self._clock() - worker.started_at, f"{worker.label} {how}")

    def _arrival_of(self, worker: WorkerProcess) -> _Arrival | None:
        return next((arrival for arrival in self._arrivals if worker in arrival.workers.values()), None)

    def _unregister(self, worker: WorkerProcess) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(worker.control)

    def _workers(self) -> list[WorkerProcess]:
        """All that run, wherever they are."""
        return [
            *(worker for arrival in self._arrivals for worker in arrival.workers.values()),
            *self._serving.values(),
            *self._leaving,
        ]

    def _announce(self) -> None:
        """The line a newcomer waits for; printed once, when every worker serves."""
        self._is_announced = True
        settings = self._settings
        places = " and ".join(listener.url for listener in self._listeners)
        what = settings.app_name or ", ".join(address.text for address in settings.http_to)
        self._log.plain(
            f"fairlead {VERSION} serving {what} at {places} — "
            f"{_count(settings.processes, 'worker')}, {settings.runner}, {_slots(settings)}"
        )


def _slots(settings: Settings) -> str:
    """How much goes on at a time; and what follows from that, where it is not what somebody has chosen or can want."""
    text = f"{_count(settings.slots, 'slot')} each"
    if not settings.app_name:
        return text
    if not settings.is_model_chosen:
        return f"{text} (the default; --threads 1 for an application that is not thread-safe)"
    if settings.slots == 1:
        return f"{text}: one request at a time, and an open WebSocket holds up all others"
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
