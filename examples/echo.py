"""uWSGI's echo server, as its manual shows it: plain, synchronous WSGI.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/echo.py --async 1000 --greenlet

Open http://127.0.0.1:8080/ in a browser, or connect any WebSocket client to ws://127.0.0.1:8080/.
"""

import uwsgi

PAGE = b"""<!doctype html><meta charset="utf-8"><title>echo</title>
<form><input autofocus placeholder="say something"><button>send</button></form><pre></pre>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws"));
const show = (line) => document.querySelector("pre").textContent += line + "\\n";
socket.onopen = () => show("connected");
socket.onmessage = (event) => show("echo: " + event.data);
socket.onclose = (event) => show("closed with " + event.code);
document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  const input = document.querySelector("input");
  socket.send(input.value);
  input.value = "";
};
</script>
"""


def application(env, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in env:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [PAGE]
    # complete the handshake
    uwsgi.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env.get("HTTP_ORIGIN", ""))
    while True:
        msg = uwsgi.websocket_recv()
        uwsgi.websocket_send(msg)
