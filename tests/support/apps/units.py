"""What a unit of work can tell about its host: whose request it serves, its core, its context variables, its
neighbours.
"""

from contextvars import ContextVar

from fairlead import current_request, websocket
from notes import argument, note, outcome

MARK = ContextVar("mark", default="unset")
RUNNING = []


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
    """How many units run at this moment."""
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


def outside(environ, start_response):
    import threading

    found = {}
    thread = threading.Thread(target=lambda: found.update(thread=outcome(current_request)))
    thread.start()
    thread.join()
    note(environ, inside=outcome(current_request)["type"], **found)
    start_response("200 OK", [])
    return [b"."]


PAGES = {function.__name__: function for function in (mine, together, raises, finally_runs, hangs, outside)}
