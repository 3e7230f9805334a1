"""Everybody's pointer, sixty times a second: one channel carries the positions of all players of all processes.

    fairlead --http :8080 --wsgi-file examples/cursors.py --async 1000 --greenlet --processes 2

Open http://127.0.0.1:8080/ in several windows and move. Each process gathers what its players do and publishes it, at
most sixty times a second, as one binary message with eight bytes for each player that moved. All positions go out once
a second, so that a newcomer sees who rests; who is not named for some seconds is gone, so nobody has to clean up after
a process that was killed.
"""

import itertools
import os
import struct
import threading
import time
from pathlib import Path

from fairlead import ConnectionClosed, channels, websocket

CHANNEL = "cursors"
TICK_S = 1 / 60
#: Ticks from one whole picture to the next.
WHOLE_EVERY = 60
#: A player's number, and where in 65536 parts of the field.
PLAYER = struct.Struct("!IHH")
POINT = struct.Struct("!HH")

CLIENT = Path(channels.CLIENT_JS).read_bytes()


class Field:
    """The players of this process. The thread that publishes for them is started by the first."""

    def __init__(self):
        self._points = {}
        self._moved = set()
        self._lock = threading.Lock()  # held for moments, and never while something waits
        self._is_ticking = False

    def enter(self):
        """Begin to publish, if nobody has."""
        with self._lock:
            if not self._is_ticking:
                self._is_ticking = True
                threading.Thread(target=self._tick, daemon=True).start()

    def move(self, player, point):
        with self._lock:
            self._points[player] = point
            self._moved.add(player)

    def leave(self, player):
        with self._lock:
            self._points.pop(player, None)
            self._moved.discard(player)

    def _tick(self):
        due = time.monotonic()
        for tick in itertools.count():
            with self._lock:
                names = self._points if tick % WHOLE_EVERY == 0 else self._moved
                picture = b"".join(PLAYER.pack(player, *self._points[player]) for player in names)
                self._moved.clear()
            if picture:
                channels.publish(CHANNEL, picture)
            # From one due time to the next, so that a late tick does not delay all that follow.
            due = max(due + TICK_S, time.monotonic() - TICK_S)
            time.sleep(max(0.0, due - time.monotonic()))


field = Field()
numbers = itertools.count(1)


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        return play(environ)
    kind, body = {"/": ("text/html", PAGE), "/channels.js": ("text/javascript", CLIENT)}.get(
        environ["PATH_INFO"], ("text/plain", None)
    )
    if body is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"The field is at /\n"]
    start_response("200 OK", [("Content-Type", f"{kind}; charset=utf-8"), ("Cache-Control", "no-cache")])
    return [body]


def play(environ):
    """One player: what comes is a position, four bytes; what goes is the channel."""
    player = (os.getpid() << 16 | next(numbers) & 0xFFFF) & 0xFFFFFFFF  # of no other player, in this process or another
    with websocket(environ) as ws:
        try:
            ws.send(f"{player} {os.getpid()}")
            # Old positions are worth nothing: who does not keep up misses the oldest, and is not closed for it.
            ws.join(CHANNEL, offsets=True, slow_consumer="drop-oldest")
            field.enter()
            for message in ws:
                if isinstance(message, bytes) and len(message) == POINT.size:
                    field.move(player, POINT.unpack(message))
        except ConnectionClosed:
            pass
        finally:
            field.leave(player)
    return []


PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fairlead cursors</title>
<link rel="icon" href="data:,">
<style>
  html, body { height: 100%; margin: 0; background: #10181c; color: #93a5af; font: 14px/1.4 system-ui, sans-serif; }
  canvas { position: fixed; inset: 0; width: 100%; height: 100%; touch-action: none; cursor: crosshair; }
  output { position: fixed; left: 1rem; top: .8rem; pointer-events: none; font-variant-numeric: tabular-nums; }
</style>
<canvas></canvas><output>connecting …</output>
<script type="module">
import { ChannelSocket } from "./channels.js";

const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d"), told = document.querySelector("output");
const players = new Map();           // by number: where, and when we heard of it
const GONE_MS = 3000, TRAIL_MS = 700, TICK_MS = 1000 / 60;
let me = 0, messages = 0, missed = 0;

const socket = new ChannelSocket("", {
  onown: (text) => {
    const [player, process] = text.split(" ");
    me = Number(player);
    document.body.dataset.process = process;
  },
  onmessage: (bytes) => {
    messages++;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < view.byteLength; at += 8) {
      const number = view.getUint32(at), point = [view.getUint16(at + 4) / 65535, view.getUint16(at + 6) / 65535];
      if (!players.has(number)) players.set(number, { trail: [] });
      const { trail } = players.get(number);
      trail.push([...point, performance.now()]);
      if (trail.length > 120) trail.shift();       // a window that is not shown draws nothing, and clears nothing up
    }
  },
  ongap: (count) => { missed += count ?? 0; },     // old positions: not worth asking for
  onstate: (state) => { if (state !== "open") told.textContent = "connecting …"; },
});

let next = 0, waits = null;
canvas.onpointermove = (event) => {
  const point = [event.clientX / innerWidth, event.clientY / innerHeight];
  const [x, y] = point.map((part) => Math.max(0, Math.min(65535, Math.round(part * 65535))));
  clearTimeout(waits);
  waits = setTimeout(() => {                       // as often as others are told; the last move always counts
    next = performance.now() + TICK_MS;
    if (socket.isOpen) socket.send(new Uint8Array([x >> 8, x, y >> 8, y]));
  }, Math.max(0, next - performance.now()));
};

onresize = () => { canvas.width = innerWidth; canvas.height = innerHeight; };
onresize();

function draw(now) {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.lineCap = "round";
  for (const [number, { trail }] of players) {
    const [x, y, heard] = trail.at(-1);
    if (now - heard > GONE_MS) {
      players.delete(number);
      continue;
    }
    while (trail.length > 1 && now - trail[0][2] > TRAIL_MS) trail.shift();
    pen.strokeStyle = pen.fillStyle = `hsl(${(number * 137.5) % 360} 80% 65%)`;
    for (let at = 1; at < trail.length; at++) {
      pen.globalAlpha = Math.max(0, 1 - (now - trail[at][2]) / TRAIL_MS);
      pen.lineWidth = 10 * pen.globalAlpha;
      pen.beginPath();
      pen.moveTo(trail[at - 1][0] * canvas.width, trail[at - 1][1] * canvas.height);
      pen.lineTo(trail[at][0] * canvas.width, trail[at][1] * canvas.height);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.arc(x * canvas.width, y * canvas.height, number === me ? 4 : 7, 0, 7);
    pen.fill();
  }
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

setInterval(() => {
  if (socket.isOpen) told.textContent = `${players.size} moving here, ${messages} messages a second, ${missed} missed`;
  messages = 0;
}, 1000);
</script>
""".encode()
