"""Echo on uWSGI's plain API: the app of every WebSocket row of the bench. The same file runs under
Fairlead and under uWSGI, so both are asked for the same work; it does nothing but receive and send.
A request that is no handshake gets a 426, so that a wrong client fails at once.
"""

import uwsgi


def application(env, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in env:
        start_response("426 Upgrade Required", [("Content-Type", "text/plain"), ("Upgrade", "websocket")])
        return [b"this app speaks WebSocket only\n"]
    uwsgi.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env.get("HTTP_ORIGIN", ""))
    try:
        while True:
            uwsgi.websocket_send_binary(uwsgi.websocket_recv())
    except OSError:
        # How uWSGI's API reports that the peer is gone; an error log per connection would be measured too.
        return []
