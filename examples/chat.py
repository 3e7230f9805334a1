"""A chat room in one file: plain WSGI, one WebSocket for each person, and a page.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/chat.py --async 1000 --greenlet
    fairlead --http 127.0.0.1:8080 --wsgi-file examples/chat.py --threads 64

Open http://127.0.0.1:8080/ in two windows. Both commands run the same code; under threads a person takes a thread, so
`--threads` is the number of people the room holds.

The room lives in this process: keep `--processes` at 1. Channels, which carry messages to the people of all processes
and replay what somebody missed, come in a later version; `Room.tell` is what they will replace.
"""

import json
import threading
from collections import deque

from fairlead import ConnectionClosed, websocket

LONGEST_NAME = 24
LONGEST_TEXT = 2000
#: Lines that may wait for somebody whose connection is slow, before that person is dropped.
PATIENCE_LINES = 200


class Person:
    """Somebody in the room: a name, a WebSocket, and the lines that are still to be sent to it."""

    def __init__(self, name, ws):
        self.name = name
        self.ws = ws
        self.waiting = deque()
        self.is_being_served = False


class Room:
    """Everybody who is here.

    Two rules keep one bad connection from hurting the others. Lines are put down for all people first, under the lock,
    so everybody sees them in the same order. Then they are sent, without the lock, by whoever comes along; if somebody
    else is just serving a person (and perhaps waits there for a slow network), nobody stands in line behind it.
    """

    def __init__(self):
        self._people = {}
        self._lock = threading.Lock()  # never held while something is sent

    def enter(self, wanted, ws):
        """Let somebody in, under the wanted name or the next free one."""
        with self._lock:
            name, number = wanted, 2
            while name in self._people:
                name, number = f"{wanted} {number}", number + 1
            person = self._people[name] = Person(name, ws)
            person.waiting.append(json.dumps({"kind": "welcome", "name": name}))
        self.tell(kind="joined", name=name)
        return person

    def leave(self, person):
        with self._lock:
            del self._people[person.name]
        self.tell(kind="left", name=person.name)

    def tell(self, **line):
        """Send a line to everybody."""
        with self._lock:
            text = json.dumps({**line, "people": len(self._people)})
            people = list(self._people.values())
            for person in people:
                person.waiting.append(text)
        for person in people:
            self._serve(person)

    def _serve(self, person):
        with self._lock:
            if person.is_being_served:
                if len(person.waiting) > PATIENCE_LINES:
                    person.waiting.clear()
                    person.ws.close(1008, "your connection is too slow for this room")
                return
            person.is_being_served = True
        while True:
            with self._lock:
                if not person.waiting:
                    person.is_being_served = False
                    return
                text = person.waiting.popleft()
            try:
                person.ws.send(text)  # waits while the connection is slow, at most --socket-timeout
            except ConnectionClosed:
                with self._lock:
                    person.waiting.clear()  # gone; its own unit sees that too, and leaves the room


room = Room()


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        return talk(environ)
    if environ["PATH_INFO"] != "/":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"There is only one room, at /\n"]
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-cache")])
    return [PAGE]


def talk(environ):
    """One person's life in the room."""
    with websocket(environ) as ws:
        try:
            messages = iter(ws)
            name = clean(next(messages, ""), LONGEST_NAME) or "someone"
            person = room.enter(name, ws)
            try:
                for message in messages:
                    text = clean(message, LONGEST_TEXT)
                    if text:
                        room.tell(kind="said", name=person.name, text=text)
            finally:
                room.leave(person)
        except ConnectionClosed:
            pass  # vanished without a word: a phone in a tunnel, a closed lid
    return []


def clean(message, longest):
    """What we let in: text, of a decent length. The page shows it as text, never as HTML."""
    return message.strip()[:longest] if isinstance(message, str) else ""


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

<header><h1>Fairlead chat</h1><div id="state" role="status">not connected</div></header>
<main><ol id="lines" aria-live="polite"></ol></main>
<footer>
  <form autocomplete="off">
    <input id="entry" maxlength="24" placeholder="Your name" aria-label="Your name" autofocus>
    <button id="go">Join</button>
  </form>
</footer>

<script>
"use strict";
const lines = document.querySelector("#lines"), entry = document.querySelector("#entry");
const go = document.querySelector("#go"), state = document.querySelector("#state");
const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 15000, KEPT_LINES = 500;

let wanted = "", name = "", socket = null, wait = FIRST_WAIT_MS, lastSpeaker = "";

function connect() {
  state.textContent = "connecting …";
  socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/#.*/, ""));
  socket.onopen = () => socket.send(wanted);
  socket.onmessage = (event) => hear(JSON.parse(event.data));
  socket.onclose = (event) => {
    const wasIn = state.classList.contains("on");
    ready(false);
    document.body.dataset.closeCode = event.code;
    if (wasIn) note(event.code === 1012 ? "The server is being updated." : `Disconnected (${event.code}).`);
    // Back off, and not in step with everybody else: a server that comes back should not be run over.
    const pause = wait * (0.5 + Math.random() / 2);
    state.textContent = "reconnecting …";
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    setTimeout(connect, pause);
  };
}

function hear(line) {
  if (line.kind === "welcome") {
    name = line.name;
    wait = FIRST_WAIT_MS;
    ready(true);
    return;
  }
  state.textContent = line.people === 1 ? "only you" : `${line.people} people`;
  if (line.kind === "said") said(line.name, line.text);
  else if (line.name !== name) note(`${line.name} ${line.kind}`);
  else if (line.kind === "joined") note(`You joined as ${name}`);
}

function said(who, text) {
  const item = document.createElement("li"), label = document.createElement("b"), body = document.createElement("span");
  item.className = "said" + (who === name ? " mine" : "") + (who === lastSpeaker ? " again" : "");
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
  if (!wanted) {
    wanted = text;
    entry.maxLength = 2000;
    entry.placeholder = "Say something";
    entry.setAttribute("aria-label", "Message");
    go.textContent = "Send";
    connect();
  } else if (socket.readyState === WebSocket.OPEN && name) {
    socket.send(text);
  } else {
    return;                          // what was typed stays until we are back
  }
  entry.value = "";
  entry.focus();
};
</script>
""".encode()
