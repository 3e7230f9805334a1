"""Pages that say by which worker they come, in each shape that a response can have: with a length, in chunks, as the
answer to a body. Each ends with `END`, so that half a page is not taken for a whole one."""

import os

PART = b"x" * 5000 + b"\n"
PARTS = 4
END = b"end\n"


def application(environ, start_response):
    pid = b"%d\n" % os.getpid()
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    if path == "/parts":
        start_response("200 OK", headers)
        return iter([pid, *[PART] * PARTS, END])
    body = environ["wsgi.input"].read() if path == "/body" else PART * PARTS
    whole = pid + body + END
    start_response("200 OK", [*headers, ("Content-Length", str(len(whole)))])
    return [whole]
