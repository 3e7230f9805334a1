"""The servers that take part, as recipes: the limit, Fairlead, and other people's servers from an
environment of their own (`.build/peers-venv`), so that nothing of theirs reaches the product's.
Each runs with one process and as its documentation says is fastest on one CPU; a peer that is not
installed is left out, never an error.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from .machine import REPOSITORY, BenchError
from .servers import Recipe
from .workloads import GREENLETS, GREENLETS_FOR_IDLE, THREADS, Workload

BUILD = REPOSITORY / ".build"
APPS = REPOSITORY / "benches" / "apps"
LOAD_CRATE = REPOSITORY / "benches" / "load"
PROGRAMS = BUILD / "bench" / "release"
PEERS_VENV = BUILD / "peers-venv"
ECHO_APP = str(APPS / "echo_uwsgi.py")
HELLO_APP = str(APPS / "hello.py")
CERTIFICATE = BUILD / "bench-tls" / "site.crt"
KEY = BUILD / "bench-tls" / "site.key"
WITH_REDIS = str(APPS / "with_redis.py")

#: uWSGI comes last: it is compiled against greenlet's headers.
PACKAGES = (
    *("greenlet", "gevent", "granian", "picows", "redis"),
    *("uvicorn", "uvloop", "httptools", "websockets", "hypercorn", "wsproto"),
)
INSTALL_S = 900
#: A certificate of the bench is good for 30 days, and made anew before that.
CERTIFICATE_S = 20 * 86400
LOOPBACK = "127.0.0.1:{port}"
#: Where Debian keeps servers, which an ordinary user's PATH does not name.
SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
FANOUT_ASGI = "fanout_asgi_redis:application"
#: The fastest of its three WebSocket implementations for either size of message.
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio")
NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {
        listen 127.0.0.1:{port};
        location / {
LOCATION
        }
    }
}
"""
NGINX_HTTP = """\
            proxy_pass http://127.0.0.1:{backend};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header Host $host;"""
NGINX_UWSGI = """\
            include /etc/nginx/uwsgi_params;
            uwsgi_pass 127.0.0.1:{backend};"""
HAPROXY = """\
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one 127.0.0.1:{backend}
"""
TLS = ("--tls",)
HTTP2 = ("--protocol", "http2")
#: How Fairlead listens for each front, and what the client has to know.
FRONTS = {
    "http": (("--http-socket", LOOPBACK), ()),
    "wss": (("--https-socket", f"{LOOPBACK},{CERTIFICATE},{KEY}"), TLS),
    "uwsgi": (("--socket", LOOPBACK), ("--protocol", "uwsgi")),
    "h2": (("--http-socket", LOOPBACK), HTTP2),
    "h2-tls": (("--https-socket", f"{LOOPBACK},{CERTIFICATE},{KEY}"), (*HTTP2, *TLS)),
    "route-uwsgi": (("--http-socket", LOOPBACK, "--route", "^/ uwsgi:127.0.0.1:{backend},0,0"), ()),
    "route-http": (("--http-socket", LOOPBACK, "--route", "^/ http:127.0.0.1:{backend}"), ()),
}


def build_programs() -> None:
    """Compiles `limit` and `load`; seconds when nothing has changed."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(BUILD / "bench")]
    try:
        # From the crate's folder, because cargo looks for its .cargo/config.toml there.
        subprocess.run(command, cwd=LOAD_CRATE, check=True, timeout=600)
    except FileNotFoundError:
        raise BenchError("cargo was not found; install Rust (https://rustup.rs) to build the load generator") from None
    except subprocess.CalledProcessError:
        raise BenchError("the load generator in benches/load could not be compiled, see above") from None


def limit() -> Recipe:
    return Recipe("limit", "limit", (str(PROGRAMS / "limit"), "--port", "{port}"))


def fairlead(workload: Workload, interpreter: str) -> Recipe:
    app = str(APPS / workload.app) if workload.is_websocket else HELLO_APP
    listen, client = FRONTS[workload.front]
    serve = ("--wsgi-file", app, *workload.runner_options)
    command = _fairlead(interpreter, *listen, *serve)
    return Recipe("fairlead", "Fairlead", command, client=client, backend=_backend(workload.front, interpreter))


def before(workload: Workload, interpreter: str) -> Recipe:
    """The same of another checkout, by its Python: what a change costs shows best within a round."""
    return replace(fairlead(workload, interpreter), name="before", label="Fairlead before")


def checkout_of(interpreter: str) -> Path:
    """The checkout whose `.venv` it is, or the folder that it lies in."""
    path = Path(interpreter).absolute()
    return next((folder.parent for folder in path.parents if folder.name == ".venv"), path.parent)


def own_websocket(workload: Workload, interpreter: str) -> list[Recipe]:
    """Fairlead without the front, where a bar compares the two."""
    if workload.bars.own_rate_at_least is None:
        return []
    plain = replace(workload, front="http")
    return [replace(fairlead(plain, interpreter), name="own", label="Fairlead, ws")]


def _fairlead(interpreter: str, *options: str) -> tuple[str, ...]:
    # As for the peers: no line per request, and none per WebSocket, which once were one option.
    quiet = [option for option in ("--disable-logging", "--disable-session-logging") if option in _help_of(interpreter)]
    return (interpreter, "-m", "fairlead", *quiet, *options)


@functools.cache
def _help_of(interpreter: str) -> str:
    """What that checkout's command says of its options; an earlier one has fewer."""
    try:
        asked = subprocess.run([interpreter, "-m", "fairlead", "--help"], capture_output=True, text=True, timeout=30)
    except OSError:
        return ""  # the start of the server will say so
    return asked.stdout


def _backend(front: str, interpreter: str) -> tuple[str, ...]:
    """The Fairlead that answers behind each proxy."""
    if not front.startswith("route-"):
        return ()
    listen = "--socket" if front == "route-uwsgi" else "--http-socket"
    return _fairlead(interpreter, listen, LOOPBACK, "--wsgi-file", ECHO_APP, *GREENLETS)


def make_certificate() -> None:
    """A certificate that signs itself; nobody checks it."""
    if KEY.exists() and CERTIFICATE.exists() and time.time() - CERTIFICATE.stat().st_mtime < CERTIFICATE_S:
        return
    CERTIFICATE.parent.mkdir(parents=True, exist_ok=True)
    ecdsa = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    files = ("-keyout", str(KEY), "-out", str(CERTIFICATE))
    command = ("openssl", "req", "-x509", "-days", "30", *ecdsa, *names, *files)
    try:
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    except FileNotFoundError:
        raise BenchError("openssl was not found, which makes the certificate (Debian: apt install openssl)") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"openssl could not make a certificate: {error.stderr.decode(errors='replace')}") from None


def installed_peers(workload: Workload, interpreter: str) -> list[Recipe]:
    """The recipes of those peers that can run; a proxy stands before the same backend as Fairlead's, except that
    HAProxy speaks HTTP to it in either row."""
    fronts = {name: "route-http" if name == "haproxy" else workload.front for name in workload.peers}
    recipes = (replace(_peer(name), backend=_backend(front, interpreter)) for name, front in fronts.items())
    return [recipe for recipe in recipes if _can_run(recipe)]


def _can_run(recipe: Recipe) -> bool:
    words = recipe.command
    if WITH_REDIS in words and not shutil.which("redis-server"):
        return False
    program = words[words.index(WITH_REDIS) + 1] if WITH_REDIS in words else words[0]
    return Path(program).exists() or shutil.which(program, path=SYSTEM_PATH) is not None


def install() -> None:
    """Sets up the peers' environment with pip; nothing to do when it is complete."""
    python = str(PEERS_VENV / "bin" / "python")
    if not Path(python).exists():
        _install_step(sys.executable, "-m", "venv", str(PEERS_VENV))
    _install_step(python, "-m", "pip", "install", "--quiet", *PACKAGES)
    if not (PEERS_VENV / "bin" / "uwsgi").exists():
        # What pip builds by default has the plugin for gevent, and lacks the one for greenlets.
        script = "import greenlet, pathlib; print(pathlib.Path(greenlet.__file__).parents[1])"
        headers = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        include = headers.stdout.strip()
        build = {"UWSGI_EMBED_PLUGINS": "greenlet", "CFLAGS": f"-I{include} -I{include}/greenlet"}
        source = ("--no-binary", "uwsgi", "--no-cache-dir")
        _install_step(python, "-m", "pip", "install", "--quiet", *source, "uwsgi", environment=build)


def versions() -> dict[str, str]:
    """The installed versions of the peers."""
    script = (
        "import importlib.metadata as m\n"
        "for name in ('granian', 'picows', 'uwsgi', 'uvicorn', 'hypercorn', 'redis', 'uvloop', 'websockets',\n"
        "             'wsproto', 'greenlet', 'gevent'):\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    packages = _said(str(PEERS_VENV / "bin" / "python"), "-c", script)
    found = {line.split()[0]: line.split()[1] for line in packages.splitlines()}
    for program, option in (("nginx", "-v"), ("haproxy", "-v"), ("h2load", "--version")):
        path = shutil.which(program, path=SYSTEM_PATH)
        version = re.search(r"\d+\.\d+\.\d+", _said(path, option)) if path else None
        if version:
            found[program] = version[0]
    return found


def _said(*command: str) -> str:
    """Both outputs, because nginx tells its version on the second; nothing when it cannot be run."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _peer(name: str) -> Recipe:
    if name.startswith(("nginx", "haproxy")):
        return _proxy(name)
    if name.startswith("uwsgi"):
        return _uwsgi(name)
    python, granian, uvicorn, hypercorn = (
        str(PEERS_VENV / "bin" / program) for program in ("python", "granian", "uvicorn", "hypercorn")
    )
    apps = {"PYTHONPATH": str(APPS)}
    address = ("--host", "127.0.0.1", "--port", "{port}")
    granian_tls = ("--ssl-certificate", str(CERTIFICATE), "--ssl-keyfile", str(KEY))
    tls = ("--keyfile", str(KEY), "--certfile", str(CERTIFICATE))
    uvicorn_tls = ("--ssl-keyfile", str(KEY), "--ssl-certfile", str(CERTIFICATE))
    one_core = ("--workers=1", "--runtime-threads=1", "--blocking-threads=1")
    quiet = ("--no-access-log", "--log-level", "warning")
    hello, echo = "hello:application", "echo_asgi:application"
    # Without TLS it speaks HTTP/2 to whoever begins with it.
    on_uvloop = ("--workers", "1", "--worker-class", "uvloop", "--log-level", "warning", "--bind", LOOPBACK)
    recipes = {
        "picows": Recipe(name, "picows", (python, str(APPS / "echo_picows.py"), "{port}")),
        "granian": Recipe(
            name, "granian", (granian, "--interface", "wsgi", *address, *one_core, "--no-ws", "--http=1", hello), apps
        ),
        "granian-http2": Recipe(
            name,
            "granian --http 2",
            (granian, "--interface", "wsgi", *address, *one_core, "--no-ws", "--http=2", hello),
            apps,
        ),
        "granian-wss": Recipe(
            name,
            "granian, ASGI, wss",
            (granian, "--interface", "asgi", *address, *one_core[:2], "--loop=uvloop", "--http=1", *granian_tls, echo),
            apps,
            TLS,
        ),
        "uvicorn-redis": Recipe(
            name,
            "uvicorn + Redis",
            (python, WITH_REDIS, uvicorn, "--app-dir", str(APPS), *address, *UVICORN, *quiet, FANOUT_ASGI),
        ),
        "uvicorn-wss": Recipe(
            name,
            "uvicorn, wss",
            (uvicorn, "--app-dir", str(APPS), *address, *UVICORN, *quiet, *uvicorn_tls, echo),
            {},
            TLS,
        ),
        "hypercorn-wss": Recipe(name, "hypercorn, wss", (hypercorn, *on_uvloop, *tls, echo), apps, TLS),
        "hypercorn-http2": Recipe(name, "hypercorn, HTTP/2", (hypercorn, *on_uvloop, f"wsgi:{hello}"), apps),
        "hypercorn-h2": Recipe(name, "hypercorn, HTTP/2", (hypercorn, *on_uvloop, echo), apps, HTTP2),
        "hypercorn-h2-tls": Recipe(
            name, "hypercorn, HTTP/2, TLS", (hypercorn, *on_uvloop, *tls, echo), apps, HTTP2 + TLS
        ),
    }
    return recipes[name]


def _uwsgi(name: str) -> Recipe:
    programs = PEERS_VENV / "bin"
    app, options = {
        "uwsgi-redis": (str(APPS / "fanout_uwsgi_redis.py"), ("--gevent", "1000", "--gevent-monkey-patch")),
        "uwsgi-greenlet": (ECHO_APP, GREENLETS),
        "uwsgi-greenlet-idle": (ECHO_APP, GREENLETS_FOR_IDLE),
        "uwsgi-threads": (ECHO_APP, THREADS),
        "uwsgi-wss": (ECHO_APP, GREENLETS),
        "uwsgi-http": (HELLO_APP, ()),
    }[name]
    quiet = ("--disable-logging", "--die-on-term", "--need-app")
    listen: tuple[str, ...] = ("--http-socket", LOOPBACK)
    if name == "uwsgi-wss":
        listen = ("--https", f"{LOOPBACK},{CERTIFICATE},{KEY}", "--http-websockets")
    listen += ("--listen", str(_listen_queue()))
    uwsgi = (str(programs / "uwsgi"), "--master", *listen, *quiet, "--wsgi-file", app, *options)
    if name == "uwsgi-redis":
        return Recipe(name, "uWSGI gevent + Redis", (str(programs / "python"), WITH_REDIS, *uwsgi))
    if name == "uwsgi-wss":
        return Recipe(name, f"uWSGI --https {' '.join(options)}", uwsgi, client=TLS)
    return Recipe(name, f"uWSGI {' '.join(options) or '--http-socket'}", uwsgi)


def _proxy(name: str) -> Recipe:
    """Debian's proxies with one process, or thread, and no log line per connection; else as
    docs/howto/behind-a-proxy.md configures them."""
    nginx, haproxy = (shutil.which(program, path=SYSTEM_PATH) or program for program in ("nginx", "haproxy"))
    if name == "haproxy":
        return Recipe(name, "HAProxy", (haproxy, "-db", "-f", "{folder}/haproxy.cfg"), files={"haproxy.cfg": HAPROXY})
    by_uwsgi = name == "nginx-uwsgi"
    location = NGINX_UWSGI if by_uwsgi else NGINX_HTTP
    label = f"nginx, {'uwsgi_pass' if by_uwsgi else 'proxy_pass'}"
    command = (nginx, "-p", "{folder}", "-e", "stderr", "-c", "{folder}/nginx.conf")
    return Recipe(name, label, command, files={"nginx.conf": NGINX.replace("LOCATION", location)})


def _listen_queue() -> int:
    """uWSGI refuses to start with a longer queue than the kernel allows."""
    return min(1024, int(Path("/proc/sys/net/core/somaxconn").read_text()))


def _install_step(*command: str, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, env={**os.environ, **(environment or {})})
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"the peers could not be installed: {error}; run without --install-peers") from None
