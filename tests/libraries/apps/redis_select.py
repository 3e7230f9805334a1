"""A chat over Redis under gevent: each request waits for its WebSocket and for Redis in one `select`.

    REDIS_SOCKET=/run/redis/redis.sock fairlead --http 127.0.0.1:8080 --wsgi-file redis_select.py --gevent 1000

The manner of uWSGI's own example. With `--gevent-monkey-patch` Redis is also written to without stopping the others.
"""

import redis_rooms
import uwsgi
from gevent.select import select


def application(environ, start_response):
    if redis_rooms.is_page(environ):
        return redis_rooms.page(start_response)
    uwsgi.websocket_handshake()
    room, name, database, channel = redis_rooms.enter(environ)
    ws_fd, redis_fd = uwsgi.connection_fd(), channel.connection._sock.fileno()
    try:
        while True:
            ready, _, _ = select([ws_fd, redis_fd], [], [], redis_rooms.WAIT_S)
            if redis_fd in ready:
                for line in redis_rooms.lines(channel):
                    uwsgi.websocket_send(line)
            # Also when the time is over: this is where uWSGI sends its pings. Raises when the visitor has left.
            while message := uwsgi.websocket_recv_nb():
                database.publish(room, f"{name}: {message.decode()}")
    finally:
        redis_rooms.leave(room, name, database, channel)
