"""Over HTTP: what the request's variables say of TLS, as JSON; /process says which one answers. WebSockets: /room
publishes to all its members, /flood sends 20 MiB, /leaves closes with 4001, and every other path echoes."""

import json
import os

from fairlead import channels, websocket

SHOWN = ("HTTPS", "wsgi.url_scheme", "SERVER_P", "REMOTE_P", "UWSGI_R")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_UPGRADE" not in environ:
        shown = {name: value for name, value in environ.items() if name.startswith(SHOWN)}
        body = json.dumps(os.getpid() if path == "/process" else shown).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    with websocket(environ) as ws:
        if path == "/room":
            ws.join("room")
            ws.send("joined")
            for message in ws:
                channels.publish("room", message)
        elif path == "/flood":
            for number in range(20_000):
                ws.send(b"%08d" % number + b"x" * 1000)
        elif path == "/leaves":
            ws.close(4001, "enough")
        else:
            for message in ws:
                ws.send(message)
    return []
