"""channel_lock.py in coroutines, which await what may wait: at /echo each message comes back. At /room the client is a
member of "room", and asks by "publish TEXT", "join NAME", "subscribe NAME" or "members": it gets the answer, or
"error: " and the error's text. Who comes by /impatient has all calls of the worker wait a second
for the lock."""

from fairlead import ChannelsError, async_websocket, channels
from fairlead.channels import waiting


async def asked(ws, message):
    what, _, text = message.partition(" ")
    if what == "publish":
        return await channels.publish_async("room", text)
    if what == "join":
        return (await ws.join_async(text)).offset
    if what == "subscribe":
        with await channels.subscribe_async(text) as subscription:
            return subscription.name
    return channels.members("room")


async def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/impatient":
        waiting.PATIENCE_S = 1.0
    async with async_websocket(environ) as ws:
        if path == "/room":
            await ws.join_async("room")
            await ws.send("joined")
        async for message in ws:
            if path != "/room":
                await ws.send(message)
                continue
            try:
                await ws.send(f"answer: {await asked(ws, message)}")
            except ChannelsError as error:
                await ws.send(f"error: {error}")
    return []
