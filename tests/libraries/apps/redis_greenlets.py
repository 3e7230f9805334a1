"""A chat over Redis under gevent with two greenlets for each request: one waits for the WebSocket, one for Redis.

    REDIS_SOCKET=… fairlead --http 127.0.0.1:8080 --wsgi-file redis_greenlets.py --gevent 1000 --gevent-monkey-patch

The request's context, carried by hand, lets the second greenlet send to the first one's WebSocket.
"""

import gevent
import redis_rooms
import uwsgi


def application(environ, start_response):
    if redis_rooms.is_page(environ):
        return redis_rooms.page(start_response)
    uwsgi.websocket_handshake()
    room, name, database, channel = redis_rooms.enter(environ)
    visit = gevent.getcurrent()
    listener = gevent.spawn(pass_on, channel, uwsgi.request_context())
    # If Redis fails the listener, that ends the visit with the same error.
    listener.link_exception(lambda failed: gevent.kill(visit, failed.exception))
    try:
        while True:
            message = uwsgi.websocket_recv()
            database.publish(room, f"{name}: {message.decode()}")
    finally:
        listener.kill()
        redis_rooms.leave(room, name, database, channel)


def pass_on(channel, context):
    for message in channel.listen():
        uwsgi.websocket_send(redis_rooms.line_of(message), context)
