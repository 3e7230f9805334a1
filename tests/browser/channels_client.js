/* Tests of python/fairlead/static/channels.js with a socket and a clock of their own; test_channels_js.py runs each in
   Chromium. A test is a function that throws; its name is the sentence that it proves. */

import { ChannelSocket } from "/channels.js";

const sockets = [], timers = new Map();
let now = 0, timerNumber = 0, random = 1;

class FakeSocket {
  constructor(url) { this.url = url; this.readyState = 0; this.sent = []; sockets.push(this); }
  open() { this.readyState = 1; this.onopen(); }
  hear(data) { this.onmessage({ data }); }
  send(data) { this.sent.push(data); }
  lose(code) { this.readyState = 3; this.onclose({ code }); }
  close(code, reason) { this.readyState = 2; this.closedWith = [code, reason]; }
}

/** Lets so much time pass, and what is due happen. */
function pass(ms) {
  now += ms;
  for (const [number, timer] of [...timers]) {
    if (timer.due <= now && timers.delete(number)) timer.run();
  }
}

/** Puts a test's socket and clock in the place of the browser's. */
export function run(test) {
  const real = { WebSocket, setTimeout, clearTimeout, now: Date.now, random: Math.random };
  sockets.length = 0;
  timers.clear();
  [now, random] = [1e6, 1];
  globalThis.WebSocket = FakeSocket;
  globalThis.setTimeout = (run, ms) => { timers.set(++timerNumber, { run, due: now + ms, ms }); return timerNumber; };
  globalThis.clearTimeout = (number) => timers.delete(number);
  Date.now = () => now;
  Math.random = () => random;
  try {
    tests[test]();
  } finally {
    ({ WebSocket: globalThis.WebSocket, setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout } = real);
    [Date.now, Math.random] = [real.now, real.random];
  }
}

function equal(found, expected) {
  [found, expected] = [found, expected].map((one) => JSON.stringify(one));
  if (found !== expected) throw new Error(`${found} is not ${expected}`);
}

function throws(call) {
  try {
    call();
  } catch (error) {
    return error.message;
  }
  throw new Error("it did not throw");
}

/** A client that notes what it is told. */
function client(url = "/talk", offsets = undefined) {
  const told = [], states = [];
  const socket = new ChannelSocket(url, {
    ...(offsets && { offsets }),
    onmessage: (data, channel, offset) => told.push([data instanceof Uint8Array ? [...data] : data, channel, offset]),
    ongap: (missed, channel) => told.push(["gap", missed, channel]),
    onjoined: (channel, offset, missed) => told.push(["joined", channel, offset, missed]),
    onown: (data) => told.push(["own", data instanceof Uint8Array ? [...data] : data]),
    onstate: (state) => states.push(state),
  });
  return { socket, told, states };
}

const last = () => sockets[sockets.length - 1];
const bytes = (...parts) => Uint8Array.from(parts.flatMap((part) =>
  typeof part === "string" ? [...new TextEncoder().encode(part)] : [part])).buffer;
const wait = () => [...timers.values()].map((timer) => timer.ms);

const tests = {
  "messages come with their channel and offset"() {
    const { told, socket } = client();
    last().open();
    last().hear("\x1ejoined 40 0 room:7\n");
    last().hear("\x1e41 room:7\nhello\nthere");
    last().hear("\x1e42 room:7\n");
    equal(told, [["joined", "room:7", 40, 0], ["hello\nthere", "room:7", 41], ["", "room:7", 42]]);
    equal(socket.offsets, { "room:7": 42 });
  },

  "binary messages are bytes, and a name may hold any letters"() {
    const { told } = client();
    last().open();
    equal(last().binaryType, "arraybuffer");
    last().hear("\x1ejoined 1 0 Küche 2/日本\n");
    last().hear(bytes(0x1e, "2 Küche 2/日本\n", 0, 10, 255));
    equal(told[1], [[0, 10, 255], "Küche 2/日本", 2]);
  },

  "frames of no channel are the application's own"() {
    const { told } = client();
    last().open();
    for (const data of ["welcome", "", bytes(1, 2), bytes(), "\x1enot a head", bytes(0x1e, 7, 8)]) last().hear(data);
    equal(told, [["own", "welcome"], ["own", ""], ["own", [1, 2]], ["own", []], ["own", "\x1enot a head"],
                 ["own", [0x1e, 7, 8]]]);
  },

  "offsets that come again are dropped"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 a\n");
    for (const offset of [5, 6, 5, 6, 7]) last().hear(`\x1e${offset} a\n${offset}`);
    equal(told.slice(1), [["5", "a", 5], ["6", "a", 6], ["7", "a", 7]]);
  },

  "a jump is told before the message behind it"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e5 a\nx");
    last().hear("\x1e9 a\ny");
    equal(told.slice(1), [["x", "a", 5], ["gap", 3, "a"], ["y", "a", 9]]);
  },

  "a jump right behind the joining is told"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e7 a\ny");
    equal(told.slice(1), [["gap", 2, "a"], ["y", "a", 7]]);
  },

  "channels are counted apart"() {
    const { told, socket } = client();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1ejoined 90 0 b\n");
    last().hear("\x1e91 b\nb");
    last().hear("\x1e5 a\na");
    equal(told.slice(2), [["b", "b", 91], ["a", "a", 5]]);
    equal(socket.offsets, { a: 5, b: 91 });
  },

  "a channel may have any name"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 __proto__\n");
    last().hear("\x1e5 __proto__\nx");
    last().hear("\x1e5 __proto__\nx");
    equal(told.slice(1), [["x", "__proto__", 5]]);
  },

  "it comes back with the newest offset, without a gap or a repetition"() {
    const { told } = client((offsets) => `/talk?since=${offsets.a ?? ""}#here`);
    equal(last().url.replace(/^ws:..[^/]*/, ""), "/talk?since=");
    last().open();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e5 a\nx");
    last().lose(1006);
    pass(500);
    equal(sockets.length, 2);
    equal(last().url.replace(/^ws:..[^/]*/, ""), "/talk?since=5");
    last().open();
    last().hear("\x1ejoined 5 0 a\n");
    last().hear("\x1e6 a\ny");
    equal(told, [["joined", "a", 4, 0], ["x", "a", 5], ["joined", "a", 5, 0], ["y", "a", 6]]);
  },

  "a replay that begins earlier repeats nothing"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e5 a\nx");
    last().lose(1012);
    pass(500);
    last().hear("\x1ejoined 3 0 a\n");
    for (const offset of [4, 5, 6]) last().hear(`\x1e${offset} a\n${offset}`);
    equal(told.slice(3), [["6", "a", 6]]);
  },

  "what was lost meanwhile is counted"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 a\n");
    last().lose(1006);
    pass(500);
    last().hear("\x1ejoined 10 6 a\n");
    last().hear("\x1e11 a\nx");
    equal(told.slice(1), [["joined", "a", 10, 6], ["gap", 6, "a"], ["x", "a", 11]]);
  },

  "offsets of another run are a gap that nobody counts, and lower ones are new"() {
    const { told, socket } = client();
    last().hear("\x1ejoined 1000 0 a\n");
    last().lose(1001);
    pass(500);
    last().hear("\x1ejoined 20 ? a\n");
    last().hear("\x1e21 a\nx");
    equal(told.slice(1), [["joined", "a", 20, null], ["gap", null, "a"], ["x", "a", 21]]);
    equal(socket.offsets, { a: 21 });
  },

  "an application that forgets since makes a gap that nobody counts"() {
    const { told } = client();
    last().hear("\x1ejoined 4 0 a\n");
    last().lose(1006);
    pass(500);
    last().hear("\x1ejoined 9 0 a\n");
    equal(told.slice(1), [["joined", "a", 9, 0], ["gap", null, "a"]]);
  },

  "what the application asks for at first is no gap"() {
    const { told } = client();
    last().hear("\x1ejoined 900 37 a\n");
    equal(told, [["joined", "a", 900, 37]]);
  },

  "offsets that were kept go on"() {
    const { told } = client((offsets) => `/?since=${offsets.a}`, { a: 7 });
    equal(last().url.replace(/^.*\?/, ""), "since=7");
    last().hear("\x1ejoined 6 0 a\n");
    last().hear("\x1e7 a\nx");
    last().hear("\x1e8 a\ny");
    equal(told.slice(1), [["y", "a", 8]]);
  },

  "the waits double up to fifteen seconds"() {
    client();
    const waits = [];
    for (let loss = 0; loss < 8; loss++) {
      last().lose(1006);
      waits.push(...wait());
      pass(15000);
    }
    equal(waits, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  },

  "waits are spread, so that not all come at once"() {
    client();
    random = 0;
    last().lose(1012);
    equal(wait(), [250]);
  },

  "a server that drops everybody at once is not asked more and more often"() {
    client();
    for (const expected of [500, 1000, 2000]) {
      last().open();
      last().hear("\x1ejoined 4 0 a\n");
      last().lose(1011);
      equal(wait(), [expected]);
      pass(expected);
    }
  },

  "after a good connection the first wait is short again"() {
    client();
    last().lose(1006);
    pass(500);
    last().lose(1006);
    pass(1000);
    last().open();
    pass(10000);
    last().lose(1001);
    equal(wait(), [500]);
  },

  "it comes back from 1001, 1006, 1011, 1012, 1013 and 1005"() {
    for (const code of [1001, 1006, 1011, 1012, 1013, 1005]) {
      const { states, socket } = client();
      last().open();
      const before = sockets.length;
      last().lose(code);
      pass(500);
      equal([sockets.length, states], [before + 1, ["connecting", "open", "waiting", "connecting"]]);
      socket.close();
    }
  },

  "it stops at 1000, 1008 and the application's own codes"() {
    for (const code of [1000, 1008, 4000, 4403, 4999]) {
      const { states } = client();
      last().open();
      const before = sockets.length;
      last().lose(code);
      pass(60000);
      dispatchEvent(new Event("online"));
      equal([sockets.length, states], [before, ["connecting", "open", "over"]]);
    }
  },

  "close ends it for good, and nothing is received any more"() {
    const { socket, told, states } = client();
    last().open();
    socket.close(1000, "done");
    equal(last().closedWith, [1000, "done"]);
    last().hear("late");
    last().lose(1006);
    socket.close();
    pass(60000);
    dispatchEvent(new Event("online"));
    equal([sockets.length, told, states], [1, [], ["connecting", "open", "over"]]);
  },

  "close ends a wait"() {
    const { socket } = client();
    last().lose(1006);
    socket.close();
    pass(60000);
    equal(sockets.length, 1);
  },

  "a network that is back ends the wait"() {
    client();
    last().lose(1006);
    dispatchEvent(new Event("online"));
    equal([sockets.length, timers.size], [2, 0]);
    dispatchEvent(new Event("online"));
    equal(sockets.length, 2);
  },

  "sending without a connection throws"() {
    const { socket } = client();
    equal(socket.isOpen, false);
    equal(throws(() => socket.send("x")), 'not connected; send again after onstate("open")');
    last().open();
    socket.send("y");
    equal([socket.isOpen, last().sent], [true, ["y"]]);
    last().lose(1006);
    throws(() => socket.send("z"));
  },

  "addresses are relative to the page, and of its security"() {
    client("?room=7");
    equal(last().url, `${location.href.replace(/^http/, "ws").replace(/[?#].*/, "")}?room=7`);
    client("https://example.org/x");
    equal(last().url, "wss://example.org/x");
    client("ws://example.org/x");
    equal(last().url, "ws://example.org/x");
  },
};

export const names = Object.keys(tests);
