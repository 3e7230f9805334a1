"""Apps that try the rows of compat §1.5 that reach outside the request: locks, the other workers, the
log, the process.

One function for each row, chosen by the path, answers by note, as in uwsgi_rows.py. `/orders` is a WebSocket that does
what its client says, so that a test decides who holds what, and when.
"""

import os
import signal
import threading
import time

import uwsgi
from notes import argument, note, outcome

PAGES = {}

AT_IMPORT = {
    "ready": outcome(uwsgi.ready),
    "env": hasattr(uwsgi, "env"),
    "workers": outcome(uwsgi.workers),
    "start_response": outcome(uwsgi.start_response, "200 OK", []),
    "request_id": outcome(uwsgi.request_id),
    "set_logvar": outcome(uwsgi.set_logvar, "k", "v"),
    "get_logvar": outcome(uwsgi.get_logvar, "k"),
    "log_this_request": outcome(uwsgi.log_this_request),
    "add_var": outcome(uwsgi.add_var, "k", "v"),
    "set_user_harakiri": outcome(uwsgi.set_user_harakiri, 1),
    "cl": outcome(uwsgi.cl),
    "send": outcome(uwsgi.send, b"x"),
    "lock": outcome(uwsgi.lock),
    "locked": outcome(uwsgi.is_locked),
    "unlock": outcome(uwsgi.unlock),
    "unlocked": outcome(uwsgi.is_locked),
}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def plain(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"."]


@page
def at_import(environ, start_response):
    note(environ, **AT_IMPORT)
    return plain(start_response)


# -- §1.5: what the client orders


def _order(words):
    name, *rest = words
    if name == "pid":
        return os.getpid()
    if name == "worker":
        return uwsgi.worker_id()
    if name == "held":  # waits for the lock, says so, and keeps it until the next order
        uwsgi.lock(*map(int, rest))
        return "locked"
    if name == "statistics":
        return [[row[key] for key in ("id", "pid", "requests", "delta_requests", "status", "respawn_count")]
                for row in uwsgi.workers()]  # fmt: skip
    return getattr(uwsgi, name)(*map(int, rest))


@page
def orders(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        words = uwsgi.websocket_recv().decode().split()
        uwsgi.websocket_send(repr(_order(words)))


@page
def adds_up(environ, start_response):
    """`/adds_up?token&file`: for each message adds one to the number in a file, and lets others run in between."""
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_recv()
        uwsgi.lock()
        try:
            with open(argument(environ)) as file:
                number = int(file.read())
            time.sleep(0.001)
            with open(argument(environ), "w") as file:
                file.write(str(number + 1))
        finally:
            uwsgi.unlock()
        uwsgi.websocket_send(b"done")


@page
def lock_numbers(environ, start_response):
    calls = {"lock": uwsgi.lock, "unlock": uwsgi.unlock, "is_locked": uwsgi.is_locked}
    found = {}
    for name, call in calls.items():
        found[name] = {
            "negative": outcome(call, -1),
            "beyond": outcome(call, 3),
            "far": outcome(call, 2**31),
            "float": outcome(call, 0.5),
            "str": outcome(call, "0"),
            "two": outcome(call, 0, 1),
        }
    steps = [
        outcome(uwsgi.is_locked, 2), outcome(uwsgi.lock, 2), outcome(uwsgi.is_locked, 2), outcome(uwsgi.is_locked, 1),
        outcome(uwsgi.unlock, 2), outcome(uwsgi.is_locked, 2), outcome(uwsgi.unlock, 2),
    ]  # fmt: skip
    note(environ, steps=steps, **found)
    return plain(start_response)


@page
def locks_in_a_thread(environ, start_response):
    taken = []

    def work():
        uwsgi.lock(2)
        taken.append("thread")
        uwsgi.unlock(2)

    uwsgi.lock(2)
    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(100_000):
        pass
    taken.append("task")
    uwsgi.unlock(2)
    thread.join()
    note(environ, taken=taken, after=uwsgi.is_locked(2))
    return plain(start_response)


@page
def forks(environ, start_response):
    """A forked child of the app has not its parent's locks, and takes none along when it ends."""
    uwsgi.lock()
    child = os.fork()
    if not child:
        os._exit(3 if uwsgi.is_locked() else 4)
    _, status = os.waitpid(child, 0)
    still = uwsgi.is_locked()
    uwsgi.unlock()
    note(environ, child=os.waitstatus_to_exitcode(status), still=still, after=uwsgi.is_locked())
    return plain(start_response)


# -- §1.5: information


@page
def workers(environ, start_response):
    rows = uwsgi.workers()
    row = dict(rows[0])
    row["apps"] = {key: [type(value).__name__, value] for key, value in row["apps"][0].items()}
    note(
        environ,
        kind=type(rows).__name__,
        kinds={key: type(value).__name__ for key, value in rows[0].items()},
        row={key: value if isinstance(value, (int, dict)) else repr(value) for key, value in row.items()},
        apps=type(rows[0]["apps"]).__name__,
        apps_and_memory=[[len(row["apps"]), row["rss"] > 0] for row in rows],
        again=uwsgi.workers() is rows,
        same_row=uwsgi.workers()[0] is rows[0],
        pid=os.getpid(),
        now=int(time.time()),
        folder=os.getcwd(),
        callable=id(application),
    )
    return plain(start_response)


@page
def counts(environ, start_response):
    note(environ, total=uwsgi.total_requests(), request=uwsgi.request_id())
    return plain(start_response)


@page
def raises(environ, start_response):
    raise ZeroDivisionError("on purpose")


@page
def numbers(environ, start_response):
    environ["wsgi.input"].read()
    note(
        environ,
        cl=outcome(uwsgi.cl),
        micros=uwsgi.micros(),
        now=time.time(),
        mem=uwsgi.mem(),
        logsize=uwsgi.logsize(),
        ready=outcome(uwsgi.ready),
        env=getattr(uwsgi, "env", None) is environ,
        has_env=hasattr(uwsgi, "env"),
        other=outcome(getattr, uwsgi, "no_such_name"),
    )
    return plain(start_response)


@page
def uses_start_response(environ, start_response):
    write = uwsgi.start_response("201 Made Here", [("X-By", "uwsgi.start_response")])
    write(b"written")
    return []


@page
def absent(environ, start_response):
    note(environ, present=[name for name in argument(environ).split(",") if hasattr(uwsgi, name)])
    return plain(start_response)


@page
def listen_queue(environ, start_response):
    note(
        environ,
        first=outcome(uwsgi.listen_queue),
        zero=outcome(uwsgi.listen_queue, 0),
        last=outcome(uwsgi.listen_queue, len(uwsgi.sockets) - 1),
        beyond=outcome(uwsgi.listen_queue, 7),
        negative=outcome(uwsgi.listen_queue, -1),
        text=outcome(uwsgi.listen_queue, "0"),
    )
    return plain(start_response)


@page
def configuration(environ, start_response):
    note(
        environ,
        mode=outcome(getattr, uwsgi, "mode"),
        pidfile=outcome(getattr, uwsgi, "pidfile"),
        magic={repr(key): repr(value) for key, value in uwsgi.magic_table.items()},
        opt={key: repr(value) for key, value in uwsgi.opt.items()},
        loop=repr(uwsgi.loop),
        is_a_reload=uwsgi.is_a_reload,
    )
    return plain(start_response)


# -- §1.5: what changes something


@page
def logvars(environ, start_response):
    found = {
        "before": outcome(uwsgi.get_logvar, "user"),
        "set": outcome(uwsgi.set_logvar, "user", 'jo"e\n'),
        "get": outcome(uwsgi.get_logvar, "user"),
        "bytes": outcome(uwsgi.set_logvar, b"step", b"\xc3\xa9"),
        "get_bytes": outcome(uwsgi.get_logvar, "step"),
        "none": outcome(uwsgi.set_logvar, "user", None),
        "number": outcome(uwsgi.set_logvar, 1, "x"),
        "get_none": outcome(uwsgi.get_logvar, None),
        "one": outcome(uwsgi.set_logvar, "user"),
    }
    note(environ, **found)
    if "HTTP_UPGRADE" in environ:
        uwsgi.websocket_handshake()
        return []
    return plain(start_response)


@page
def logs_itself(environ, start_response):
    note(environ, result=outcome(uwsgi.log_this_request))
    if "HTTP_UPGRADE" in environ:
        uwsgi.websocket_handshake()
        return []
    return plain(start_response)


@page
def quiet(environ, start_response):
    return plain(start_response)


@page
def log_texts(environ, start_response):
    note(
        environ,
        nul=outcome(uwsgi.log, "a\0b"),
        none=outcome(uwsgi.log, None),
        nothing=outcome(uwsgi.log),
        keyword=outcome(uwsgi.log, message="x"),
        surrogate=outcome(uwsgi.log, "\ud800"),
        warning=outcome(uwsgi.set_warning_message, f"disk nearly full {environ['QUERY_STRING']}"),
        warning_bytes=outcome(uwsgi.set_warning_message, b"x"),
    )
    return plain(start_response)


@page
def setprocname(environ, start_response):
    note(
        environ,
        result=outcome(uwsgi.setprocname, argument(environ)),
        bytes=outcome(uwsgi.setprocname, b"x"),
        nul=outcome(uwsgi.setprocname, "a\0b"),
        pid=os.getpid(),
    )
    return plain(start_response)


@page
def accepting(environ, start_response):
    note(
        environ,
        results=[outcome(uwsgi.accepting), outcome(uwsgi.accepting, 0), outcome(uwsgi.accepting, True)],
        text=outcome(uwsgi.accepting, "no"),
    )
    return plain(start_response)


@page
def add_var(environ, start_response):
    note(
        environ,
        result=outcome(uwsgi.add_var, "NAME", "value"),
        bytes=outcome(uwsgi.add_var, b"OTHER", b"value"),
        again=outcome(uwsgi.add_var, "NAME", "x" * 30_000),
        beyond=outcome(uwsgi.add_var, "MORE", "x" * 3_000),
        empty=outcome(uwsgi.add_var, "", "x"),
        none=outcome(uwsgi.add_var, "NAME", None),
        in_environ="NAME" in environ,
    )
    return plain(start_response)


# -- §1.5: set_user_harakiri


@page
def user_harakiri(environ, start_response):
    note(
        environ,
        result=outcome(uwsgi.set_user_harakiri, 100),
        again=outcome(uwsgi.set_user_harakiri, 0),
        float=outcome(uwsgi.set_user_harakiri, 1.5),
        none=outcome(uwsgi.set_user_harakiri),
    )
    return plain(start_response)


@page
def hangs(environ, start_response):
    """`/hangs?token&seconds`: waits much longer than it allows itself to."""
    if argument(environ):
        uwsgi.set_user_harakiri(int(argument(environ)))
    note(environ, pid=os.getpid())
    time.sleep(600)


@page
def hangs_with_the_interpreter(environ, start_response):
    """C code that never lets any other thread run."""
    uwsgi.set_user_harakiri(1)
    note(environ, pid=os.getpid())
    sum(range(10**15))


@page
def hangs_on_a_websocket(environ, start_response):
    uwsgi.websocket_handshake()
    uwsgi.set_user_harakiri(1)
    note(environ, pid=os.getpid())
    uwsgi.websocket_recv()


@page
def dies(environ, start_response):
    os.kill(os.getpid(), signal.SIGKILL)
