"""What the app saw of a request, as JSON: the request corpus compares it. Every request that arrives leaves a
note in the log.
"""

import json
import os


def application(environ, start_response):
    try:
        body = environ["wsgi.input"].read().decode("latin-1")
    except OSError as error:
        body = None
        os.write(2, f"mirror: body failed: {error}\n".encode())
    os.write(2, f"mirror: {environ['REQUEST_METHOD']} {environ['REQUEST_URI']!r} {body!r:.60}\n".encode())
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    data = json.dumps({"environ": seen, "body": body}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Mirror", "yes")])
    return [data]
