"""uWSGI's echo server, as its manual shows it: plain, synchronous WSGI.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/echo.py --async 1000 --greenlet

Open http://127.0.0.1:8080/ in a browser, or connect any WebSocket client to ws://127.0.0.1:8080/.
"""

import uwsgi

PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Fairlead echo</title>
<link rel="icon" href="data:,">
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem; }
  form { display: flex; gap: .5rem; }
  input { flex: 1; min-width: 0; font: inherit; padding: .5rem .7rem; }
  button { font: inherit; padding: .5rem 1rem; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .95rem; }
</style>
<h1>Echo</h1>
<form autocomplete="off"><input autofocus placeholder="Say something" aria-label="Message"><button>Send</button></form>
<pre role="log"></pre>
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
