"""Work beside the requests: what the path names fails behind its request's back, on the runner's own thread or another.

Each failure is an exit or an interrupt, which most libraries pass on to whoever runs them. `/` echoes.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading

import fairlead
import uwsgi


def interrupted(number, frame):
    raise TimeoutError("by a signal")


# As `signal.alarm` is used for time limits.
signal.signal(signal.SIGUSR1, interrupted)
signal.signal(signal.SIGINT, signal.default_int_handler)


def application(environ, start_response):
    path = environ["PATH_INFO"].strip("/")
    if not path:
        return echo(environ)
    what, _, name = path.partition("/")
    WORK[what](ERRORS.get(name))
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]


def echo(environ):
    with fairlead.websocket(environ) as ws:
        for message in ws:
            ws.send(message)


def exits():
    sys.exit("an exit behind a request")


def interrupts():
    raise KeyboardInterrupt("behind a request")


def breaks():
    raise SystemError


def strays():
    # No request is behind it, whoever has started it.
    with contextlib.suppress(LookupError):
        uwsgi.websocket_send("to nobody")


class Base(BaseException):
    pass


def raises_own():
    raise Base("behind a request")


ERRORS = {function.__name__: function for function in (exits, interrupts, breaks, strays, raises_own)}


def greenlet_of_gevent(fail):
    import gevent

    gevent.spawn(fail)


def later(fail):
    import gevent

    # In a tree of its own: it belongs to no request.
    timer = gevent.get_hub().loop.timer(0.01)
    timer.start(gevent.spawn_raw, fail)


def pool(fail):
    import gevent

    with contextlib.suppress(BaseException):
        gevent.get_hub().threadpool.apply(fail)


def callback_of_gevent(fail):
    import gevent

    gevent.get_hub().loop.run_callback(fail)


def main_of_gevent(fail):
    import gevent

    gevent.kill(gevent.get_hub().parent, SystemExit("thrown into the main greenlet"))


def task(fail):
    async def run():
        fail()

    asyncio.get_event_loop().create_task(run())


def callback(fail):
    asyncio.get_event_loop().call_soon(fail)


def late_callback(fail):
    asyncio.get_event_loop().call_later(0.01, fail)


def reader(fail):
    loop = asyncio.get_event_loop()
    ready, other = os.pipe()

    def read():
        loop.remove_reader(ready)
        os.close(ready)
        fail()

    loop.add_reader(ready, read)
    os.write(other, b"x")
    os.close(other)


def handler(fail):
    """An exception handler that is no better than what it handles."""
    loop = asyncio.get_event_loop()

    def handle(loop, context):
        loop.set_exception_handler(None)
        sys.exit("in the handler")

    loop.set_exception_handler(handle)
    callback(fail)


def stops_the_loop(fail):
    asyncio.get_event_loop().stop()


def greenlet_of_the_hub(fail):
    """A greenlet of the application's own that waits in a verb and then fails: its parent is the hub. Nobody switches
    back to the request that has started it."""
    import greenlet

    def run():
        uwsgi.async_sleep(0)
        uwsgi.suspend()
        fail()

    greenlet.greenlet(run, parent=greenlet.getcurrent().parent).switch()


def thread(fail):
    threading.Thread(target=fail).start()


WORK = {
    function.__name__: function
    for function in (
        greenlet_of_gevent,
        later,
        pool,
        callback_of_gevent,
        main_of_gevent,
        task,
        callback,
        late_callback,
        reader,
        handler,
        stops_the_loop,
        greenlet_of_the_hub,
        thread,
    )
}
