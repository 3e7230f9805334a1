"""Applications that are async def, one coroutine for each behaviour, chosen by the path: `/echo` calls `echo`.

What an app saw goes out as a note, named by the token in the query string, as in sockets.py.
"""

import asyncio
import contextlib
import gc
import sys
import threading

import uwsgi
from fairlead import ConnectionClosed, async_websocket, current_request, websocket
from notes import argument, note, outcome

#: What the loop was while this module was imported.
LOOP = asyncio.get_event_loop()
#: As applications do that prepare something. It leaves no current loop behind.
asyncio.run(asyncio.sleep(0))
PAGES = {}
ROOM = set()
BACKGROUND = []


def page(function):
    PAGES[function.__name__] = function
    return function


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def closure(error):
    return {"code": error.code, "reason": error.reason, "by": error.by}


async def outcome_of(awaitable):
    try:
        value = await awaitable
    except BaseException as error:
        return {"raised": type(error).__name__, "text": str(error)}
    return {"type": type(value).__name__, "value": repr(value)}


# -- WebSockets


@page
async def echo(environ, start_response):
    async with async_websocket(environ) as ws:
        async for message in ws:
            await ws.send(message)


@page
async def types(environ, start_response):
    ws = async_websocket(environ)
    async for message in ws:
        await ws.send(f"{type(message).__name__} {len(message)}")
        for kind in (bytes, bytearray, memoryview):
            await ws.send(kind(b"\x00\xff"))


@page
async def times_out(environ, start_response):
    """Waits for messages in every way that gives up, until one says "end"; then all that came."""
    ws = async_websocket(environ)
    found = []
    while found[-1:] != ["end"]:
        for wait in (
            lambda: asyncio.wait_for(ws.receive(), 0.001),
            lambda: ws.receive(0.001),
            lambda: ws.receive(timeout=0),
            lambda: within(ws, 0.001),
            lambda: cancelled_at_once(ws),
        ):
            with contextlib.suppress(asyncio.TimeoutError):
                message = await wait()
                if message is not None:
                    found.append(message)
            if found[-1:] == ["end"]:
                break
    await ws.send(",".join(found))


async def within(ws, seconds):
    async with asyncio.timeout(seconds):
        return await ws.receive()


async def cancelled_at_once(ws):
    task = asyncio.create_task(ws.receive())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await task


@page
async def collides(environ, start_response):
    """`/collides?token&fifo`: a message and a time-out come due while the loop is held up; a task waits for a task."""
    ws = async_websocket(environ)
    waiting = asyncio.create_task(asyncio.wait_for(asyncio.create_task(ws.receive()), 0.001))
    for _ in range(3):
        await asyncio.sleep(0)
    note(environ, waits=True)
    with open(argument(environ)) as fifo:
        fifo.read()
    try:
        message = await waiting
    except asyncio.TimeoutError:
        message = await ws.receive(5)
    await ws.send(f"got {message}")


@page
async def races(environ, start_response):
    """Cancels a receive whose message comes at the same moment; afterwards the message is there."""
    ws = async_websocket(environ)
    lost = 0
    for number in range(int(argument(environ))):
        task = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        await ws.send("now")
        # The answer is on its way, or here: the cancellation meets the wait before, at and behind its end.
        for _ in range(number % 7):
            await asyncio.sleep(0)
        task.cancel()
        (message,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(message, BaseException):
            message = await ws.receive(5)
        lost += message != str(number)
    await ws.send(f"lost {lost}")


@page
async def two_at_once(environ, start_response):
    """A task group with a reader and a writer; the client's end ends the reader, and that the writer."""
    ws = async_websocket(environ)
    seen = []

    async def read():
        async for message in ws:
            seen.append(message)
        writer.cancel()

    async def write():
        try:
            while True:
                await ws.send(f"tick {len(seen)}")
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            seen.append("the writer was cancelled")
            raise

    async with asyncio.TaskGroup() as group:
        writer = group.create_task(write())
        group.create_task(read())
    note(environ, seen=seen, closed=closure(ws.closed))


@page
async def whichever(environ, start_response):
    """Messages from the client or from a queue, whichever comes first."""
    ws, queue = async_websocket(environ), asyncio.Queue()
    waits = {asyncio.create_task(ws.receive()): ws.receive, asyncio.create_task(queue.get()): queue.get}
    for _ in range(6):
        done, _pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            again = waits.pop(task)
            waits[asyncio.create_task(again())] = again
            await ws.send(task.result())
            if again == ws.receive:
                queue.put_nowait(f"queued {task.result()}")
    for task in waits:
        task.cancel()


@page
async def second_receiver(environ, start_response):
    ws = async_websocket(environ)
    first = asyncio.create_task(ws.receive())
    await asyncio.sleep(0)
    second = await outcome_of(ws.receive())
    await ws.send("both wait")
    note(environ, second=second, first=await outcome_of(first), third=await outcome_of(ws.receive()))


@page
async def chat(environ, start_response):
    async with async_websocket(environ) as ws:
        ROOM.add(ws)
        await ws.send("joined")
        try:
            async for message in ws:
                await asyncio.gather(*(member.send(message) for member in ROOM), return_exceptions=True)
        finally:
            ROOM.discard(ws)


@page
async def ends(environ, start_response):
    """Notes every message, then how the connection ended, and what calls say afterwards."""
    ws = async_websocket(environ)
    messages, before = [], ws.closed
    try:
        while True:
            messages.append(await ws.receive())
    except ConnectionClosed as error:
        end = closure(error)
    note(
        environ,
        messages=messages,
        before=before,
        end=end,
        closed=closure(ws.closed),
        receive=await outcome_of(ws.receive()),
        nowait=outcome(ws.receive_nowait),
        send=await outcome_of(ws.send("late")),
        iteration=[message async for message in ws] if end["by"] != "lost" else None,
    )


@page
async def closes(environ, start_response):
    ws = async_websocket(environ, subprotocols=["chat.v2", "chat.v1"])
    await ws.ping(b"are you there?")
    await ws.send(repr(ws.subprotocol))
    await ws.close(4321, "enough")
    note(environ, send=await outcome_of(ws.send("behind the Close")), receive=await outcome_of(ws.receive()))


@page
async def misuses(environ, start_response):
    ws = async_websocket(environ)
    sending = ws.send("once")
    await sending
    ws.send("never")
    loops = []
    thread = threading.Thread(target=lambda: loops.append(asyncio.run(outcome_of(ws.receive()))))
    thread.start()
    await asyncio.to_thread(thread.join)
    note(
        environ,
        twice=await outcome_of(sending),
        number=await outcome_of(ws.send(7)),
        lone=await outcome_of(ws.send("\ud800")),
        limit=await outcome_of(ws.receive(-1)),
        thread=loops[0],
        handshake=outcome(async_websocket, environ),
    )
    await ws.send("still usable")


@page
async def raises(environ, start_response):
    """`/raises?token&how`, after the first message."""
    ws = async_websocket(environ)
    await ws.receive()
    how = argument(environ)
    if how == "in_the_block":
        async with ws:
            raise ValueError("on purpose")
    if how == "in_a_group":
        async with asyncio.TaskGroup() as group:
            group.create_task(ws.receive())
            raise ValueError("on purpose")
    if how == "cancels_itself":
        asyncio.current_task().cancel()
        await asyncio.sleep(10)
    raise {"exception": ValueError, "exit": SystemExit, "stray_cancellation": asyncio.CancelledError}[how]("!")


@page
async def finally_runs(environ, start_response):
    ws = async_websocket(environ)
    try:
        while True:
            await ws.receive()
    finally:
        await asyncio.sleep(0)
        note(environ, closed=closure(ws.closed))


@page
async def waits_elsewhere(environ, start_response):
    """For something that never comes; only a cancellation ends it."""
    if "HTTP_UPGRADE" in environ:
        await async_websocket(environ).send("waiting")
    else:
        note(environ, waits=True)
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        note({**environ, "QUERY_STRING": environ["QUERY_STRING"] + "-end"}, cancelled=True)
        raise


@page
async def leaves_a_task(environ, start_response):
    async def forever():
        try:
            await asyncio.sleep(3600)
        finally:
            note(environ, ended=True)

    BACKGROUND.append(asyncio.create_task(forever()))
    start_response("200 OK", [])
    return [b"left"]


@page
async def blocks(environ, start_response):
    """`/blocks?token&fifo`: holds up the loop itself."""
    ws = async_websocket(environ)
    note(environ, blocks=True)
    with open(argument(environ)) as fifo:
        fifo.read()
    async for message in ws:
        await ws.send(message)


@page
async def floods(environ, start_response):
    """Sends until it is stopped; notes how."""
    ws, loop = async_websocket(environ), asyncio.get_running_loop()
    sent, began = 0, loop.time()
    try:
        while True:
            await ws.send(b"f" * 65536)
            sent += 1
    except ConnectionClosed as error:
        note(environ, sent=sent, lasted=loop.time() - began, **closure(error))


@page
async def sends_much(environ, start_response):
    """32 messages of 1 MiB."""
    async with async_websocket(environ) as ws:
        for number in range(32):
            await ws.send(bytes([number]) * 2**20)


@page
async def synchronous(environ, start_response):
    """Blocking calls, in a coroutine and in a thread of it."""
    ws = websocket(environ)
    wrong = outcome(ws.receive)
    uwsgi_wrong = outcome(uwsgi.websocket_recv)
    ws.send("may be sent")
    right = await asyncio.to_thread(ws.receive)
    note(environ, wrong=wrong, uwsgi=uwsgi_wrong, right=right)


@page
async def gives_up_often(environ, start_response):
    ws = async_websocket(environ)
    for number in range(2000):
        task = asyncio.create_task(ws.receive(30 if number % 2 else None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await ws.send("done")


@page
async def books(environ, start_response):
    """What is left: the tasks of the loop, and all objects."""
    gc.collect()
    note(environ, tasks=len(asyncio.all_tasks()), objects=len(gc.get_objects()))
    start_response("200 OK", [])
    return [b"."]


# -- what belongs to asyncio, and works inside


@page
async def asks_everything(environ, start_response):
    loop = asyncio.get_running_loop()
    called = loop.create_future()
    loop.call_later(0.001, called.set_result, "called later")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('out')", stdout=-1)
    output, _ = await process.communicate()
    labels = {}

    async def child():
        labels["task"] = current_request().label

    def callback():
        labels["callback"] = current_request().label

    loop.call_soon(callback)
    await asyncio.gather(child(), asyncio.sleep(0.001))
    start_response("200 OK", [])
    note(
        environ,
        called=await called,
        process=[process.returncode, output.decode().strip()],
        executor=await loop.run_in_executor(None, lambda: "in a thread"),
        thread=await asyncio.to_thread(lambda: current_request().label),
        same=loop is LOOP,
        loop=type(loop).__module__.partition(".")[0],
        mine=current_request().label,
        task=asyncio.current_task() is not None,
        **{f"{name}_label": label for name, label in labels.items()},
    )
    return [b"."]
