"""What an application does with channels, by order of its test.

`/talks` does what its client tells it, one command for each message, `[name, [arguments], {keywords}]`, and answers
with `=` and JSON, so that an answer differs from what a channel brings. Bytes stand in JSON as `{"hex": "00ff"}`. The
other pages show one behaviour each.
"""

import contextlib
import json
import os
import queue
import threading
import time

from fairlead import ConnectionClosed, channels, websocket
from notes import argument, note, outcome

#: Sessions and subscriptions by the name that a test gave them, for other requests of the worker.
KEPT = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def talks(environ, start_response):
    with websocket(environ) as ws:
        for text in ws:
            name, arguments, keywords = json.loads(text)
            arguments = [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in arguments]
            try:
                answer = COMMANDS[name](ws, *arguments, **keywords)
            except Exception as error:
                answer = {"raised": type(error).__name__, "text": str(error)}
            ws.send("=" + json.dumps(answer, default=lambda data: {"hex": data.hex()}))


def publish_many(ws, channel, count, size, pause_s=0.0):
    """Numbered text messages of at least `size` characters. Answers the offsets of the first and the last one."""
    offsets = []
    for number in range(count):
        offsets.append(channels.publish(channel, f"{number} ".ljust(size, ".")))
        if pause_s:
            time.sleep(pause_s)
    return offsets[0], offsets[-1]


def publish_and_compute(ws, channel, data, seconds):
    """Keeps the worker's thread to itself after it has published."""
    channels.publish(channel, data)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass
    return "computed"


def subscribe(ws, key, channel, since=None, **how):
    KEPT[key] = subscription = channels.subscribe(channel, since, **how)
    return subscription.name, subscription.offset, subscription.missed_before


def take(ws, key, timeout=None):
    began = time.monotonic()
    message = KEPT[key].receive(timeout)
    return message, time.monotonic() - began


def end(ws, key):
    with KEPT.pop(key):
        pass


def keep(ws, key):
    KEPT[key] = ws


def hand_over(ws, channel):
    """The thread of the import subscribes to it, and publishes an answer to the first message."""
    HANDED_OVER.put(channel)


HANDED_OVER = queue.Queue()


def answer():
    while True:
        channel = HANDED_OVER.get()
        with channels.subscribe(channel) as subscription:
            channels.publish(f"{channel}-answer", subscription.receive().data.upper())


threading.Thread(target=answer, daemon=True).start()


COMMANDS = {
    "pid": lambda ws: os.getpid(),
    "join": lambda ws, *a, **k: ws.join(*a, **k)._asdict(),
    "leave": lambda ws, *a: ws.leave(*a),
    "publish": lambda ws, *a: channels.publish(*a),
    "history": lambda ws, *a, **k: channels.history(*a, **k),
    "members": lambda ws, *a: channels.members(*a),
    "missed_by": lambda ws, key: KEPT[key].missed,
    "take_nowait": lambda ws, key: KEPT[key].receive_nowait(),
    "take_all": lambda ws, key: list(KEPT[key]),
    "close": lambda ws, key: KEPT[key].close(),
    "publish_many": publish_many,
    "publish_and_compute": publish_and_compute,
    "subscribe": subscribe,
    "take": take,
    "end": end,
    "keep": keep,
    "hand_over": hand_over,
}


def forwards(environ, start_response):
    """Iterates over a subscription, and sends what comes, until a message says stop."""
    with websocket(environ) as ws, channels.subscribe(argument(environ)) as subscription:
        ws.send("subscribed")
        for message in subscription:
            ws.send(f"{message.offset} {message.data!r}")
            if message.data == "stop":
                subscription.close()
        ws.send("over")
        ws.receive()


def waits(environ, start_response):
    """Waits for a message that never comes, until `/talks` closes the subscription."""
    KEPT[environ["QUERY_STRING"].split("&")[0]] = subscription = channels.subscribe(argument(environ))
    note(environ, waits=True)
    found = outcome(subscription.receive)
    again = outcome(subscription.receive, 5)
    os.write(2, f"note:{environ['QUERY_STRING'].split('&')[0]}-end {json.dumps([found, again])}\n".encode())
    start_response("200 OK", [])
    return [b"."]


def threads_take(environ, start_response):
    """Three threads of the request take from subscriptions of their own, while it waits for its client."""
    channel = argument(environ)
    found = {}

    def work(number):
        with channels.subscribe(channel) as subscription:
            ready.release()
            first = subscription.receive()
            found[number] = [first.data, subscription.receive(20).data, subscription.receive(0.01)]

    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    with websocket(environ) as ws:
        for thread in threads:
            thread.start()
        for _ in threads:
            ready.acquire()
        ws.send("subscribed")
        ws.receive()
        for thread in threads:
            thread.join()
        note(environ, found=found)


def joins_late(environ, start_response):
    channel = argument(environ)
    with websocket(environ) as ws:
        ws.close()
        with contextlib.suppress(ConnectionClosed):
            ws.receive()
        note(environ, join=outcome(ws.join, channel), leave=ws.leave(channel), members=channels.members(channel))


def outside(environ, start_response):
    """A thread that belongs to no request publishes."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(outcome, channels.publish, argument(environ), "from a pool").result()
    note(environ, found=found)
    start_response("200 OK", [])
    return [b"."]


PAGES = {function.__name__: function for function in (talks, forwards, waits, threads_take, joins_late, outside)}
