"""A page over https that says by which protocol it came, and by which its WebSocket did."""

from fairlead import websocket

PAGE = b"""<!doctype html><title>secure</title><pre></pre><script>
const told = document.querySelector("pre");
told.append(`page: ${performance.getEntriesByType("navigation")[0].nextHopProtocol}\\n`);
const socket = new WebSocket(`wss://${location.host}/ws`, ["chat.v1"]);
socket.onopen = () => { told.append(`subprotocol: ${socket.protocol}\\n`); socket.send("x".repeat(300000)); };
socket.onmessage = ({ data }) => told.append(data.length > 100 ? `echo: ${data.length}\\n` : `${data}\\n`);
socket.onclose = (event) => told.append(`closed: ${event.code} ${event.reason}\\n`);
</script>"""


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [PAGE]
    with websocket(environ, subprotocols=["chat.v1"]) as ws:
        ws.send(f"socket: {environ['SERVER_PROTOCOL']} {environ['wsgi.url_scheme']}")
        ws.send(ws.receive())
        ws.close(3456, "enough")
    return []
