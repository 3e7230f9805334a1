"""Fan-out the usual way under an ASGI server: one subscription to Redis for each process, whose messages go to all of
its WebSockets; /pub to all of /sub."""

import asyncio
import contextlib
import os

import redis.asyncio

CHANNEL = "bench"
subscribers = set()
client = redis.asyncio.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])


async def forward():
    messages = client.pubsub(ignore_subscribe_messages=True)
    await messages.subscribe(CHANNEL)
    async for message in messages.listen():
        event = {"type": "websocket.send", "bytes": message["data"]}
        for send in tuple(subscribers):
            with contextlib.suppress(Exception):  # one that is gone
                await send(event)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        task = asyncio.create_task(forward())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        task.cancel()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/sub":
        subscribers.add(send)
    while (event := await receive())["type"] == "websocket.receive":
        if scope["path"] == "/pub":
            await client.publish(CHANNEL, event.get("bytes") or event["text"])
    subscribers.discard(send)
