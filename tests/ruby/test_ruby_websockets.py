"""The module UWSGI of compat §7.3: echo and chat as uWSGI's users write them, waits, errors and the end."""

from __future__ import annotations

import pytest
from ruby.conftest import EXAMPLES, MODELS, Start

ECHO = EXAMPLES / "echo.ru"


def test_each_message_comes_back_whatever_its_length(start: Start, model: tuple[str, ...]) -> None:
    with start(ECHO, *model).websocket() as client:
        for size in (0, 1, 125, 126, 65_535, 65_536, 300_000):
            client.send_text(b"x" * size)
            assert client.read_data().payload == b"x" * size
        client.close_in_order()


@pytest.mark.parametrize("options", [MODELS["threads"], MODELS["fibers"]], ids=["threads", "fibers"])
def test_clients_at_the_same_time_do_not_wait_for_each_other(start: Start, options: tuple[str, ...]) -> None:
    server = start(ECHO, *options)
    clients = [server.websocket() for _ in range(8)]
    for number, client in enumerate(reversed(clients)):
        client.send_text(str(number))
        assert client.read_data().payload == str(number).encode()
    for client in clients:
        client.close_in_order()


def test_a_handshake_is_accepted_with_a_nil_origin_and_with_an_origin_of_a_page(start: Start) -> None:
    server = start(ECHO)
    server.websocket().close_in_order()
    with server.websocket(headers=[("Origin", f"http://{server.host_header}")]) as client:
        client.close_in_order()


def test_an_exception_is_logged_with_its_backtrace_and_closes_with_1011(start: Start, model: tuple[str, ...]) -> None:
    server = start(
        """
        run lambda { |env|
          UWSGI.websocket_handshake
          raise ArgumentError, "this is no #{UWSGI.websocket_recv}"
        }
        """,
        *model,
    )
    with server.websocket() as client:
        client.send_text("number")
        assert client.read_close()[0] == 1011
    assert "(ArgumentError)" in server.wait_for_line(r" /: this is no number")
    server.wait_for_line(r"^    from .*config\.ru:4:in ")


def test_a_client_that_leaves_is_no_failure_and_ends_the_loop_by_the_usual_exception(
    start: Start, model: tuple[str, ...]
) -> None:
    server = start(
        """
        run lambda { |env|
          begin
            UWSGI.websocket_handshake
            loop { UWSGI.websocket_send(UWSGI.websocket_recv) }
          rescue => error
            UWSGI.log("ended by #{error.class}: #{error.message}")
            raise
          end
        }
        """,
        *model,
    )
    server.websocket().close_in_order()
    server.wait_for_line(r"^ended by RuntimeError: unable to receive websocket message$")
    assert server.terminate() == 0
    assert not [line for line in server.lines if "fairlead ruby" in line]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("UWSGI.websocket_handshake(1)", "TypeError: wrong argument type Integer (expected String)"),
        ("UWSGI.websocket_handshake(nil)", "TypeError: wrong argument type nil (expected String)"),
        ("UWSGI.websocket_handshake('', :origin)", "TypeError: wrong argument type Symbol (expected String)"),
        ("UWSGI.websocket_handshake", "RuntimeError: unable to complete websocket handshake"),
        ("UWSGI.websocket_recv", "RuntimeError: unable to receive websocket message"),
        ("UWSGI.websocket_recv_nb", "RuntimeError: unable to receive websocket message"),
        ("UWSGI.websocket_send('x')", "RuntimeError: unable to send websocket message"),
        ("UWSGI.websocket_send(nil)", "TypeError: wrong argument type nil (expected String)"),
        ("UWSGI.wait_fd_read(0)", "ArgumentError: wrong number of arguments (given 1, expected 2)"),
        ("UWSGI.wait_fd_read(987654, 1)", "RuntimeError: unable to add fd 987654 to the event queue"),
        ("UWSGI.wait_fd_write('x', 1)", "TypeError: no implicit conversion of String into Integer"),
        ("UWSGI.log(1)", "TypeError: wrong argument type Integer (expected String)"),
        (
            "Thread.new { Thread.current.report_on_exception = false; UWSGI.websocket_recv }.join",
            "RuntimeError: you can call uwsgi api function only from the main callable",
        ),
        ("UWSGI.websocket_send_binary('x')", "NoMethodError: undefined method `websocket_send_binary'"),
    ],
)
def test_a_wrong_call_raises_what_uwsgi_raises(start: Start, model: tuple[str, ...], call: str, error: str) -> None:
    server = start(
        f"""
        run lambda {{ |env|
          text = begin
            {call}
            "nothing was raised"
          rescue => error
            "#{{error.class}}: #{{error.message}}"
          end
          [200, {{}}, [text]]
        }}
        """,
        *model,
    )
    status, _, body = server.ask("GET /")
    if call != "UWSGI.websocket_handshake":
        assert body.decode().startswith(error)
    else:
        assert status in (200, 400, 426)
    assert server.ask("GET /again")[0] == status


def test_text_that_is_no_utf_8_is_refused_and_the_websocket_stays_usable(start: Start) -> None:
    server = start(
        """
        run lambda { |env|
          UWSGI.websocket_handshake
          begin
            UWSGI.websocket_send("\\xff")
          rescue => error
            UWSGI.websocket_send(error.message)
          end
        }
        """
    )
    with server.websocket() as client:
        assert client.read_data().payload == b"unable to send websocket message"
        assert client.read_close()[0] == 1000


def test_under_fibers_a_task_waits_for_descriptors_by_wait_fd_read_and_suspend(start: Start) -> None:
    server = start(
        """
        run lambda { |env|
          UWSGI.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env["HTTP_ORIGIN"])
          fd = UWSGI.connection_fd
          reader, writer = IO.pipe
          loop do
            UWSGI.wait_fd_read(fd, 30)
            UWSGI.wait_fd_read(reader.fileno, 0)
            UWSGI.suspend
            message = UWSGI.websocket_recv_nb
            writer.write(message.upcase) unless message.empty?
            piece = reader.read_nonblock(100, exception: false)
            UWSGI.websocket_send(piece) if piece.is_a?(String)
          end
        }
        """,
        *MODELS["fibers"],
    )
    clients = [server.websocket() for _ in range(3)]
    for client in clients * 2:
        client.send_text("hello")
        assert client.read_data().payload == b"HELLO"
    for client in clients:
        client.close_in_order()


def test_under_fibers_a_suspend_ends_by_its_time_out_while_others_go_on(start: Start) -> None:
    server = start(
        """
        run lambda { |env|
          UWSGI.async_sleep(1) if env["PATH_INFO"] == "/slow"
          began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
          3.times { UWSGI.suspend }
          [200, {}, [(Process.clock_gettime(Process::CLOCK_MONOTONIC) - began >= 0.9).to_s]]
        }
        """,
        *MODELS["fibers"],
    )
    with server.connect() as slow:
        slow.sendall(f"GET /slow HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n".encode())
        assert server.ask("GET /")[2] == b"false"
        assert b"true" in slow.recv(65_536)


def test_the_chat_sends_to_all_what_one_has_sent(start: Start) -> None:
    server = start(EXAMPLES / "chat.ru", *MODELS["threads"])
    clients = [server.websocket() for _ in range(3)]
    # A client is a member once its own message comes back.
    for index, client in enumerate(clients):
        client.send_text(f"I am {index}")
        while client.read_data().payload != f"I am {index}".encode():
            pass
    clients[1].send_text("to all")
    for client in clients:
        while client.read_data().payload != b"to all":
            pass
        client.close_in_order()


def test_a_stop_closes_websockets_with_1001_and_ends_with_0(start: Start, model: tuple[str, ...]) -> None:
    server = start(ECHO, *model)
    with server.websocket() as client:
        client.send_text("x")
        client.read_data()
        server.process.terminate()
        assert client.read_close()[0] == 1001
        client.send_close(1001)
        client.read_end()
    assert server.process.wait(60) == 0


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"replace": {"Sec-WebSocket-Key": "x"}}, 400),
        ({"replace": {"Sec-WebSocket-Version": "7"}}, 426),
        ({"headers": [("Origin", "http://other.example")]}, 403),
    ],
    ids=["key", "version", "origin"],
)
def test_a_client_whose_handshake_is_wrong_is_told_why_and_the_application_did_not_fail(
    start: Start, model: tuple[str, ...], how: dict[str, object], status: int
) -> None:
    server = start(ECHO, *model)
    assert server.answer_to_a_handshake(**how) == status
    server.wait_for_line("handshake refused")
    assert server.terminate() == 0
    assert not [line for line in server.lines if "fairlead ruby" in line]
