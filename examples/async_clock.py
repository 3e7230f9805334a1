"""A clock that talks and listens at once: it sends the time every second, or as often as the client says.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/async_clock.py --asyncio 1000

Open http://127.0.0.1:8080/ in a browser and change the number of seconds. One task of the connection sends, another
receives; when the client leaves, the second ends and cancels the first.
"""

import asyncio
import contextlib
import time

from fairlead import async_websocket

PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Fairlead clock</title>
<link rel="icon" href="data:,">
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem; }
  output { font-size: 3rem; font-variant-numeric: tabular-nums; display: block; }
  input { font: inherit; width: 5rem; padding: .3rem .5rem; }
</style>
<h1>Clock</h1>
<output>connecting</output>
<label>Every <input type="number" value="1" min="0.1" max="60" step="0.1"> seconds</label>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws"));
const show = (text) => document.querySelector("output").textContent = text;
const input = document.querySelector("input");
socket.onmessage = (event) => show(event.data);
socket.onclose = () => show("closed");
input.onchange = () => input.checkValidity() && socket.send(input.value);
</script>
"""


async def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [PAGE]
    async with async_websocket(environ) as ws, asyncio.TaskGroup() as group:
        clock = Clock()
        ticking = group.create_task(clock.tick(ws))
        async for message in ws:
            clock.set(message)
        ticking.cancel()
    return []


class Clock:
    """One connection's clock."""

    def __init__(self):
        self.seconds = 1.0
        self.changed = asyncio.Event()

    def set(self, message):
        """Tick as often as the client says, within reason; what is no number changes nothing."""
        try:
            self.seconds = min(max(float(message), 0.1), 60.0)
        except ValueError:
            return
        self.changed.set()

    async def tick(self, ws):
        """Send the time until cancelled; at once after a change."""
        while True:
            await ws.send(time.strftime("%H:%M:%S"))
            self.changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.changed.wait(), self.seconds)
