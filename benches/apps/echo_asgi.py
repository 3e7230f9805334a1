"""Echo on ASGI (its specification's "WebSocket" part), for the peers of the rows about TLS and HTTP/2."""


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError(f"this app speaks WebSocket only, not {scope['type']}")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})
