/* Fairlead's channels in a browser: a WebSocket that comes back, and says which messages it has already.

   import { ChannelSocket } from "./channels.js";
   const socket = new ChannelSocket((offsets) => `/talk?since=${offsets["room:7"] ?? ""}`, {
     onmessage: (data, channel, offset) => show(data),
     ongap: (missed, channel) => show(`${missed ?? "some"} messages are missing`),
   });

The application joins with `ws.join("room:7", since, offsets=True)`. What it sees of that is in docs/howto/channels.md. A module
without imports: copy it, or serve the one that is installed, whose path is `fairlead.channels.CLIENT_JS`. */

const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 15000;
// A connection that lasted so long was a good one: the next loss is a new one, and waits from the beginning.
const GOOD_MS = 10000;
// A handshake that nobody answers is given up, or a network that swallows packets would hold it for minutes.
const CONNECT_MS = 30000;
// So many heartbeats must be missing before a connection counts as dead, and then it is looked at once more: what has come
// while this page or its timers slept is told by the second look.
const MISSING_HEARTBEATS = 2.5, SECOND_LOOK_MS = 1000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
// No log holds so many messages: offsets that lie further apart are of two runs.
const OTHER_RUN = 2 ** 32;
const LONGEST_REASON = 123;
const MARK = 0x1e, NEWLINE = 0x0a;
const HEAD = /^\x1e(?:joined (\d+) (\d+|\?)|(\d+)) (.*)$/s;

/** True if a connection that was closed so is over on purpose: the application is done (1000), or does not want us (1008,
    and its own codes from 4000 on). All else (1001, 1006, 1011, 1012, 1013, …) is worth another try. */
const isFinal = (code) => code === 1000 || code === 1008 || code >= 4000;

/** A page may close with 1000 and 3000 to 4999 only; a socket that is asked for another code throws, and stays open. */
const allowedCode = (code) => Number.isInteger(code) && code >= 3000 && code <= 4999 ? code : 1000;

/** The beginning of it that fits a Close. */
function allowedReason(reason) {
  const bytes = new TextEncoder().encode(reason);
  if (bytes.length <= LONGEST_REASON) return reason;
  let end = LONGEST_REASON;
  while ((bytes[end] & 0xc0) === 0x80) end--;      // not in the middle of a letter
  return new TextDecoder().decode(bytes.subarray(0, end));
}

/** An error of the page's own code: on the console, as if nobody had caught it, and nothing else ends. */
function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else console.error(error);
}

export class ChannelSocket {
  /** The newest offset of each channel. Pass it to a later ChannelSocket, as `{ offsets }`, to go on there. */
  offsets;
  #url; #on; #socket = null; #timer = null; #losses = 0; #isOver = false;
  // When the server was last heard, for how long it may be silent, and the timer that looks.
  #heard = 0; #patience = Infinity; #lookTimer = null; #isSuspect = false;
  #opened = Infinity;

  /** `url`: a string, or a function that makes it from the offsets, called for each connection. `on`: any of
      `onmessage(data, channel, offset)`, `ongap(missed, channel)` (null: nobody knows how many),
      `onjoined(channel, offset, missed)`, `onown(data)` for frames that belong to no channel, and `onstate(state, event)`
      with "connecting", "open", "waiting" or, for good, "over". Text is a string, binary a Uint8Array. An error of one of
      these is reported and ends nothing; one of `url` counts as a lost connection. */
  constructor(url, { offsets = {}, ...on } = {}) {
    this.offsets = Object.create(null);
    for (const [channel, offset] of Object.entries(offsets ?? {})) {
      const number = Number(offset ?? NaN);      // they may have been kept as text; what is no offset is none
      if (Number.isSafeInteger(number) && number >= 0) this.offsets[channel] = number;
    }
    if (typeof url !== "function") addressOf(url);      // one that never will be an address is told at once
    this.#url = typeof url === "function" ? url : () => url;
    this.#on = on;
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.addEventListener?.("pageshow", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#connect();
  }

  get isOpen() { return this.#socket?.readyState === 1; }

  /** Sends at once, or throws when there is no connection: only you know what may be sent again, and when. */
  send(data) {
    if (!this.isOpen) throw new Error("not connected; send again after onstate(\"open\")");
    this.#socket.send(data);
  }

  /** Ends it for good: nothing is received any more, and it does not come back. `code` is 1000 or 3000 to 4999; any other
      is sent as 1000, since browsers let a page say no more. */
  close(code = 1000, reason = "") {
    if (this.#isOver) return;
    const socket = this.#socket, why = allowedReason(String(reason));
    this.#end(null);
    socket?.close(allowedCode(code), why);
  }

  #connect() {
    this.#timer = null;
    this.#tell("onstate", "connecting");
    if (this.#isOver) return;
    let socket;
    try {
      const address = addressOf(this.#url(this.offsets));
      if (this.#isOver) return;
      socket = new WebSocket(address);
    } catch (error) {
      report(error);
      if (this.#isOver) return;
      return this.#lost({ code: 1006, reason: String(error), wasClean: false, error });
    }
    this.#socket = socket;
    this.#expect(CONNECT_MS);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#opened = Date.now();
      this.#expect(Infinity);                     // until the server says that it has a heartbeat
      this.#tell("onstate", "open");
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#heard = Date.now();
      this.#isSuspect = false;
      this.#hear(event.data);
    };
    socket.onclose = (event) => { if (socket === this.#socket) this.#lost(event); };
  }

  #lost(event) {
    const lasted = Date.now() - this.#opened;
    this.#socket = null;
    this.#opened = Infinity;
    this.#expect(Infinity);
    if (isFinal(event.code)) return this.#end(event);
    if (lasted >= GOOD_MS) this.#losses = 0;
    // Not in step with everybody else: a server that comes back should not be run over.
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#losses++, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#tell("onstate", "waiting", event);
  }

  /** From now on the server may be silent for so long. */
  #expect(ms) {
    this.#heard = Date.now();
    this.#patience = ms;
    this.#isSuspect = false;
    clearTimeout(this.#lookTimer);
    this.#lookTimer = null;
    if (ms < Infinity) this.#lookAfter(ms);
  }

  #lookAfter(ms) {
    clearTimeout(this.#lookTimer);
    this.#lookTimer = setTimeout(this.#look, Math.min(ms, LONGEST_TIMER_MS));
  }

  /** Is the path dead? Judged by when frames came, never by when this runs: browsers let timers of hidden pages come late,
      and a page that was stopped finds its frames behind its timers. So the first look only suspects. */
  #look = () => {
    const now = Date.now(), silence = now - (this.#heard = Math.min(this.#heard, now));      // a clock may be set back
    if (silence < this.#patience) {
      this.#isSuspect = false;
      return this.#lookAfter(this.#patience - silence);
    }
    if (!this.#isSuspect) {
      this.#isSuspect = true;
      return this.#lookAfter(SECOND_LOOK_MS);
    }
    const socket = this.#socket;
    this.#lost({ code: 1006, reason: `the server was silent for ${silence / 1000} s`, wasClean: false });
    socket.close();      // behind that: its own end may take minutes on a path that carries nothing
  };

  /** The network, or this page, is back: what timers have slept over is done now. */
  #wake = ({ type }) => {
    if (type === "visibilitychange" && document.hidden) return;
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#connect();
    } else if (this.#lookTimer !== null && !this.#isSuspect) this.#look();
  };

  #end(event) {
    this.#isOver = true;
    this.#socket = null;
    this.#expect(Infinity);
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.removeEventListener?.("pageshow", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#tell("onstate", "over", event);
  }

  #hear(data) {
    const isText = typeof data === "string", bytes = isText ? null : new Uint8Array(data);
    const end = isText ? data.indexOf("\n") : bytes.indexOf(NEWLINE);
    const isMarked = end > 0 && (isText ? data.charCodeAt(0) : bytes[0]) === MARK;
    const head = isMarked && HEAD.exec(isText ? data.slice(0, end) : new TextDecoder().decode(bytes.subarray(0, end)));
    if (!head) return this.#tell("onown", isText ? data : bytes);
    const [, start, missed, number, channel] = head;
    if (start !== undefined) return this.#join(channel, Number(start), missed === "?" ? null : Number(missed));
    const offset = Number(number), last = this.offsets[channel] ?? offset - 1;
    if (offset === 0) return this.#beat(isText ? Number(data.slice(end + 1)) * 1000 : NaN);
    if (offset <= last) return;              // we have it
    this.offsets[channel] = offset;
    if (offset > last + 1) this.#tell("ongap", offset - last - 1, channel);
    this.#tell("onmessage", isText ? data.slice(end + 1) : bytes.subarray(end + 1), channel, offset);
  }

  /** The server has a heartbeat, every so many milliseconds. */
  #beat(ms) {
    const patience = ms * MISSING_HEARTBEATS;
    if (patience > 0 && patience !== this.#patience) this.#expect(patience);
  }

  #join(channel, start, missed) {
    const last = this.offsets[channel];
    // What comes may begin before what we have; then we skip that. Unless those were the offsets of another run.
    const isBroken = missed !== 0 || Math.abs(start - last) >= OTHER_RUN;
    this.offsets[channel] = isBroken ? start : Math.max(start, last ?? start);
    this.#tell("onjoined", channel, start, missed);
    // Where the application did not join behind what we have (it was given no `since`), nobody counts.
    if (last !== undefined && (isBroken || start > last)) this.#tell("ongap", missed || null, channel);
  }

  #tell(name, ...what) {
    if (this.#isOver && name !== "onstate") return;      // an earlier one has closed it
    try {
      this.#on[name]?.(...what);
    } catch (error) {
      report(error);
    }
  }
}

/** The absolute ws: or wss: address of what `url` says. Throws what it is not. */
function addressOf(text) {
  if (text == null || text.then) throw new TypeError(`the address must be a string, not ${text ? "a promise" : text}`);
  const url = new URL(text, globalThis.location?.href);
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.hash = "";
  if (!/^wss?:$/.test(url.protocol)) throw new TypeError(`no WebSocket is at ${url.protocol}`);
  return url.href;
}
