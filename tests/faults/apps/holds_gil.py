"""Holds the interpreter's lock in a call into C, as a careless extension does, or while it is
loaded."""

import ctypes
import os

from fairlead import websocket

#: Functions called by it keep the lock.
LIBC = ctypes.PyDLL(None)


def hold():
    os.write(2, f"worker {os.getpid()} holds the lock\n".encode())
    LIBC.sleep(600)


if os.environ.get("HOLD_AT_LOAD"):
    hold()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        hold()
    with websocket(environ) as ws:
        for message in ws:
            ws.send(message)
    return []
