"""A chat over Redis in greenlets without gevent: `wait_fd_read` for both descriptors, then `suspend`.

    REDIS_SOCKET=… fairlead --http 127.0.0.1:8080 --wsgi-file redis_suspend.py --async 1000 --greenlet

The manner of uWSGI's own example. Only the waiting is shared: what is written to Redis stops the worker for that long.
"""

import redis_rooms
import uwsgi


def application(environ, start_response):
    if redis_rooms.is_page(environ):
        return redis_rooms.page(start_response)
    uwsgi.websocket_handshake()
    room, name, database, channel = redis_rooms.enter(environ)
    ws_fd, redis_fd = uwsgi.connection_fd(), channel.connection._sock.fileno()
    try:
        while True:
            uwsgi.wait_fd_read(ws_fd, redis_rooms.WAIT_S)
            uwsgi.wait_fd_read(redis_fd)
            uwsgi.suspend()
            if uwsgi.ready_fd() == redis_fd:
                for line in redis_rooms.lines(channel):
                    uwsgi.websocket_send(line)
            # Also when the time is over: this is where uWSGI sends its pings. Raises when the visitor has left.
            while message := uwsgi.websocket_recv_nb():
                database.publish(room, f"{name}: {message.decode()}")
    finally:
        redis_rooms.leave(room, name, database, channel)
