"""Echo in uWSGI's generator style, for `--async N` alone: it waits by `yield`, then takes what is there."""

import uwsgi


def application(env, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in env:
        start_response("426 Upgrade Required", [("Content-Type", "text/plain"), ("Upgrade", "websocket")])
        yield b"this app speaks WebSocket only\n"
        return
    uwsgi.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env.get("HTTP_ORIGIN", ""))
    fd = uwsgi.connection_fd()
    try:
        while True:
            yield uwsgi.wait_fd_read(fd)
            while message := uwsgi.websocket_recv_nb():
                uwsgi.websocket_send_binary(message)
    except OSError:
        # How uWSGI's API reports that the peer is gone; an error log per connection would be measured too.
        return
