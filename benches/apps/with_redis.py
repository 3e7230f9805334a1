"""Runs Debian's redis-server beside another program: `with_redis.py COMMAND…`. The program finds it by REDIS_SOCKET,
and both end when this is told to.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
    path = os.path.join(folder, "socket")
    options = ("--port", "0", "--unixsocket", path, "--save", "", "--dir", folder, "--maxclients", "10000")
    redis = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    while not os.path.exists(path) and redis.poll() is None:
        time.sleep(0.01)
    server = subprocess.Popen(sys.argv[1:], env={**os.environ, "REDIS_SOCKET": path})
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    status = server.wait()
    redis.terminate()
    redis.wait()
sys.exit(status)
