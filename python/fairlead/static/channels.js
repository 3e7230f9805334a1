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
const MARK = 0x1e, NEWLINE = 0x0a;
const HEAD = /^\x1e(?:joined (\d+) (\d+|\?)|(\d+)) (.*)$/s;

/** True if a connection that was closed so is over on purpose: the application is done (1000), or does not want us (1008,
    and its own codes from 4000 on). All else (1001, 1006, 1011, 1012, 1013, …) is worth another try. */
const isFinal = (code) => code === 1000 || code === 1008 || code >= 4000;

export class ChannelSocket {
  /** The newest offset of each channel. Pass it to a later ChannelSocket, as `{ offsets }`, to go on there. */
  offsets;
  #url; #on; #socket = null; #timer = null; #losses = 0; #isOver = false;

  /** `url`: a string, or a function that makes it from the offsets, called for each connection. `on`: any of
      `onmessage(data, channel, offset)`, `ongap(missed, channel)` (null: nobody knows how many),
      `onjoined(channel, offset, missed)`, `onown(data)` for frames that belong to no channel, and `onstate(state, event)`
      with "connecting", "open", "waiting" or, for good, "over". Text is a string, binary a Uint8Array. */
  constructor(url, { offsets = {}, ...on } = {}) {
    this.offsets = Object.assign(Object.create(null), offsets);
    this.#url = typeof url === "function" ? url : () => url;
    this.#on = on;
    globalThis.addEventListener?.("online", this.#hurry);
    this.#connect();
  }

  get isOpen() { return this.#socket?.readyState === 1; }

  /** Sends at once, or throws when there is no connection: only you know what may be sent again, and when. */
  send(data) {
    if (!this.isOpen) throw new Error("not connected; send again after onstate(\"open\")");
    this.#socket.send(data);
  }

  /** Ends it for good: nothing is received any more, and it does not come back. */
  close(code = 1000, reason = "") {
    if (this.#isOver) return;
    const socket = this.#socket;
    this.#end(null);
    socket?.close(code, reason);
  }

  #connect() {
    this.#timer = null;
    this.#tell("onstate", "connecting");
    if (this.#isOver) return;
    const url = new URL(this.#url(this.offsets), globalThis.location?.href);
    url.protocol = url.protocol.replace(/^http/, "ws");
    url.hash = "";
    const socket = this.#socket = new WebSocket(url.href);
    let opened = Infinity;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { opened = Date.now(); if (socket === this.#socket) this.#tell("onstate", "open"); };
    socket.onmessage = (event) => { if (socket === this.#socket) this.#hear(event.data); };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (isFinal(event.code)) return this.#end(event);
      if (Date.now() - opened >= GOOD_MS) this.#losses = 0;
      // Not in step with everybody else: a server that comes back should not be run over.
      const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#losses++, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
      this.#timer = setTimeout(() => this.#connect(), wait);
      this.#tell("onstate", "waiting", event);
    };
  }

  #hurry = () => {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#connect();
  };

  #end(event) {
    this.#isOver = true;
    this.#socket = null;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#hurry);
    this.#tell("onstate", "over", event);
  }

  #hear(data) {
    const isText = typeof data === "string", bytes = isText ? null : new Uint8Array(data);
    if ((isText ? data.charCodeAt(0) : bytes[0]) !== MARK) return this.#tell("onown", isText ? data : bytes);
    const end = isText ? data.indexOf("\n") : bytes.indexOf(NEWLINE);
    const head = HEAD.exec(isText ? data.slice(0, end) : new TextDecoder().decode(bytes.subarray(0, end)));
    if (!head) return this.#tell("onown", isText ? data : bytes);
    const [, start, missed, number, channel] = head;
    if (start !== undefined) return this.#join(channel, Number(start), missed === "?" ? null : Number(missed));
    const offset = Number(number), last = this.offsets[channel] ?? offset - 1;
    if (offset <= last) return;              // we have it
    this.offsets[channel] = offset;
    if (offset > last + 1) this.#tell("ongap", offset - last - 1, channel);
    this.#tell("onmessage", isText ? data.slice(end + 1) : bytes.subarray(end + 1), channel, offset);
  }

  #join(channel, start, missed) {
    const last = this.offsets[channel];
    // What comes may begin before what we have; then we skip that. Unless those were the offsets of another run.
    this.offsets[channel] = missed === 0 ? Math.max(start, last ?? start) : start;
    this.#tell("onjoined", channel, start, missed);
    // Where the application did not join behind what we have (it was given no `since`), nobody counts.
    if (last !== undefined && (missed !== 0 || start > last)) this.#tell("ongap", missed || null, channel);
  }

  #tell(name, ...what) { this.#on[name]?.(...what); }
}
