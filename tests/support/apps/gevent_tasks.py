"""What applications do with gevent beside their WebSockets, one function for each, chosen by the path.

Most talk by the uwsgi module, which finds the request by itself. Where an application waits for its test, it waits in a
call of gevent's, so that all other connections go on meanwhile.
"""

import contextlib
import socket
import subprocess
import threading
import time
import urllib.request
from collections import defaultdict

import fairlead
import gevent
import gevent.event
import gevent.local
import gevent.pool
import gevent.queue
import gevent.select
import uwsgi
from notes import argument, note, outcome, token_of

MAIL = defaultdict(gevent.queue.Queue)
MARKED = gevent.local.local()
TASKS = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def echo(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


def selects(environ, start_response):
    """Waits by gevent.select on the connection's descriptor, and says how often that came in vain."""
    uwsgi.websocket_handshake()
    fd = uwsgi.connection_fd()
    in_vain = 0
    while True:
        if not gevent.select.select([fd], [], [], 0.2)[0]:
            in_vain += 1
            uwsgi.websocket_send(f"quiet {in_vain}")
            continue
        while message := uwsgi.websocket_recv_nb():
            uwsgi.websocket_send(message)


def sleeps(environ, start_response):
    """An answer takes as many seconds as the message says."""
    uwsgi.websocket_handshake()
    while True:
        message = uwsgi.websocket_recv()
        gevent.sleep(float(message))
        uwsgi.websocket_send(message)


def computes(environ, start_response):
    """Blocks the hub after a wait in a call of gevent's, so not in a turn of the engine."""
    uwsgi.websocket_handshake()
    message = uwsgi.websocket_recv()
    gevent.sleep(0.01)
    uwsgi.websocket_send("begun")
    end = time.perf_counter() + float(message)
    while time.perf_counter() < end:
        pass
    uwsgi.websocket_send(message)


def post(environ, start_response):
    """A plain request that puts something into the queue of a WebSocket's task."""
    MAIL[token_of(environ)].put(argument(environ))
    return hello(environ, start_response)


def mailbox(environ, start_response):
    uwsgi.websocket_handshake()
    uwsgi.websocket_send("open")
    while True:
        uwsgi.websocket_send(MAIL[token_of(environ)].get())


def both_ways(environ, start_response):
    """One greenlet receives, another sends; the task only waits for them."""
    uwsgi.websocket_handshake()
    lines = gevent.queue.Queue()
    context = uwsgi.request_context() if argument(environ) == "context" else None
    named = {"request_context": context} if context else {}

    def receive():
        while True:
            lines.put(uwsgi.websocket_recv(**named))

    def send():
        for line in lines:
            uwsgi.websocket_send(line.upper(), **named)

    greenlets = [gevent.spawn(receive), gevent.spawn(send)]
    with contextlib.suppress(OSError):
        gevent.joinall(greenlets, count=1, raise_error=True)
    gevent.killall(greenlets)
    note(environ, over=True)


class Sender(gevent.Greenlet):
    def _run(self):
        uwsgi.websocket_send("a subclass")


def children(environ, start_response):
    """Greenlets of all kinds talk on the connection of the task that has spawned them, without naming it."""
    uwsgi.websocket_handshake()

    def say(text):
        uwsgi.websocket_send(text)

    def beget(text):
        gevent.spawn(say, text)  # its parent is dead by the time it runs

    gevent.spawn(say, "spawn")
    gevent.spawn_later(0.05, say, "spawn_later")
    gevent.spawn_raw(say, "spawn_raw")
    Sender().start()
    gevent.pool.Pool(2).spawn(say, "a pool")
    gevent.spawn(beget, "a grandchild")
    gevent.spawn_raw(gevent.spawn, beget, "a grandchild of a raw one")
    uwsgi.websocket_recv()


def outlives(environ, start_response):
    """A greenlet that goes on after its request has ended belongs to nobody."""

    def late():
        inside = outcome(fairlead.current_request)["type"]
        over.wait()
        gevent.sleep(0.05)
        note(environ, inside=inside, after=outcome(fairlead.current_request)["raised"])

    def later():
        over.wait()
        gevent.sleep(0.05)
        note(
            {**environ, "QUERY_STRING": token_of(environ) + "-later"}, after=outcome(fairlead.current_request)["raised"]
        )

    over = gevent.event.Event()
    gevent.spawn(late)
    gevent.spawn(later)
    gevent.sleep(0)
    over.set()
    return hello(environ, start_response)


def gives_up(environ, start_response):
    """A message that comes after the time-out is not lost."""
    uwsgi.websocket_handshake()
    while True:
        with gevent.Timeout(0.2, False):
            uwsgi.websocket_send(uwsgi.websocket_recv())
            continue
        uwsgi.websocket_send("nothing came")
        uwsgi.websocket_send(uwsgi.websocket_recv())
        return


def victim(environ, start_response):
    task = TASKS[token_of(environ)] = gevent.getcurrent()
    task.link(lambda done: note(environ, linked=done is task))
    uwsgi.websocket_handshake()
    uwsgi.websocket_send("alive")
    try:
        if argument(environ) == "recv":
            uwsgi.websocket_recv()
        else:
            gevent.sleep(1000)
    finally:
        note({**environ, "QUERY_STRING": token_of(environ) + "-finally"}, ran=True)


def kill(environ, start_response):
    task = TASKS.pop(token_of(environ))
    is_greenlet = isinstance(task, gevent.Greenlet)
    task.kill()
    start_response("200 OK", [])
    return [f"{is_greenlet} {task.dead}".encode()]


def own_locals(environ, start_response):
    before = getattr(MARKED, "name", "unset")
    MARKED.name = token_of(environ)
    tree = gevent.getcurrent().spawn_tree_locals
    seen = tree.get("name", "unset")
    tree["name"] = token_of(environ)
    gevent.sleep(0.01)
    start_response("200 OK", [])
    return [f"{before} {seen} {MARKED.name}".encode()]


def on_the_hub(environ, start_response):
    """What a callback of the loop may do: send. It must not wait."""
    uwsgi.websocket_handshake()
    context = uwsgi.request_context()
    found = {}

    def call():
        uwsgi.websocket_send("from a callback", request_context=context)
        try:
            uwsgi.websocket_recv(request_context=context)
        except RuntimeError as error:
            found["recv"] = str(error)
        called.set()

    called = gevent.event.Event()
    timer = gevent.get_hub().loop.timer(0.01)
    timer.start(call)
    called.wait(10)
    note(environ, **found)


def pooled(environ, start_response):
    """gevent's thread pool and its resolver, which is one."""
    threads = gevent.get_hub().threadpool
    idents = {threads.apply(threading.get_ident), threading.get_ident()}
    addresses = gevent.get_hub().resolver.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    start_response("200 OK", [])
    return [f"{len(idents)} {addresses[0][4][1]}".encode()]


def fetches(environ, start_response):
    """An ordinary client of the standard library, inside a task."""
    with urllib.request.urlopen(argument(environ)) as answer:
        body = answer.read()
    start_response("200 OK", [])
    return [body]


def patched(environ, start_response):
    """What the standard library is in here: True where gevent's is in its place and works in a task."""
    import concurrent.futures
    import queue
    import select

    began = time.monotonic()
    threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        squares = list(pool.map(lambda number: number**2, range(10)))
    note(
        environ,
        together=took < 0.8,
        squares=squares == [number**2 for number in range(10)],
        child=subprocess.run(["echo", "child"], capture_output=True).stdout.decode(),
        lock=type(threading.Lock()).__module__,
        queue=queue.SimpleQueue.__module__,
        select=select.select.__module__,
        thread=type(threading.current_thread()).__name__,
    )
    return hello(environ, start_response)


PAGES = {name: function for name, function in list(globals().items()) if callable(function)}
