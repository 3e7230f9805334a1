"""What a task can tell about its runner: whose request it serves, its core, its context variables, its
neighbours.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import uwsgi
from fairlead import current_request, websocket
from greenlet import greenlet
from notes import argument, note, outcome

MARK = ContextVar("mark", default="unset")
RUNNING = []
KEPT = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def mine(environ, start_response):
    """Says for each message whose request it is, after others have run in between."""
    before = MARK.get()
    MARK.set(environ["QUERY_STRING"])
    with websocket(environ) as ws:
        for _ in ws:
            ws.send(f"{before} {MARK.get()} {current_request().label.partition('?')[2]} {environ['uwsgi.core']}")


def together(environ, start_response):
    """How many tasks run at this moment."""
    RUNNING.append(None)
    try:
        with websocket(environ) as ws:
            for _ in ws:
                ws.send(str(len(RUNNING)))
    finally:
        RUNNING.pop()


def raises(environ, start_response):
    with websocket(environ) as ws:
        ws.receive()
        raise {"exception": ValueError, "exit": SystemExit, "stop": StopIteration}[argument(environ)]("on purpose")


def finally_runs(environ, start_response):
    ws = websocket(environ)
    try:
        while True:
            ws.receive()
    finally:
        note(environ, closed=[ws.closed.code, ws.closed.by])


def hangs(environ, start_response):
    websocket(environ)
    note(environ, hangs=True)
    with open(argument(environ)) as fifo:  # its writer never comes
        fifo.read()


def pool_talks(environ, start_response):
    """A thread of a pool that all requests share answers, by a call that names no request."""
    uwsgi.websocket_handshake()
    pool = KEPT.setdefault("pool", ThreadPoolExecutor(1))
    while True:
        text = uwsgi.websocket_recv().decode()
        found = pool.submit(outcome, uwsgi.websocket_send, f"from the pool: {text}").result()
        uwsgi.websocket_send(f"{text}: {found.get('raised')}")


def outside(environ, start_response):
    found = {}

    def ask(name):
        found[name] = outcome(current_request)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask, "pool").result()
    before = threading.Event()
    after = threading.Event()

    def child():
        ask("thread")
        before.set()
        after.wait(10)
        KEPT["request"] = outcome(current_request)
        KEPT["done"].set()

    KEPT["done"] = threading.Event()
    threading.Thread(target=child).start()
    before.wait(10)
    note(environ, inside=outcome(current_request)["type"], **found)
    KEPT["over"] = after
    start_response("200 OK", [])
    return [b"."]


def outside_later(environ, start_response):
    KEPT["over"].set()
    KEPT["done"].wait(10)
    note(environ, later=KEPT["request"])
    start_response("200 OK", [])
    return [b"."]


def thread_echoes(environ, start_response):
    """The task's thread does all the talking, by calls that name no request; the task only waits for it."""
    uwsgi.websocket_handshake()

    def work():
        for _ in range(3):
            uwsgi.websocket_send(uwsgi.websocket_recv())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    uwsgi.websocket_send(uwsgi.websocket_recv().upper())


def both_receive(environ, start_response):
    """A task and a thread of its own receive from one connection; says when one of them may not."""
    ws = websocket(environ)
    found = {}

    def receive(who):
        found[who] = outcome(ws.receive)
        if "raised" in found[who]:
            ws.send(found[who]["raised"])

    thread = threading.Thread(target=receive, args=("thread",))
    thread.start()
    receive("task")
    thread.join()
    note(environ, found=sorted(found.values(), key=lambda one: "raised" not in one))


def greenlet_echoes(environ, start_response):
    """The same with greenlets that the task makes by hand, one for each message."""
    uwsgi.websocket_handshake()
    for _ in range(3):
        greenlet(lambda: uwsgi.websocket_send(uwsgi.websocket_recv())).switch()
    uwsgi.websocket_send(uwsgi.websocket_recv().upper())


PAGES = {
    function.__name__: function
    for function in (
        mine,
        together,
        raises,
        finally_runs,
        hangs,
        outside,
        outside_later,
        thread_echoes,
        both_receive,
        greenlet_echoes,
        pool_talks,
    )
}
