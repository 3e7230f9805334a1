"""Forks in every way that an application may. A child ends when the pipe that the test holds the other end of does."""

import multiprocessing
import os
import sys

from fairlead import channels, websocket

#: The test writes nothing into it: children read its end.
LEASH = os.environ["FORKS_LEASH"]


def stay(said):
    """Say it, and live on until the test closes its end of the FIFO."""
    with open(LEASH, "rb") as leash:
        os.write(2, f"child {os.getpid()} {said}\n".encode())
        leash.read()


def application(environ, start_response):
    what = environ["PATH_INFO"].strip("/")
    if what == "room":
        with websocket(environ) as ws:
            ws.join("room")
            ws.send(str(os.getpid()))
            for message in ws:
                ws.send(message)
        return []
    if what == "fork-with-socket":
        with websocket(environ) as ws:
            if fork() == 0:
                in_child(ws)
            ws.receive()  # and ends
        return []
    start_response("200 OK", [])
    CASES[what](start_response)
    return [str(os.getpid()).encode()]


def fork():
    return os.fork()


def in_child(ws):
    try:
        ws.send("from the child")
    except RuntimeError as error:
        stay(f"hears: {error}")
    os._exit(0)


def stays(_):
    if fork() == 0:
        stay("stays")
        os._exit(0)


def daemonizes(_):
    if fork() == 0:
        os.setsid()
        if fork() == 0:
            channels.publish("room", "from a daemon")
        os._exit(0)


def publishes(_):
    if fork() == 0:
        channels.publish("room", "from a child")
        os._exit(0)


def subscribes(_):
    if fork() == 0:
        try:
            channels.subscribe("room")
        except RuntimeError as error:
            os.write(2, f"child {os.getpid()} hears: {error}\n".encode())
        os._exit(0)


def returns(_):
    fork()


def raises(_):
    if fork() == 0:
        raise LookupError("in the child")


def exits(_):
    if fork() == 0:
        sys.exit(7)


def answers(start_response):
    if fork() == 0:
        start_response("500 Oh", [])


def multiprocesses(_):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=put, args=(answers,))
    child.start()
    os.write(2, f"multiprocessing says {answers.get()}\n".encode())
    child.join()


def put(answers):
    answers.put(sorted(channels.history("room")))


CASES = {
    "stays": stays,
    "publishes": publishes,
    "daemonizes": daemonizes,
    "subscribes": subscribes,
    "returns": returns,
    "raises": raises,
    "exits": exits,
    "answers": answers,
    "multiprocesses": multiprocesses,
    "whoami": lambda _: None,
}
