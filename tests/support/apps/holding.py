"""Holds the interpreter, so that no other thread of the worker runs Python, until the file of the query has a 1."""

import mmap
import os
import sys


def application(environ, start_response):
    descriptor = os.open(environ["QUERY_STRING"], os.O_RDWR)
    interval = sys.getswitchinterval()
    with mmap.mmap(descriptor, 1) as switch:
        os.write(2, b"holding\n")
        sys.setswitchinterval(60)
        try:
            # Looking into mapped memory lets no other thread in.
            while switch[0] == 0:
                pass
        finally:
            sys.setswitchinterval(interval)
    os.close(descriptor)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
