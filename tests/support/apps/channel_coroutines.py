"""Coroutines and channels, one page for each behaviour, chosen by the path; the channel is named in the query."""

import asyncio
import contextlib

from fairlead import async_websocket, channels
from notes import argument, note

#: Subscriptions that another request closes.
KEPT = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


async def outcome_of(awaitable):
    try:
        value = await awaitable
    except BaseException as error:
        return {"raised": type(error).__name__, "text": str(error)}
    return repr(value)


async def joins(environ, start_response):
    """A client's membership with offsets; what it sends is published."""
    channel = argument(environ)
    async with async_websocket(environ) as ws:
        joined = ws.join(channel, offsets=True)
        await ws.send(f"{joined.replayed} {joined.missed} {channels.members(channel)}")
        async for message in ws:
            if message == "leave":
                await ws.send(f"{ws.leave(channel)} {ws.leave(channel)} {ws.missed}")
            else:
                channels.publish(channel, message)


async def iterates(environ, start_response):
    """`async for` over a subscription, while the same task's client is served by another task."""
    channel = argument(environ)
    async with async_websocket(environ) as ws:
        with channels.subscribe(channel) as subscription:
            await ws.send("subscribed")
            async for message in subscription:
                await ws.send(f"{message.data!r}")
                if message.data == "stop":
                    subscription.close()
        await ws.send("over")
        await outcome_of(ws.receive())


async def times_out(environ, start_response):
    """Waits that end without a message, in each way, and what comes afterwards."""
    channel = argument(environ)
    loop = asyncio.get_running_loop()
    with channels.subscribe(channel) as subscription:
        began = loop.time()
        found = {"timeout": await outcome_of(subscription.receive_async(0.1))}
        found["took"] = loop.time() - began
        found["nowait"] = repr(subscription.receive_nowait())
        found["wait_for"] = await outcome_of(asyncio.wait_for(subscription.receive_async(), 0.05))
        try:
            subscription.receive(1)
        except RuntimeError as error:
            found["blocking"] = str(error)
        first = asyncio.create_task(outcome_of(subscription.receive_async()))
        await asyncio.sleep(0)
        found["second"] = await outcome_of(subscription.receive_async(1))
        channels.publish(channel, "after all")
        found["first"] = await first
    note(environ, **found)
    start_response("200 OK", [])
    return [b"."]


async def is_cancelled(environ, start_response):
    """A receive loop is cancelled again and again while messages come. Nothing is lost, nothing repeated."""
    channel, count = argument(environ), 500
    got = []

    async def take():
        while True:
            message = await subscription.receive_async()
            got.append(message.data)

    with channels.subscribe(channel) as subscription:
        for number in range(count):
            task = asyncio.create_task(take())
            if number % 3:
                await asyncio.sleep(0)
            channels.publish(channel, str(number))
            if number % 2:
                await asyncio.sleep(0.0005 * (number % 4))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        while len(got) < count:
            message = await subscription.receive_async(10)
            if message is None:
                break
            got.append(message.data)
        wanted = [str(number) for number in range(count)]
        note(environ, lost=sorted(set(wanted) - set(got)), same=got == wanted, missed=subscription.missed)
    start_response("200 OK", [])
    return [b"."]


async def waits(environ, start_response):
    name = environ["QUERY_STRING"].split("&")[0]
    KEPT[name] = subscription = channels.subscribe(argument(environ))
    note(environ, waits=True)
    waited = await outcome_of(subscription.receive_async())
    iterated = [message async for message in subscription]
    start_response("200 OK", [])
    return [f"{waited} {iterated}".encode()]


async def closes(environ, start_response):
    KEPT.pop(argument(environ)).close()
    start_response("200 OK", [])
    return [b"."]


async def many(environ, start_response):
    """A hundred tasks with a subscription each, one publisher; all in one loop."""
    channel = argument(environ)

    async def take():
        with channels.subscribe(channel) as subscription:
            ready.release()
            return [(await subscription.receive_async()).data for _ in range(20)]

    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(take()) for _ in range(100)]
    for _ in tasks:
        await ready.acquire()
    for number in range(20):
        channels.publish(channel, str(number))
    found = await asyncio.gather(*tasks)
    note(environ, same=all(one == [str(number) for number in range(20)] for one in found))
    start_response("200 OK", [])
    return [b"."]


PAGES = {function.__name__: function for function in (
    joins, iterates, times_out, is_cancelled, waits, closes, many,
)}  # fmt: skip
