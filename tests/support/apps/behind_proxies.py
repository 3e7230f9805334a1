"""The app of the tests behind proxies: a page that shows its environ, and an echo that can be told to end in each way.

A WebSocket sends its environ for the text `environ`, closes for `close CODE REASON`, and fails for `raise`; all else
comes back as it went.
"""

import json

from fairlead import websocket


def application(environ, start_response):
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    if "HTTP_UPGRADE" not in environ:
        data = json.dumps({"environ": seen, "body": environ["wsgi.input"].read().decode("latin-1")}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        return [data]
    with websocket(environ, subprotocols=["chat.v2", "chat.v1"]) as ws:
        for message in ws:
            if message == "environ":
                ws.send(json.dumps(seen))
            elif message == "raise":
                raise RuntimeError("the test has asked for it")
            elif isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                ws.close(int(code), reason)
            else:
                ws.send(message)
    return []
