"""A room for each path: the client joins it, and what it says is published there. Over HTTP: the number of members."""

from fairlead import channels, websocket


def application(environ, start_response):
    room = environ["PATH_INFO"][1:]
    if "HTTP_UPGRADE" not in environ:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(channels.members(room)).encode()]
    with websocket(environ) as ws:
        ws.join(room)
        ws.send("joined")
        for message in ws:
            channels.publish(room, message)
    return []
