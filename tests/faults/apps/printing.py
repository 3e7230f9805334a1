"""Says more than a pipe holds in every way in which an application prints."""

import logging
import sys

LINE = "printed " + "x" * 1000


def application(environ, start_response):
    for _ in range(100):
        print(LINE)
        print(LINE, file=sys.stderr)
        environ["wsgi.errors"].write(LINE + "\n")
        logging.getLogger("app").warning(LINE)
        sys.stderr.buffer.write(b"bytes\n")
    sys.stdout.flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"printed"]
