"""The rows of the bench and the bars they have to reach. The bars come from the project's issues 2 to 4,
"Speed and memory to reach"; they are ratios to the limit server, to Fairlead's own WebSocket or to
other servers in the same run, because absolute figures hold for one machine only. To add a row, add
it to `WORKLOADS`: nothing else lists them.
"""

from __future__ import annotations

from dataclasses import dataclass

IDLE_CONNECTIONS = 5000


@dataclass(frozen=True)
class Bars:
    """What a row has to reach; None where there is no bar."""

    rate_at_least: float | None = None
    cpu_at_most: float | None = None
    kib_per_connection_at_most: float | None = None
    #: The 99th percentile of the time on the way, against the limit's.
    p99_at_most: float | None = None
    #: Plain HTTP and the fronts are compared with other servers instead of the limit: with each of them, so with the
    #: best. The rate, and CPU per message.
    best_peer_at_least: float | None = None
    best_peer_cpu_at_most: float | None = None
    #: The rate against Fairlead's own WebSocket in clear, in the same rounds.
    own_rate_at_least: float | None = None

    @property
    def name_peers(self) -> bool:
        return self.best_peer_at_least is not None or self.best_peer_cpu_at_most is not None


@dataclass(frozen=True)
class Workload:
    """One row: which runner of Fairlead serves which app, and what the client does."""

    name: str
    title: str
    #: echo, connect, idle and fanout are modes of `load`; http is wrk, http2 is h2load.
    mode: str
    #: Which of Fairlead's runners is measured, and its size.
    runner_options: tuple[str, ...]
    bars: Bars
    connections: int = 64
    size: int = 64
    in_flight: int = 1
    #: The app in benches/apps; plain HTTP has one of its own.
    app: str = "echo_uwsgi.py"
    #: Names of the peers that `--peers` adds; those that a bar names take part whenever they are installed.
    peers: tuple[str, ...] = ()
    #: How Fairlead is asked: a key of `peers.FRONTS`.
    front: str = "http"
    #: HTTP/2: connections that share the streams.
    sessions: int = 1

    @property
    def is_websocket(self) -> bool:
        return self.mode not in ("http", "http2")

    @property
    def has_limit(self) -> bool:
        """The limit server speaks HTTP/1.1 in clear."""
        return self.front == "http" and self.mode != "http2"


# A slot per connection and room to spare: a full server would answer late and be measured for that.
GREENLETS = ("--async", "2000", "--greenlet")
GREENLETS_FOR_IDLE = ("--async", str(IDLE_CONNECTIONS + 1000), "--greenlet")
THREADS = ("--threads", "64")

#: The concurrency models that are measured by the same three loads: how each is chosen, its app, and its bars
#: (rate and CPU per message) for 64 connections, 1,000 connections and 16 in flight.
MODELS = (
    ("gevent", ("--gevent", "2000"), "echo_uwsgi.py", ((0.60, 1.7), (0.60, 1.7), (0.40, 2.5))),
    ("generators", ("--async", "2000"), "echo_generator.py", ((0.65, 1.6), (0.65, 1.6), (0.35, 3.0))),
    ("asyncio", ("--asyncio", "2000"), "echo_async.py", ((0.55, 1.9), (0.55, 1.9), (0.35, 3.0))),
)
LOADS = (
    ("64", "64 connections, 1 in flight", 64, 1),
    ("1000", "1,000 connections, 1 in flight", 1000, 1),
    ("in-flight", "64 connections, 16 in flight", 64, 16),
)

ECHO_PEERS = ("picows", "uwsgi-greenlet")
FANOUT_PEERS = ("uwsgi-redis", "uvicorn-redis")
HTTP_PEERS = ("granian", "uwsgi-http")
HTTP2_PEERS = ("granian-http2", "hypercorn-http2")
WSS_PEERS = ("uvicorn-wss", "granian-wss", "hypercorn-wss", "uwsgi-wss")

#: The two loads of every front: messages of 64 B, where calls count, and of 64 KiB, where bytes do.
FRONT_LOADS = (("64", "echo 64 B, 64 connections", 64, 64), ("64k", "echo 64 KiB, 16 connections", 16, 65536))
#: By front: what it is, and its bars and peers for either load.
FRONTS = (
    (
        "wss",
        "wss (TLS 1.3)",
        (Bars(own_rate_at_least=0.70, best_peer_at_least=1.3), Bars(best_peer_at_least=1.2)),
        WSS_PEERS,
    ),
    (
        "uwsgi",
        "behind a packet of the uwsgi protocol",
        (Bars(own_rate_at_least=0.95), Bars(own_rate_at_least=0.95)),
        (),
    ),
    (
        "route-uwsgi",
        "proxied by the uwsgi protocol",
        (Bars(best_peer_cpu_at_most=1.0), Bars(best_peer_cpu_at_most=1.0)),
        ("nginx-uwsgi", "haproxy"),
    ),
    (
        "route-http",
        "proxied by HTTP/1.1",
        (Bars(best_peer_cpu_at_most=1.0), Bars(best_peer_cpu_at_most=1.0)),
        ("nginx-http", "haproxy"),
    ),
)

WORKLOADS = (
    Workload(
        "echo-64",
        "echo 64 B, 64 connections, 1 in flight",
        "echo",
        GREENLETS,
        Bars(0.80, 1.30),
        peers=ECHO_PEERS,
    ),
    Workload(
        "echo-1000",
        "echo 64 B, 1,000 connections, 1 in flight",
        "echo",
        GREENLETS,
        Bars(0.85, 1.25),
        connections=1000,
        peers=ECHO_PEERS,
    ),
    Workload(
        "echo-in-flight",
        "echo 64 B, 64 connections, 16 in flight",
        "echo",
        GREENLETS,
        Bars(0.65, 1.60),
        in_flight=16,
        peers=ECHO_PEERS,
    ),
    Workload(
        "echo-64k",
        "echo 64 KiB, 16 connections, 1 in flight",
        "echo",
        GREENLETS,
        Bars(0.80, 1.30),
        connections=16,
        size=65536,
        peers=ECHO_PEERS,
    ),
    Workload(
        "handshakes",
        "handshakes (connect, upgrade, close), 64 at a time",
        "connect",
        GREENLETS,
        Bars(0.65, 2.3),
        peers=ECHO_PEERS,
    ),
    Workload(
        "idle",
        "memory per idle connection (5,000)",
        "idle",
        GREENLETS_FOR_IDLE,
        Bars(kib_per_connection_at_most=14),
        connections=IDLE_CONNECTIONS,
        peers=("picows", "uwsgi-greenlet-idle"),
    ),
    Workload(
        "threads-64",
        "threads runner: echo 64 B, 64 connections, 1 in flight",
        "echo",
        THREADS,
        Bars(0.60, 1.8),
        peers=("uwsgi-threads",),
    ),
    Workload(
        "threads-in-flight",
        "threads runner: echo 64 B, 64 connections, 16 in flight",
        "echo",
        THREADS,
        Bars(rate_at_least=0.40),
        in_flight=16,
        peers=("uwsgi-threads",),
    ),
    Workload(
        "hello",
        "plain WSGI hello, HTTP/1.1 keep-alive, wrk -c 64, greenlet runner",
        "http",
        GREENLETS,
        Bars(best_peer_at_least=1.0),
        peers=HTTP_PEERS,
    ),
    Workload(
        "hello-threads",
        "plain WSGI hello, HTTP/1.1 keep-alive, wrk -c 64, threads runner",
        "http",
        ("--threads", "4"),
        Bars(best_peer_at_least=1.0),
        peers=HTTP_PEERS,
    ),
    Workload(
        "hello-http2",
        "plain WSGI hello, HTTP/2 with prior knowledge, 64 streams on 4 connections, h2load, greenlet runner",
        "http2",
        GREENLETS,
        Bars(best_peer_at_least=1.0),
        sessions=4,
        peers=HTTP2_PEERS,
    ),
    *(
        Workload(
            f"{front}-{load}",
            f"{what}: {title}",
            "echo",
            GREENLETS,
            bars,
            connections=connections,
            size=size,
            peers=peers,
            front=front,
        )
        for front, what, by_load, peers in FRONTS
        for (load, title, connections, size), bars in zip(FRONT_LOADS, by_load)
    ),
    *(
        Workload(
            name,
            f"WebSockets inside HTTP/2, {how}: echo 64 B, 64 streams on 4 connections",
            "echo",
            GREENLETS,
            Bars(best_peer_at_least=2.0),
            peers=(f"hypercorn-{name}",),
            front=name,
            sessions=4,
        )
        for name, how in (("h2", "prior knowledge"), ("h2-tls", "TLS 1.3"))
    ),
    # One client publishes, and a message goes when the one before has reached everybody: a delivery is a message here.
    Workload(
        "fanout-500",
        "channel: 64 B from 1 publisher to 500 subscribers, 1 process",
        "fanout",
        GREENLETS,
        Bars(0.95, 1.15, p99_at_most=1.2),
        connections=500,
        app="fanout.py",
        peers=FANOUT_PEERS,
    ),
    Workload(
        "fanout-5000",
        "channel: the same to 5,000 subscribers",
        "fanout",
        ("--async", "6000", "--greenlet"),
        Bars(cpu_at_most=1.15),
        connections=5000,
        app="fanout.py",
    ),
    # On one CPU, as all rows: what a second process costs, not what it gains. 1.15 of the row with one process.
    Workload(
        "fanout-two",
        "channel: the same to 500 subscribers of 2 processes",
        "fanout",
        (*GREENLETS, "--processes", "2"),
        Bars(cpu_at_most=1.32),
        connections=500,
        app="fanout.py",
    ),
    *(
        Workload(
            f"{model}-{load}",
            f"{model} runner: echo 64 B, {title}",
            "echo",
            options,
            Bars(*bars),
            connections=connections,
            in_flight=in_flight,
            app=app,
        )
        for model, options, app, by_load in MODELS
        for (load, title, connections, in_flight), bars in zip(LOADS, by_load)
    ),
)
