"""An application that patches the standard library by itself, whatever runner it is served by."""

import gevent.monkey

gevent.monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import fairlead  # noqa: E402
import uwsgi  # noqa: E402


def application(environ, start_response):
    if environ["PATH_INFO"] == "/talks":
        return talks(environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(PAGES[environ["PATH_INFO"]]()).encode()]


def talks(environ):
    with fairlead.websocket(environ) as ws:
        ws.join("room")
        for message in ws:
            fairlead.channels.publish("room", message)


def about():
    made = logging.LogRecord("name", logging.INFO, "path", 1, "message", (), None)
    return {"pid": os.getpid(), "thread": made.threadName, "lock": type(threading.Lock()).__module__}


def waits():
    """The patched calls, a thread that is a greenlet now, and what asks the master and the kernel."""
    done = []
    thread = threading.Thread(target=lambda: (time.sleep(0.01), done.append("thread")))
    thread.start()
    thread.join()
    uwsgi.lock()
    uwsgi.unlock()
    return {"done": done, "workers": len(uwsgi.workers()), "queue": uwsgi.listen_queue()}


PAGES = {"/about": about, "/waits": waits}
