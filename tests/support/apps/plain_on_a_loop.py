"""Plain functions under the asyncio runner, which know nothing of its loop: they run loops of their own, and libraries
that refuse to block one do not refuse them. Beside them a coroutine, to which the loop runs."""

import asyncio
import time

import uwsgi
from fairlead import async_websocket, websocket
from notes import note, outcome


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def is_running():
    return "raised" not in outcome(asyncio.get_running_loop)


def sees(environ, start_response):
    """Before and behind each way of waiting."""
    ws, found = websocket(environ), [is_running()]
    ws.receive()
    found.append(is_running())
    uwsgi.async_sleep(1)
    uwsgi.suspend()
    found.append(is_running())
    loop, seen = asyncio.get_event_loop(), []
    loop.call_soon(lambda: seen.append(asyncio.get_running_loop() is loop))
    ws.receive(0.05)
    note(environ, found=found, seen=seen)


def runs(environ, start_response):
    """A loop of its own, as asgiref's `async_to_sync` and Flask's async views have it."""

    async def answer():
        await asyncio.sleep(0.001)
        return b"answered"

    before = asyncio.get_event_loop()
    answers = [asyncio.run(answer()), asyncio.run(answer())]
    note(environ, running=is_running(), closed=before.is_closed())
    start_response("200 OK", [])
    return answers


def has_a_loop(environ, start_response):
    """The worker's, whatever others have done before."""
    start_response("200 OK", [])
    return [type(asyncio.get_event_loop()).__module__.partition(".")[0].encode()]


def waits_inside(environ, start_response):
    """Waits in a verb of its WebSocket while its own loop runs a task of its own."""
    ws = websocket(environ)

    async def echo():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for _ in range(3):
            ws.send(ws.receive())
            await asyncio.sleep(0)
            assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)

    asyncio.run(echo())
    note(environ, running=is_running())


async def coroutine(environ, start_response):
    async with async_websocket(environ) as ws:
        async for message in ws:
            assert asyncio.current_task() is not None
            await asyncio.create_task(ws.send(message))


def is_ended(environ, start_response):
    """Is ended by the worker while it waits."""
    ws = websocket(environ)
    ws.send("waits")
    try:
        while True:
            time.sleep(0)
            uwsgi.async_sleep(60)
            uwsgi.suspend()
    finally:
        note(environ, running=is_running())


PAGES = {function.__name__: function for function in (sees, runs, has_a_loop, waits_inside, coroutine, is_ended)}
