"""A page over https that says by which protocol it came, and by which its WebSocket did; `/closing` is one that closes
its WebSockets while they are sent to, one after the other, and says how each has ended."""

from fairlead import ConnectionClosed, websocket

PAGE = b"""<!doctype html><title>secure</title><pre></pre><script>
const told = document.querySelector("pre");
told.append(`page: ${performance.getEntriesByType("navigation")[0].nextHopProtocol}\\n`);
const socket = new WebSocket(`wss://${location.host}/ws`, ["chat.v1"]);
socket.onopen = () => { told.append(`subprotocol: ${socket.protocol}\\n`); socket.send("x".repeat(300000)); };
socket.onmessage = ({ data }) => told.append(data.length > 100 ? `echo: ${data.length}\\n` : `${data}\\n`);
socket.onclose = (event) => told.append(`closed: ${event.code} ${event.reason}\\n`);
</script>"""

CLOSING = b"""<!doctype html><title>closing</title><pre></pre><script>
const told = document.querySelector("pre");
function next(left) {
  if (!left) { told.append("done\\n"); return; }
  const socket = new WebSocket(`wss://${location.host}/sends`);
  let heard = 0;
  socket.onmessage = () => { if (++heard === 3) socket.close(3456, "enough"); };
  socket.onclose = ({ code, reason, wasClean }) => { told.append(`${code} ${reason} ${wasClean}\\n`); next(left - 1); };
}
next(8);
</script>"""


def send_until_closed(environ):
    with websocket(environ) as ws:
        try:
            while True:
                ws.send("x" * 1_000_000)
        except ConnectionClosed:
            pass


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [CLOSING if environ["PATH_INFO"] == "/closing" else PAGE]
    if environ["PATH_INFO"] == "/sends":
        send_until_closed(environ)
        return []
    with websocket(environ, subprotocols=["chat.v1"]) as ws:
        ws.send(f"socket: {environ['SERVER_PROTOCOL']} {environ['wsgi.url_scheme']}")
        ws.send(ws.receive())
        ws.close(3456, "enough")
    return []
