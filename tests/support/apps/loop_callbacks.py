"""Synchronous applications that live on an asyncio loop by its callbacks, as those written for uWSGI's asyncio mode do:
the request is a greenlet, its parent runs the loop, and callbacks switch to it.
"""

import asyncio

import greenlet
import uwsgi
from fairlead import current_request, websocket
from notes import note, outcome


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def middleware(environ, start_response):
    """Flask-uWSGI-WebSocket's asyncio middleware in small: a reader on the connection's descriptor, a task that is the
    application's handler, a coroutine that switches to the request when there is something to send."""
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    loop, me = asyncio.get_event_loop(), greenlet.getcurrent()
    received, to_send = asyncio.Queue(), asyncio.Queue()
    state = {"has_message": False, "send": None}

    async def handler():
        while (message := await received.get()) is not None:
            await to_send.put(b"echo " + message)

    async def send_ready():
        state["send"] = await to_send.get()
        me.switch()

    def receive_ready():
        state["has_message"] = True
        me.switch()

    loop.add_reader(uwsgi.connection_fd(), receive_ready)
    tasks = [loop.create_task(handler()), loop.create_task(send_ready())]
    try:
        while True:
            me.parent.switch()
            if state["send"] is not None:
                uwsgi.websocket_send(state["send"])
                state["send"] = None
                tasks.append(loop.create_task(send_ready()))
            if state["has_message"]:
                state["has_message"] = False
                while message := uwsgi.websocket_recv_nb():
                    received.put_nowait(message)
    except OSError:
        loop.remove_reader(uwsgi.connection_fd())
        received.put_nowait(None)
        tasks[-1].cancel()
        note(environ, ended=True)
    return []


def callbacks(environ, start_response):
    """Waits by the loop's own means; then, resumed by a callback, by a blocking call."""
    ws, loop, me = websocket(environ), asyncio.get_event_loop(), greenlet.getcurrent()
    found = {"running": outcome(asyncio.get_running_loop)["raised"]}
    loop.call_later(0.001, me.switch, "called later")
    found["later"] = me.parent.switch()
    found["in_a_callback"] = asyncio.get_running_loop() is loop
    found["message"] = ws.receive()

    async def from_a_task():
        await asyncio.sleep(0.001)
        found["label_in_task"] = current_request().label
        me.switch("from a task")

    task = loop.create_task(from_a_task())
    found["from_task"] = me.parent.switch()
    # A task's step is under way beneath this greenlet; it may wait all the same, and the step goes on.
    ws.send("waits")
    found["second"] = ws.receive()
    found["running_again"] = outcome(asyncio.get_running_loop).get("raised")
    found["task_is_done"] = task.done()
    future = loop.run_in_executor(None, lambda: "in a thread")
    future.add_done_callback(lambda done: me.switch(done.result()))
    found["executor"] = me.parent.switch()
    note(environ, **found)
    ws.send("done")


def keeps_switching(environ, start_response):
    """Leaves a callback behind that switches to a greenlet whose request has ended long since."""
    me = greenlet.getcurrent()
    asyncio.get_event_loop().call_later(0.02, lambda: note(environ, late=outcome(me.switch)["type"], dead=me.dead))
    start_response("200 OK", [])
    return [b"."]


PAGES = {function.__name__: function for function in (middleware, callbacks, keeps_switching)}
