"""Apps that try the rows of compat §1: one function for each, chosen by the path, answers by
note.

They use the `uwsgi` module as an app for uWSGI would, and note what each call returned or raised, so that
tests can compare types and texts literally. It stays whole:
one row of that page, one function. What can be seen at import time is kept in `AT_IMPORT`.
"""

import os
import select
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import greenlet
import uwsgi
from notes import note, outcome

PAGES = {}
CONTEXTS = {}

AT_IMPORT = {
    "is_module": type(uwsgi).__name__,
    "registered": sys.modules["uwsgi"] is uwsgi,
    "recv": outcome(uwsgi.websocket_recv),
    "send": outcome(uwsgi.websocket_send, "x"),
    "handshake": outcome(uwsgi.websocket_handshake),
    "context": outcome(uwsgi.request_context),
    "fd": outcome(uwsgi.connection_fd),
    "disconnect": outcome(uwsgi.disconnect),
    "worker_id": uwsgi.worker_id(),
}

uwsgi.some_attribute_of_an_app = "kept"


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def handshake(environ):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))


def plain(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"."]


@page
def at_import(environ, start_response):
    note(environ, **AT_IMPORT, kept=uwsgi.some_attribute_of_an_app)
    return plain(start_response)


@page
def echo(environ, start_response):
    handshake(environ)
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


@page
def echo_binary(environ, start_response):
    handshake(environ)
    while True:
        uwsgi.websocket_send_binary(uwsgi.websocket_recv())


# -- websocket_handshake


@page
def handshake_0(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake))
    uwsgi.websocket_recv()


@page
def handshake_1(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake, environ["HTTP_SEC_WEBSOCKET_KEY"]))
    uwsgi.websocket_recv()


@page
def handshake_2(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake, environ["HTTP_SEC_WEBSOCKET_KEY"].encode(), b""))
    uwsgi.websocket_recv()


@page
def handshake_3(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake, "", "", "chat.v1"))
    uwsgi.websocket_recv()


@page
def handshake_bytes_proto(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake, b"", b"", b"chat.v1"))
    uwsgi.websocket_recv()


@page
def handshake_unoffered_proto(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake, "", "", "other"))
    uwsgi.websocket_recv()


@page
def handshake_wrong(environ, start_response):
    call = uwsgi.websocket_handshake
    note(
        environ,
        none=outcome(call, None),
        origin=outcome(call, "", None),
        number=outcome(call, 1),
        four=outcome(call, "", "", "", ""),
        keyword=outcome(call, key=""),
    )
    return plain(start_response)


@page
def handshake_twice(environ, start_response):
    handshake(environ)
    note(environ, second=outcome(uwsgi.websocket_handshake))
    uwsgi.websocket_send("first still works")
    uwsgi.websocket_recv()


@page
def handshake_after_start(environ, start_response):
    start_response("404 Never Sent", [("X-Thrown-Away", "yes")])
    handshake(environ)
    note(environ, late=outcome(start_response, "200 OK", []))
    uwsgi.websocket_recv()


@page
def handshake_after_body(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])(b"body")
    note(environ, result=outcome(uwsgi.websocket_handshake))
    return []


@page
def handshake_refused(environ, start_response):
    """As most apps are: the error is caught, and nothing is returned."""
    note(environ, result=outcome(uwsgi.websocket_handshake))
    return []


@page
def handshake_refused_none(environ, start_response):
    note(environ, result=outcome(uwsgi.websocket_handshake))


@page
def handshake_refused_raises(environ, start_response):
    uwsgi.websocket_handshake()


@page
def handshake_refused_answers(environ, start_response):
    outcome(uwsgi.websocket_handshake)
    start_response("418 Own Answer", [])
    return [b"own"]


# -- recv and send


@page
def before_handshake(environ, start_response):
    note(
        environ,
        recv=outcome(uwsgi.websocket_recv),
        recv_nb=outcome(uwsgi.websocket_recv_nb),
        send=outcome(uwsgi.websocket_send, "x"),
        send_binary=outcome(uwsgi.websocket_send_binary, "x"),
    )
    handshake(environ)
    uwsgi.websocket_send("works after all")


@page
def after_end(environ, start_response):
    """Receives until the first error, then tries everything again."""
    handshake(environ)
    while True:
        first = outcome(uwsgi.websocket_recv)
        if "raised" in first:
            break
    note(
        environ,
        first=first,
        recv=outcome(uwsgi.websocket_recv),
        recv_nb=outcome(uwsgi.websocket_recv_nb),
        send=outcome(uwsgi.websocket_send, "x"),
        send_binary=outcome(uwsgi.websocket_send_binary, b"x"),
        handshake=outcome(uwsgi.websocket_handshake),
    )
    return [b"never on the wire"]


@page
def types(environ, start_response):
    handshake(environ)
    while True:
        message = uwsgi.websocket_recv()
        uwsgi.websocket_send(f"{type(message).__name__} {message!r}")


@page
def recv_nb(environ, start_response):
    handshake(environ)
    nothing = outcome(uwsgi.websocket_recv_nb)
    uwsgi.websocket_send("go")
    first = uwsgi.websocket_recv()
    empty = uwsgi.websocket_recv()
    note(environ, nothing=nothing, first=repr(first), empty=repr(empty), again=outcome(uwsgi.websocket_recv_nb))


@page
def sends(environ, start_response):
    handshake(environ)
    results = [
        outcome(uwsgi.websocket_send, "text é"),
        outcome(uwsgi.websocket_send, b"bytes"),
        outcome(uwsgi.websocket_send, ""),
        outcome(uwsgi.websocket_send_binary, b"\x00\xff"),
        outcome(uwsgi.websocket_send_binary, "text é"),
        outcome(uwsgi.websocket_send, bytearray(b"array")),
        outcome(uwsgi.websocket_send_binary, memoryview(b"view")),
    ]
    note(environ, results=results)


@page
def sends_wrong(environ, start_response):
    handshake(environ)
    note(
        environ,
        none=outcome(uwsgi.websocket_send, None),
        number=outcome(uwsgi.websocket_send, 7),
        binary_none=outcome(uwsgi.websocket_send_binary, None),
        nothing=outcome(uwsgi.websocket_send),
        surrogate=outcome(uwsgi.websocket_send, "\ud800"),
        not_utf8=outcome(uwsgi.websocket_send, b"\xff\xfe"),
    )
    uwsgi.websocket_send("still usable")


@page
def sends_not_utf8(environ, start_response):
    handshake(environ)
    note(environ, result=outcome(uwsgi.websocket_send, b"\xff\xfe"))
    uwsgi.websocket_recv()


@page
def disconnects(environ, start_response):
    handshake(environ)
    uwsgi.websocket_recv()
    note(
        environ,
        disconnect=outcome(uwsgi.disconnect),
        recv=outcome(uwsgi.websocket_recv),
        recv_nb=outcome(uwsgi.websocket_recv_nb),
        send=outcome(uwsgi.websocket_send, "x"),
        again=outcome(uwsgi.disconnect),
    )


@page
def disconnects_http(environ, start_response):
    note(environ, disconnect=outcome(uwsgi.disconnect))
    return []


# -- request_context and "no current request"


@page
def context(environ, start_response):
    handshake(environ)
    mine = uwsgi.request_context()
    note(
        environ,
        kind=[type(mine).__module__, type(mine).__name__],
        none=outcome(uwsgi.websocket_recv, None),
        text=outcome(uwsgi.websocket_recv_nb, request_context="x"),
        send_none=outcome(uwsgi.websocket_send, "x", None),
        nb=outcome(uwsgi.websocket_recv_nb, request_context=mine),
    )
    uwsgi.websocket_send(message="by keyword", request_context=mine)
    uwsgi.websocket_send_binary(message=b"by keyword", request_context=mine)
    uwsgi.websocket_send(uwsgi.websocket_recv(request_context=mine), mine)


@page
def context_in_thread(environ, start_response):
    handshake(environ)
    mine = uwsgi.request_context()
    calls = {
        "send": (uwsgi.websocket_send, "from a thread"),
        "nb": (uwsgi.websocket_recv_nb,),
        "fd": (uwsgi.connection_fd,),
        "context": (uwsgi.request_context,),
    }
    found = {}

    def in_a_thread():
        found["thread"] = {name: type(call[0](*call[1:])).__name__ for name, call in calls.items()}

    def in_a_pool():
        found["pool"] = {name: outcome(*call) for name, call in calls.items()}
        found["pool"]["recv"] = outcome(uwsgi.websocket_recv)
        uwsgi.websocket_send("from a pool", request_context=mine)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(in_a_pool).result()
    note(environ, **found)
    uwsgi.websocket_recv()


@page
def context_in_greenlet(environ, start_response):
    """Another greenlet of this very thread, as apps start them."""
    handshake(environ)
    mine = uwsgi.request_context()
    results = {}

    def work():
        results["without"] = outcome(uwsgi.websocket_send, "x")
        results["nb"] = outcome(uwsgi.websocket_recv_nb)
        results["context"] = outcome(uwsgi.request_context)
        results["logvar"] = outcome(uwsgi.set_logvar, "a", "b")
        uwsgi.websocket_send("from a greenlet", request_context=mine)

    greenlet.greenlet(work).switch()
    note(environ, **results)
    uwsgi.websocket_recv()


@page
def context_kept(environ, start_response):
    handshake(environ)
    CONTEXTS["kept"] = uwsgi.request_context()


@page
def context_stale(environ, start_response):
    kept = CONTEXTS["kept"]
    note(
        environ,
        recv=outcome(uwsgi.websocket_recv, request_context=kept),
        recv_nb=outcome(uwsgi.websocket_recv_nb, request_context=kept),
        send=outcome(uwsgi.websocket_send, "x", request_context=kept),
        send_binary=outcome(uwsgi.websocket_send_binary, "x", request_context=kept),
    )
    return plain(start_response)


# -- connection_fd


def readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


@page
def fd(environ, start_response):
    handshake(environ)
    fd = uwsgi.connection_fd()
    note(
        environ,
        type=type(fd).__name__,
        same=uwsgi.connection_fd() == fd,
        is_socket=os.path.exists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"),
        connected=outcome(uwsgi.is_connected, fd),
        bad=outcome(uwsgi.is_connected, 99999),
        none=outcome(uwsgi.is_connected),
        writable=bool(select.select([], [fd], [], 0)[1]),
        readable=readable(fd),
    )
    uwsgi.websocket_recv()


@page
def fd_in_turn(environ, start_response):
    """Waits with `select` only, as apps do; two messages, then the end."""
    fd = uwsgi.connection_fd()  # before the handshake, as python-engineio has it
    uwsgi.websocket_handshake()
    steps = [readable(fd)]
    uwsgi.websocket_send("go")
    select.select([fd], [], [], 20)
    steps.append(readable(fd))
    steps.append(uwsgi.websocket_recv_nb().decode())
    steps.append(readable(fd))
    steps.append(uwsgi.websocket_recv_nb().decode())
    steps.append(readable(fd))
    steps.append(uwsgi.websocket_recv_nb().decode())
    uwsgi.websocket_send("close now")
    select.select([fd], [], [], 20)
    steps.append(readable(fd))
    steps.append(outcome(uwsgi.websocket_recv_nb)["text"])
    steps.append(readable(fd))
    note(environ, steps=steps)


@page
def fd_fragments(environ, start_response):
    """Half a message is nothing to receive."""
    handshake(environ)
    fd = uwsgi.connection_fd()
    uwsgi.websocket_send("half, please")
    first = (
        uwsgi.websocket_recv()
    )  # a whole message that came behind the fragment cannot be; a ping's answer says it is in
    note(environ, first=first.decode(), readable=readable(fd))


@page
def fd_eof(environ, start_response):
    handshake(environ)
    fd = uwsgi.connection_fd()
    uwsgi.websocket_send("go")
    select.select([fd], [], [], 20)
    note(environ, readable=readable(fd), recv_nb=outcome(uwsgi.websocket_recv_nb))


# -- results after the handshake


@page
def returns_list(environ, start_response):
    handshake(environ)
    return [b"never on the wire"]


@page
def returns_str(environ, start_response):
    handshake(environ)
    return ""


@page
def returns_bytes(environ, start_response):
    handshake(environ)
    return b"never on the wire"


@page
def returns_none(environ, start_response):
    handshake(environ)


@page
def returns_generator(environ, start_response):
    handshake(environ)

    def items():
        yield b"never on the wire"
        note(environ, ran=True)

    return items()


@page
def is_generator(environ, start_response):
    handshake(environ)
    uwsgi.websocket_send("inside")
    yield b"never on the wire"


# -- process information


@page
def information(environ, start_response):
    names = [
        "version", "version_info", "hostname", "loop", "opt", "numproc", "cores", "has_threads",
        "buffer_size", "started_on", "sockets", "magic_table", "applications", "unbit", "is_a_reload",
        "SPOOL_OK", "SPOOL_RETRY", "SPOOL_IGNORE",
    ]  # fmt: skip
    values = {name: outcome(getattr, uwsgi, name) for name in names}
    calls = ["worker_id", "mule_id", "masterpid", "request_id", "total_requests", "logsize", "micros", "cl",
             "mem"]  # fmt: skip
    for name in calls:
        values[name] = outcome(lambda name=name: getattr(uwsgi, name)())
    values["log"] = outcome(uwsgi.log, f"logged by the app {environ['QUERY_STRING']}")
    values["log_bytes"] = outcome(uwsgi.log, b"bytes")
    note(environ, core=repr(environ.get("uwsgi.core")), ppid=os.getppid(), opt_keys=sorted(uwsgi.opt), **values)
    return plain(start_response)


@page
def absent(environ, start_response):
    names = environ["QUERY_STRING"].split("&")[1].split(",")
    note(environ, present=[name for name in names if hasattr(uwsgi, name)])
    return plain(start_response)


@page
def reloads(environ, start_response):
    note(environ, result=outcome(uwsgi.reload), was=uwsgi.is_a_reload)
    return plain(start_response)


@page
def says_reload(environ, start_response):
    note(environ, was=uwsgi.is_a_reload)
    return plain(start_response)


@page
def stops(environ, start_response):
    note(environ, result=outcome(uwsgi.stop))
    return plain(start_response)


@page
def raw_socket_option(environ, start_response):
    handshake(environ)
    with socket.socket(fileno=os.dup(uwsgi.connection_fd())) as copy:
        note(environ, error=copy.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


# -- hooks


def after_request():
    os.write(2, b"hook: after_req_hook\n")


uwsgi.post_fork_hook = lambda: os.write(2, b"hook: post_fork_hook\n")
uwsgi.atexit = lambda: os.write(2, b"hook: atexit\n")
uwsgi.after_req_hook = after_request
