"""A chat with rooms, over any number of processes: plain WSGI, one WebSocket for each person, and a page.

    fairlead --http :8080 --wsgi-file examples/chat.py --async 1000 --greenlet --processes 2
    fairlead --http :8080 --wsgi-file examples/chat.py --threads 64

Open http://127.0.0.1:8080/ in two windows, or http://127.0.0.1:8080/?room=kitchen for another room. Both commands run
the same code; under threads a person takes a thread, so `--threads` is the number of people that a process holds.

A room is a channel: what one person says is published, and the engine takes it to the people of all processes, so this
file has no list of them. Who comes in sees the last lines; who was away for a moment sees what was missed. The page
counts on `channels.js` for that, which comes with Fairlead.
"""

import json
import os
from pathlib import Path
from urllib.parse import parse_qs

from fairlead import ConnectionClosed, channels, websocket

LONGEST_NAME = 24
LONGEST_TEXT = 2000
LONGEST_ID = 40
#: Lines that somebody who comes in is shown.
SHOWN_LINES = 50
#: How long somebody is silent before we look whether the room still knows how many are there.
SILENCE_S = 5.0

CLIENT = Path(channels.CLIENT_JS).read_bytes()


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        return talk(environ)
    kind, body = {"/": ("text/html", PAGE), "/channels.js": ("text/javascript", CLIENT)}.get(
        environ["PATH_INFO"], ("text/plain", None)
    )
    if body is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"All rooms are at /\n"]
    start_response("200 OK", [("Content-Type", f"{kind}; charset=utf-8"), ("Cache-Control", "no-cache")])
    return [body]


def talk(environ):
    """One person's life in a room."""
    query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    room = "chat/" + (clean(query.get("room", ""), LONGEST_NAME).replace("/", "") or "lobby")
    since = query.get("since", "")[:19]
    is_back = since.isdecimal()
    page = query.get("id", "")[:LONGEST_ID]
    with websocket(environ) as ws:
        try:
            name = take_name(ws, room, clean(query.get("name", ""), LONGEST_NAME) or "someone")
            ws.send(json.dumps({"kind": "welcome", "name": name, "process": os.getpid()}))
            ws.join(room, int(since) if is_back else last_lines(room), offsets=True)
            try:
                tell(room, kind="returned" if is_back else "joined", name=name, id=page)
                listen(ws, room, name)
            finally:
                ws.leave(room)
                tell(room, kind="left", name=name, id=page)
        except ConnectionClosed:
            pass  # the usual end, or vanished without a word: a phone in a tunnel, a closed lid
    return []


def take_name(ws, room, wanted):
    """The wanted name or the next free one. A name is a channel too, and is free if we are its only member."""
    name, number = wanted, 2
    while True:
        ws.join(f"{room}/{name}")
        if channels.members(f"{room}/{name}") == 1:
            return name
        ws.leave(f"{room}/{name}")
        name, number = f"{wanted} {number}", number + 1


def last_lines(room):
    """The offset to begin behind for the last lines, with which to join."""
    lines = channels.history(room, limit=SHOWN_LINES)
    return lines[0].offset - 1 if lines else None


def listen(ws, room, name):
    """Publish what a person says. The page gives each line an id, by which it knows one that it had to send twice."""
    while True:
        message = ws.receive(SILENCE_S)
        if message is None:
            correct_count(room)
        elif isinstance(message, str):
            number, _, text = message.partition(" ")
            if text.strip():
                tell(room, kind="said", name=name, id=number[:LONGEST_ID], text=text.strip()[:LONGEST_TEXT])


def tell(room, **line):
    """Publish a line. Each says how many people are here. The newest is right: who finds it wrong publishes."""
    while True:
        people = channels.members(room)
        channels.publish(room, json.dumps({**line, "people": people}))
        if channels.members(room) == people:
            return
        line = {"kind": "counted"}


def correct_count(room):
    """People of a process that was killed leave without a line."""
    newest = channels.history(room, limit=1)
    if newest and json.loads(newest[0].data)["people"] != channels.members(room):
        tell(room, kind="counted")


def clean(text, longest):
    """What we let in as a name: one line of decent length. The page shows it as text, never as HTML."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:longest]


PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content">
<meta name="color-scheme" content="light dark">
<title>Fairlead chat</title>
<link rel="icon" href="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><circle cx='16'
 cy='16' r='11' fill='none' stroke='%230b7285' stroke-width='6'/></svg>">
<style>
  :root {
    --ground: #f4f6f7; --card: #ffffff; --ink: #17242b; --faint: #5f707a; --line: #dde4e8;
    --accent: #0b7285; --on-accent: #ffffff; --mine: #d9f0f4; --good: #2b8a3e; --bad: #c92a2a;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ground: #10181c; --card: #182329; --ink: #e6edf0; --faint: #93a5af; --line: #2a3940;
      --accent: #3bc9db; --on-accent: #06262c; --mine: #16414a; --good: #69db7c; --bad: #ff8787;
    }
  }
  * { box-sizing: border-box; }
  html, body { height: 100%; margin: 0; }
  body {
    background: var(--ground); color: var(--ink); font: 16px/1.45 system-ui, sans-serif;
    display: flex; flex-direction: column; height: 100dvh;
  }
  header, main, footer { width: 100%; max-width: 44rem; margin: 0 auto; padding: 0 1rem; }
  header { display: flex; align-items: center; gap: .75rem; padding-block: .9rem; }
  h1 { font-size: 1.1rem; margin: 0; display: flex; align-items: center; gap: .55rem; }
  h1::before { content: ""; width: 1.05rem; height: 1.05rem; border: .3rem solid var(--accent); border-radius: 50%; }
  #room { color: var(--faint); font-size: .875rem; }
  #state { margin-left: auto; display: flex; align-items: center; gap: .45rem; font-size: .875rem; color: var(--faint) }
  #state::before { content: ""; width: .55rem; height: .55rem; border-radius: 50%; background: var(--line); }
  #state.off::before { background: var(--bad); }
  #state.on::before { background: var(--good); }
  main { flex: 1; min-height: 0; }
  #lines {
    height: 100%; overflow-y: auto; overscroll-behavior: contain; background: var(--card);
    border: 1px solid var(--line); border-radius: .9rem; padding: 1rem; margin: 0; list-style: none;
    display: flex; flex-direction: column; gap: .35rem;
  }
  #lines:empty::before {
    content: "Choose a name to join. Open this page in a second window, or on a phone, to have somebody to talk to.";
    margin: auto; max-width: 22rem; text-align: center; color: var(--faint);
  }
  #lines li { overflow-wrap: anywhere; max-width: 85%; }
  #lines li:first-child { margin-top: auto; }
  .note { align-self: center; color: var(--faint); font-size: .84rem; text-align: center; padding: .15rem 0; }
  .said { align-self: flex-start; }
  .said b { display: block; font-size: .78rem; font-weight: 600; margin: .3rem .2rem .15rem; color: var(--hue); }
  .said.again b { display: none; }
  .said span {
    display: inline-block; background: var(--ground); border-radius: .25rem .9rem .9rem .9rem; padding: .45rem .8rem;
    white-space: pre-wrap;
  }
  .said.mine { align-self: flex-end; text-align: right; }
  .said.mine b { display: none; }
  .said.mine span { background: var(--mine); border-radius: .9rem .25rem .9rem .9rem; text-align: left; }
  footer { padding-block: .9rem max(.9rem, env(safe-area-inset-bottom)); }
  form { display: flex; gap: .6rem; }
  input {
    flex: 1; min-width: 0; font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
    border-radius: .7rem; padding: .65rem .9rem;
  }
  button {
    font: inherit; font-weight: 600; color: var(--on-accent); background: var(--accent); border: 0;
    border-radius: .7rem; padding: .65rem 1.15rem; cursor: pointer;
  }
  button:disabled { opacity: .45; cursor: default; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
</style>

<header><h1>Fairlead chat</h1><span id="room"></span><div id="state" role="status">not connected</div></header>
<main><ol id="lines" aria-live="polite"></ol></main>
<footer>
  <form autocomplete="off">
    <input id="entry" maxlength="24" placeholder="Your name" aria-label="Your name" autofocus>
    <button id="go">Join</button>
  </form>
</footer>

<script type="module">
import { ChannelSocket } from "./channels.js";

const lines = document.querySelector("#lines"), entry = document.querySelector("#entry");
const go = document.querySelector("#go"), state = document.querySelector("#state");
const room = new URLSearchParams(location.search).get("room") ?? "lobby";
const KEPT_LINES = 500;

let name = "", socket = null, lastSpeaker = "", sent = 0;
const me = Math.random().toString(36).slice(2);
const unheard = new Map();           // what we said and have not heard yet, by its id
const heard = new Set();             // ids of what is shown

document.querySelector("#room").textContent = room;

function connect(wanted) {
  const address = (offsets) => {
    const query = new URLSearchParams({ room, name: name || wanted, id: me });
    for (const offset of Object.values(offsets)) query.set("since", offset);     // there is one channel
    return `?${query}`;
  };
  socket = new ChannelSocket(address, {
    onown: (text) => welcome(JSON.parse(text)),
    onmessage: (text) => hear(JSON.parse(text)),
    ongap: (missed) => note(missed ? `${missed} lines are missing here.` : "Lines may be missing here."),
    onstate: follow,
  });
}

function follow(is, event) {
  if (is === "connecting") state.textContent = "connecting …";
  if (is !== "waiting" && is !== "over") return;
  const wasIn = state.classList.contains("on");
  ready(false);
  document.body.dataset.closeCode = event.code;
  if (wasIn) note(event.code === 1012 ? "The server is being updated." : `Disconnected (${event.code}).`);
  state.textContent = is === "over" ? "closed" : "reconnecting …";
}

function welcome(line) {
  name = line.name;
  document.body.dataset.process = line.process;
  state.title = `served by process ${line.process}`;
  ready(true);
  // The line may have got lost, or only its echo. All pages know it by its id, so it may be said twice.
  for (const [id, text] of unheard) socket.send(`${id} ${text}`);
}

function hear(line) {
  state.textContent = line.people === 1 ? "only you" : `${line.people} people`;
  if (line.kind === "said") {
    const id = `${line.name} ${line.id}`;
    if (line.id.startsWith(me)) unheard.delete(line.id);
    if (heard.has(id)) return;
    heard.add(id);
    if (heard.size > 2 * KEPT_LINES) heard.delete(heard.values().next().value);
    said(line.name, line.text, line.id.startsWith(me));
  } else if (line.kind === "left" && line.id === me) {
    // Who was away knows it; the line is for the others.
  } else if (line.kind === "returned") {
    note(line.id === me ? "You are back" : `${line.name} is back`);
  } else if (line.kind !== "counted") {
    note(line.id === me ? `You joined as ${line.name}` : `${line.name} ${line.kind}`);
  }
}

function said(who, text, isMine) {
  const item = document.createElement("li"), label = document.createElement("b"), body = document.createElement("span");
  item.className = "said" + (isMine ? " mine" : "") + (who === lastSpeaker ? " again" : "");
  label.textContent = who;          // textContent, so that nobody can speak HTML
  label.style.setProperty("--hue", color(who));
  body.textContent = text;
  item.append(label, body);
  add(item);
  lastSpeaker = who;
}

function note(text) {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  add(item);
  lastSpeaker = "";
}

function add(item) {
  const wasAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60;
  lines.append(item);
  while (lines.children.length > KEPT_LINES) lines.firstChild.remove();
  if (wasAtEnd || item.classList.contains("mine")) lines.scrollTop = lines.scrollHeight;
}

function color(who) {
  let hash = 0;
  for (const character of who) hash = (hash * 31 + character.codePointAt(0)) % 360;
  return `light-dark(hsl(${hash} 65% 35%), hsl(${hash} 65% 72%))`;
}

function ready(isOn) {
  state.classList.toggle("on", isOn);
  state.classList.toggle("off", !isOn);
  go.disabled = !isOn;
}

document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  const text = entry.value.trim();
  if (!text) return;
  if (!socket) {
    entry.maxLength = 2000;
    entry.placeholder = "Say something";
    entry.setAttribute("aria-label", "Message");
    go.textContent = "Send";
    connect(text);
  } else if (socket.isOpen && name) {
    const id = `${me}-${++sent}`;
    unheard.set(id, text);
    socket.send(`${id} ${text}`);
  } else {
    return;                          // what was typed stays until we are back
  }
  entry.value = "";
  entry.focus();
};
</script>
""".encode()
