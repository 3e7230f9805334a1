"""Fan-out the usual way under uWSGI: gevent, and for each subscriber a subscription to Redis; /pub to all of /sub."""

import os

import gevent.select
import redis
import uwsgi

CHANNEL = "bench"


def application(env, start_response):
    uwsgi.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env.get("HTTP_ORIGIN", ""))
    client = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])
    if env["PATH_INFO"] != "/sub":
        while True:
            client.publish(CHANNEL, uwsgi.websocket_recv())
    messages = client.pubsub(ignore_subscribe_messages=True)
    messages.subscribe(CHANNEL)
    peer, server = uwsgi.connection_fd(), messages.connection._sock.fileno()
    while True:
        ready, _, _ = gevent.select.select([peer, server], [], [], 4.0)
        if server in ready:
            while message := messages.get_message():
                uwsgi.websocket_send_binary(message["data"])
        # Whatever came: it answers pings and finds the dead.
        uwsgi.websocket_recv_nb()
