/* Tests of python/fairlead/static/channels.js with a socket and a clock of their own; test_channels_js.py runs each in
   Chromium. A test is a function that throws; its name is the sentence that it proves. */

import { ChannelSocket } from "/channels.js";

const sockets = [], timers = new Map(), reported = [];
let now = 0, timerNumber = 0, random = 1;

class FakeSocket {
  constructor(url) { this.url = url; this.readyState = 0; this.sent = []; sockets.push(this); }
  open() { this.readyState = 1; this.onopen(); }
  hear(data) { this.onmessage({ data }); }
  send(data) { this.sent.push(data); }
  lose(code) { this.readyState = 3; this.onclose({ code }); }
  close(code = 1000, reason = "") {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) throw new DOMException(`${code}`, "InvalidAccessError");
    if (new TextEncoder().encode(reason).length > 123) throw new DOMException(reason, "SyntaxError");
    this.readyState = 2;
    this.closedWith = [code, reason];
  }
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
  const real = { WebSocket, setTimeout, clearTimeout, reportError, now: Date.now, random: Math.random };
  sockets.length = reported.length = 0;
  timers.clear();
  [now, random] = [1e6, 1];
  globalThis.WebSocket = FakeSocket;
  globalThis.setTimeout = (run, ms) => { timers.set(++timerNumber, { run, due: now + ms, ms }); return timerNumber; };
  globalThis.clearTimeout = (number) => timers.delete(number);
  globalThis.reportError = (error) => reported.push(error.message);
  Date.now = () => now;
  Math.random = () => random;
  try {
    tests[test]();
  } finally {
    ({
      WebSocket: globalThis.WebSocket, setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout,
      reportError: globalThis.reportError,
    } = real);
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

/** A client that notes what it is told; `on` are callbacks of the test's own. */
function client(url = "/talk", offsets = undefined, on = {}) {
  const told = [], states = [];
  const socket = new ChannelSocket(url, {
    ...(offsets && { offsets }),
    onmessage: (data, channel, offset) => told.push([data instanceof Uint8Array ? [...data] : data, channel, offset]),
    ongap: (missed, channel) => told.push(["gap", missed, channel]),
    onjoined: (channel, offset, missed) => told.push(["joined", channel, offset, missed]),
    onown: (data) => told.push(["own", data instanceof Uint8Array ? [...data] : data]),
    onstate: (state) => states.push(state),
    ...on,
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
    const own = ["welcome", "", "\n", "\x1enot a head", "\x1e5 no newline"];
    for (const data of own) last().hear(data);
    for (const data of [[1, 2], [], [10], [0x1e, 7, 8]]) last().hear(bytes(...data));
    equal(told, [...own, [1, 2], [], [10], [0x1e, 7, 8]].map((data) => ["own", data]));
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
    equal([sockets.length, wait()], [2, [30000]]);      // which is for the handshake
    dispatchEvent(new Event("online"));
    equal(sockets.length, 2);
  },

  "a page that is shown again ends the wait"() {
    client();
    last().lose(1006);
    document.dispatchEvent(new Event("visibilitychange"));
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

  "close sends what a browser lets a page say"() {
    for (const [code, sent] of [[1000, 1000], [1001, 1000], [1011, 1000], [2999, 1000], [3000, 3000], [4999, 4999],
                                [5000, 1000], [70000, 1000], [-1, 1000], ["x", 1000], [null, 1000], [NaN, 1000],
                                [3000.5, 1000], [Infinity, 1000], [{}, 1000]]) {
      const { socket, states } = client();
      last().open();
      socket.close(code, "bye");
      equal([last().closedWith, states], [[sent, "bye"], ["connecting", "open", "over"]]);
    }
  },

  "close sends the beginning of a long reason, of whole letters"() {
    for (const [reason, sent] of [["x".repeat(200), "x".repeat(123)], ["ü".repeat(100), "ü".repeat(61)],
                                  ["a" + "日".repeat(60), "a" + "日".repeat(40)], ["😀".repeat(40), "😀".repeat(30)],
                                  ["x".repeat(123), "x".repeat(123)], [42, "42"], [null, "null"]]) {
      const { socket } = client();
      last().open();
      socket.close(1000, reason);
      equal(last().closedWith, [1000, sent]);
    }
  },

  "an address function that throws is reported and tried again"() {
    let calls = 0;
    const { states, socket } = client(() => {
      if (++calls !== 2 && calls < 5) throw new Error(`no token ${calls}`);
      return "/talk";
    });
    equal([sockets.length, wait(), reported], [0, [500], ["no token 1"]]);
    pass(500);
    last().open();
    last().lose(1006);
    equal(wait(), [1000]);
    pass(1000);
    equal([sockets.length, wait()], [1, [2000]]);
    pass(2000);
    equal(wait(), [4000]);
    pass(4000);
    last().open();
    equal([sockets.length, socket.isOpen, reported], [2, true, ["no token 1", "no token 3", "no token 4"]]);
    equal(states, ["connecting", "waiting", "connecting", "open", "waiting", "connecting", "waiting", "connecting",
                   "waiting", "connecting", "open"]);
  },

  "an address that is none is reported and tried again"() {
    for (const odd of ["http://[", "mailto:a@b", undefined, null, Promise.resolve("/talk")]) {
      const { socket } = client(() => odd);
      equal([sockets.length, wait(), reported.length], [0, [500], 1]);
      socket.close();
      reported.length = 0;
    }
    client(() => Promise.resolve("/talk"));
    equal(reported, ["the address must be a string, not a promise"]);
  },

  "an address that never changes is judged at once"() {
    for (const odd of ["http://[", "mailto:a@b", undefined]) throws(() => new ChannelSocket(odd));
    equal([sockets.length, timers.size, reported], [0, 0, []]);
  },

  "a browser that refuses a socket is asked again"() {
    globalThis.WebSocket = class { constructor() { throw new DOMException("mixed content", "SecurityError"); } };
    client();
    equal([wait(), reported], [[500], ["mixed content"]]);
  },

  "an address function may end it"() {
    const { socket, states } = client(() => "/talk");
    last().lose(1006);
    const ends = client(() => { if (sockets.length > 1) ends.socket.close(); return "/talk"; });
    last().lose(1006);
    pass(500);
    equal([sockets.length, ends.states], [3, ["connecting", "waiting", "connecting", "over"]]);
    const throwing = client(() => { if (sockets.length > 3) throwing.socket.close(), undefined.x; return "/talk"; });
    last().lose(1006);
    pass(500);
    equal([throwing.states.at(-1), timers.size], ["over", 1]);      // that of the first one's handshake
    equal(states.at(-1), "connecting");
    socket.close();
  },

  "a callback that throws is reported and ends nothing"() {
    const told = [], fails = (name) => (...what) => { told.push([name, ...what]); throw new Error(name); };
    const { socket } = client("/talk", undefined, {
      onstate: (state) => fails(state)(), onmessage: fails("message"), ongap: fails("gap"), onjoined: fails("joined"),
      onown: "no function",
    });
    last().open();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("own");
    last().hear("\x1e9 a\nx");
    last().lose(1006);
    pass(500);
    last().hear("\x1ejoined 12 3 a\n");
    socket.close();
    equal(told, [["connecting"], ["open"], ["joined", "a", 4, 0], ["gap", 4, "a"], ["message", "x", "a", 9],
                 ["waiting"], ["connecting"], ["joined", "a", 12, 3], ["gap", 3, "a"], ["over"]]);
    equal([sockets.length, last().closedWith, reported.length], [2, [1000, ""], 11]);
  },

  "a callback that closes it is told nothing behind that"() {
    const told = [];
    const { socket } = client("/talk", undefined, {
      ongap: () => socket.close(), onmessage: (data) => told.push(data),
    });
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e9 a\nx");
    equal(told, []);
  },

  "offsets that were kept as text are numbers, and what is no offset is none"() {
    const { socket, told } = client("/", { a: "7", b: "x", c: NaN, d: -1, e: null, f: 2 ** 53, g: 1.5, h: [] });
    equal(socket.offsets, { a: 7, h: 0 });
    last().hear("\x1ejoined 7 0 a\n");
    last().hear("\x1e8 a\nx");
    last().hear("\x1ejoined 50 0 b\n");
    last().hear("\x1e51 b\ny");
    equal(told, [["joined", "a", 7, 0], ["x", "a", 8], ["joined", "b", 50, 0], ["y", "b", 51]]);
    equal(client("/", null).socket.offsets, {});
  },

  "offsets of another run that the application did not ask about are a gap, not repetitions"() {
    const { told } = client("/", { a: 4e15 });
    last().hear("\x1ejoined 3000000000000000 0 a\n");
    last().hear("\x1e3000000000000001 a\nx");
    equal(told.slice(1), [["gap", null, "a"], ["x", "a", 3000000000000001]]);
  },

  "a heartbeat is no message"() {
    const { told, socket } = client();
    last().open();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e0 a\n25");
    last().hear("\x1e0 a\n25");
    last().hear("\x1e0 of no channel that we know\n25");
    for (const odd of ["", "x", "-1", "0", "Infinity", "NaN"]) last().hear(`\x1e0 a\n${odd}`);
    last().hear(bytes(0x1e, "0 a\n25"));
    equal([told, socket.offsets], [[["joined", "a", 4, 0]], { a: 4 }]);
  },

  "two heartbeats and a half that are missing are a loss"() {
    const states = [], { socket } = client("/talk", undefined, { onstate: (...what) => states.push(what) });
    last().open();
    pass(20000);
    last().hear("\x1e0 a\n25");
    equal(wait(), [62500]);
    pass(62500);
    equal([sockets.length, wait()], [1, [1000]]);
    pass(1000);
    equal([sockets.length, sockets[0].closedWith, wait(), socket.isOpen], [1, [1000, ""], [500], false]);
    sockets[0].hear("\x1e5 a\nlate");
    sockets[0].lose(1000);
    pass(500);
    equal([sockets.length, states.slice(2)], [2, [["waiting",
      { code: 1006, reason: "the server was silent for 63.5 s", wasClean: false }], ["connecting"]]]);
  },

  "any frame shows that the server lives"() {
    client();
    last().open();
    last().hear("\x1ejoined 4 0 a\n");
    last().hear("\x1e0 a\n25");
    for (const data of ["own", "\x1e5 a\nx", "\x1e0 a\n25", "\x1e5 a\nagain", bytes(1)]) {
      pass(60000);
      last().hear(data);
      pass(3000);
    }
    equal([sockets.length, last().closedWith], [1, undefined]);
    pass(59500);
    pass(1000);
    equal(last().closedWith, [1000, ""]);
  },

  "a timer that comes late loses nothing that has come"() {
    client();
    last().open();
    last().hear("\x1e0 a\n25");
    pass(3600000);                                 // the page was frozen: its timer goes off before its frames come
    equal(wait(), [1000]);
    last().hear("\x1e0 a\n25");
    pass(1000);
    equal([last().closedWith, wait()], [undefined, [61500]]);
    pass(61500);
    pass(1000);
    equal(last().closedWith, [1000, ""]);
  },

  "without a heartbeat a server may be silent for ever"() {
    const { told } = client();
    last().open();
    last().hear("\x1ejoined 4 0 a\n");
    pass(1e9);
    document.dispatchEvent(new Event("visibilitychange"));
    equal([timers.size, last().closedWith, told.length], [0, undefined, 1]);
  },

  "each connection learns its own heartbeat"() {
    client();
    last().open();
    last().hear("\x1e0 a\n25");
    last().hear("\x1e0 a\n10");
    equal(wait(), [25000]);
    last().lose(1012);
    pass(500);
    last().open();
    equal(timers.size, 0);
    last().hear("\x1e0 a\n1e9");
    equal(wait(), [2 ** 31 - 1]);
  },

  "a network or a page that is back looks at once"() {
    for (const [target, name] of [[globalThis, "online"], [globalThis, "pageshow"], [document, "visibilitychange"]]) {
      const { socket } = client();
      last().open();
      last().hear("\x1e0 a\n25");
      target.dispatchEvent(new Event(name));
      equal(wait(), [62500]);
      now += 70000;                                // and no timer has gone off
      target.dispatchEvent(new Event(name));
      target.dispatchEvent(new Event(name));
      equal([wait(), last().closedWith], [[1000], undefined]);
      pass(1000);
      equal(last().closedWith, [1000, ""]);
      socket.close();
    }
  },

  "a handshake that nobody answers is given up"() {
    const { states } = client();
    pass(30000);
    pass(1000);
    equal([last().closedWith, states, wait()], [[1000, ""], ["connecting", "waiting"], [500]]);
  },

  "a clock that was set back is no silence"() {
    client();
    last().open();
    last().hear("\x1e0 a\n25");
    now -= 1e7;
    document.dispatchEvent(new Event("visibilitychange"));
    equal(wait(), [62500]);
    pass(62500);
    pass(1000);
    equal(last().closedWith, [1000, ""]);
  },
};

export const names = Object.keys(tests);
