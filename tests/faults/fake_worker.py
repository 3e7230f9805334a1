"""A worker that speaks the master's protocol and nothing else: the scripted peer of test_master.py.

It shows that a worker need not be ours (only the standard library is imported), and it fails on demand. What
it does at start stands in the file named by FAKE_PLAN ("ready", "deaf", "crash", "fail: sentence", "gate ID: FIFO",
"hang"); once it serves, a line sent to its port tells it what to do. It reports on standard error, which the test
reads. Into its cell of the scoreboard, if there is one, it writes its worker id.
"""

import json
import os
import selectors
import socket
import sys

#: Each of these has ended a master.
NONSENSE = (
    "[" * 100_000,
    '{"event":"harakiri","in_s":1e400}',
    '{"event":"harakiri","in_s":NaN}',
    '{"event":"harakiri","in_s":' + "9" * 400 + "}",
    '{"event":"modules","files":5}',
    '{"event":"modules","files":["\\u0000","\\ud800"]}',
    '{"event":"stats","requests":' + "9" * 4300 + "}",
    '{"event":"statistics"}',
)


def main():
    control = socket.socket(fileno=int(os.environ["FAIRLEAD_CONTROL_FD"]))
    lines = control.makefile("r")
    first = json.loads(lines.readline())
    name = f"fake {first['worker_id']} generation {first['generation']}"

    def say(text):
        os.write(2, f"{name} {text}\n".encode())

    def tell(**event):
        control.sendall(json.dumps(event).encode() + b"\n")

    tell.raw = control.sendall

    with open(os.environ["FAKE_PLAN"]) as file:
        plan = file.read().strip()
    say(f"started with plan {plan!r}, pid {os.getpid()}, a reload: {first['is_a_reload']}")
    if first["scoreboard"]:
        fd, cell = first["scoreboard"]["fd"], first["scoreboard"]["cell"]
        cells = [os.pread(fd, 8, 8 * number) for number in range(6)]
        told = " ".join("absent" if one == b"\xff" * 8 else str(int.from_bytes(one, "little")) for one in cells if one)
        say(f"finds its cell {cell} in {told}")
        os.pwrite(fd, first["worker_id"].to_bytes(8, "little"), 8 * cell)
    if plan == "crash":
        os._exit(7)
    if plan.startswith("fail: "):
        tell(event="failed", message=plan[6:])
        sys.exit(2)
    if plan.startswith(f"gate {first['worker_id']}: "):
        open(plan.partition(": ")[2]).close()  # a FIFO: until the test opens its end
    if plan == "hang":
        lines.readline()  # the stop command, or the master's end
        sys.exit(0)

    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    for listener in first["listeners"]:
        sock = socket.socket(fileno=listener["fd"])
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    tell(event="modules", files=[os.environ["FAKE_PLAN"]])
    control.sendall(b"this is no JSON\n")  # the master must survive it
    tell(event="ready")
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                data = control.recv(65536)
                if not data:
                    say("saw the master's end")
                    sys.exit(0)
                for command in map(json.loads, data.splitlines()):  # short, so they come whole
                    if command["command"] != "stop":
                        continue  # what it does not know, as control_protocol.py demands
                    say(f"told to stop because of {command['reason']} in {command['deadline_s']:g} s")
                    if plan != "deaf":
                        sys.exit(0)
            else:
                serve(key.fileobj, first, tell)


def serve(listener, first, tell):
    try:
        client, _ = listener.accept()
    except BlockingIOError:  # another worker was faster
        return
    with client:
        client.setblocking(True)
        word = client.makefile("r").readline().strip()
        client.sendall(f"{os.getpid()} {first['generation']} {os.getuid()}\n".encode())
    if word == "die":
        os._exit(7)
    if word in ("reload", "stop", "replace"):
        tell(event="request", action=word)
    if word.startswith("harakiri "):
        tell(event="harakiri", in_s=float(word[9:]), overdue=None)
    if word == "nonsense":
        for text in NONSENSE * 2:
            tell.raw(text.encode() + b"\n")
        tell(event="request", action="the end of the nonsense")


if __name__ == "__main__":
    main()
