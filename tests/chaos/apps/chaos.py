"""What a chaos run talks to: members that get a channel, publishers of all kinds, and requests that fork.

Each worker also publishes from a thread of its own, so that a killed one dies in the midst of it now and then.
"""

import os
import subprocess
import threading
import time
import zlib
from urllib.parse import parse_qs

from fairlead import channels, websocket

CHANNELS = ("a", "b")
#: Seconds between two messages of the worker's own thread.
PAUSE_S = 0.02
#: How many messages a forked child publishes.
CHILD_MESSAGES = 20


def application(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    return PAGES[environ["PATH_INFO"]](environ, start_response, query)


def member(environ, start_response, query):
    """Gets what is published, with offsets; the first frame tells where the membership begins."""
    since = query.get("since")
    with websocket(environ) as ws:
        ws.join(query["channel"], None if since is None else int(since), offsets=True)
        for _ in ws:
            pass


def publisher(environ, start_response, query):
    """Publishes each message, and answers its offset."""
    with websocket(environ) as ws:
        for message in ws:
            ws.send(str(channels.publish(query["channel"], message)))


def post(environ, start_response, query):
    offset = channels.publish(query["channel"], environ["wsgi.input"].read())
    start_response("200 OK", [])
    return [str(offset).encode()]


def pid(environ, start_response, query):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]


def forks(environ, start_response, query):
    """A child that ends without a word, as daemonizing helpers and `multiprocessing` have them."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return pid(environ, start_response, query)


def forks_a_publisher(environ, start_response, query):
    """A child that publishes and says what it was told, while its parent serves on."""
    child = os.fork()
    if not child:
        try:
            publish_as_child()
        finally:
            os._exit(0)
    threading.Thread(target=os.waitpid, args=(child, 0), daemon=True).start()
    return pid(environ, start_response, query)


def publish_as_child():
    name, told = f"child-{os.getpid()}", []
    os.write(2, f"{name} begins\n".encode())
    try:
        for serial in range(1, CHILD_MESSAGES + 1):
            channel = CHANNELS[serial % 2]
            offset = channels.publish(channel, small(channel, name, serial))
            told.append(f"{channel}:{serial}:{offset}")
            time.sleep(PAUSE_S)
    except BaseException as error:
        os.write(2, f"{name} failed: {type(error).__name__}: {error}\n".encode())
    else:
        os.write(2, f"{name} published {' '.join(told)}\n".encode())


def spawns(environ, start_response, query):
    """A program that inherits what it can."""
    subprocess.run(["true"], close_fds=False, check=True)
    return pid(environ, start_response, query)


def publish_for_ever():
    name, pause, serial = f"thread-{os.getpid()}", threading.Event(), 0
    while not pause.wait(PAUSE_S):
        serial += 1
        channel = CHANNELS[serial % 2]
        channels.publish(channel, small(channel, name, serial))


def small(channel, name, serial):
    """A message without padding, as checker.py reads it."""
    head = f"{channel} {name} {serial}"
    return f"{head} 0 {zlib.crc32(head.encode())}\n"


threading.Thread(target=publish_for_ever, daemon=True).start()

PAGES = {f"/{page.__name__}": page for page in (member, publisher, post, pid, forks, forks_a_publisher, spawns)}
