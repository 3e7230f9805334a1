"""Echo on picows, the fastest Python WebSocket server we know of: a peer for comparison, started by
run.py from the peers' environment. Callbacks in Cython over uvloop, as its own documentation
recommends. Usage: echo_picows.py PORT.
"""

import asyncio
import sys

import uvloop
from picows import WSCloseCode, WSListener, WSMsgType, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code() or WSCloseCode.OK, frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin)


async def serve(port):
    server = await ws_create_server(lambda request: Echo(), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
