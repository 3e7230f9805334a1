"""The servers that take part, as recipes: the limit, Fairlead, and other people's servers from an
environment of their own (`.build/peers-venv`), so that nothing of theirs reaches the product's.
Each runs with one process and as its documentation says is fastest on one CPU; a peer that is not
installed is left out, never an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
WITH_REDIS = str(APPS / "with_redis.py")

#: uWSGI comes last: it is compiled against greenlet's headers.
PACKAGES = ("greenlet", "gevent", "granian", "picows", "redis", "uvicorn", "uvloop", "websockets")
INSTALL_S = 900


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
    app = HELLO_APP if workload.mode == "http" else str(APPS / workload.app)
    listen = ("--http-socket", "127.0.0.1:{port}")
    # As for the peers: no line per request.
    quiet = ("--disable-logging",)
    command = (interpreter, "-m", "fairlead", *listen, *quiet, "--wsgi-file", app, *workload.host_options)
    return Recipe("fairlead", "Fairlead", command)


def installed_peers(names: tuple[str, ...]) -> list[Recipe]:
    """The recipes of those peers that can run."""
    recipes = (_peer(name) for name in names)
    return [recipe for recipe in recipes if _can_run(recipe)]


def _can_run(recipe: Recipe) -> bool:
    words = recipe.command
    if WITH_REDIS in words and not shutil.which("redis-server"):
        return False
    program = words[words.index(WITH_REDIS) + 1] if WITH_REDIS in words else words[0]
    return Path(program).exists()


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
        "for name in ('granian', 'picows', 'uwsgi', 'uvicorn', 'redis', 'uvloop', 'greenlet', 'gevent'):\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    try:
        done = subprocess.run(
            [str(PEERS_VENV / "bin" / "python"), "-c", script],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}


def _peer(name: str) -> Recipe:
    programs = PEERS_VENV / "bin"
    if name == "picows":
        return Recipe(name, "picows", (str(programs / "python"), str(APPS / "echo_picows.py"), "{port}"))
    if name == "granian":
        one_core = ("--workers=1", "--runtime-threads=1", "--blocking-threads=1", "--no-ws", "--http=1")
        address = ("--host", "127.0.0.1", "--port", "{port}")
        command = (str(programs / "granian"), "--interface", "wsgi", *address, *one_core, "hello:application")
        return Recipe(name, "granian", command, {"PYTHONPATH": str(APPS)})
    if name == "uvicorn-redis":
        options = ("--port", "{port}", "--ws", "websockets-sansio", "--no-access-log", "--log-level", "warning")
        uvicorn = (str(programs / "uvicorn"), "--app-dir", str(APPS), *options, "fanout_asgi_redis:application")
        return Recipe(name, "uvicorn + Redis", (str(programs / "python"), WITH_REDIS, *uvicorn))
    app, options = {
        "uwsgi-redis": (str(APPS / "fanout_uwsgi_redis.py"), ("--gevent", "1000", "--gevent-monkey-patch")),
        "uwsgi-greenlet": (ECHO_APP, GREENLETS),
        "uwsgi-greenlet-idle": (ECHO_APP, GREENLETS_FOR_IDLE),
        "uwsgi-threads": (ECHO_APP, THREADS),
        "uwsgi-http": (HELLO_APP, ()),
    }[name]
    listen = ("--http-socket", "127.0.0.1:{port}", "--listen", str(_listen_queue()))
    quiet = ("--disable-logging", "--die-on-term", "--need-app")
    uwsgi = (str(programs / "uwsgi"), "--master", *listen, *quiet, "--wsgi-file", app, *options)
    if name == "uwsgi-redis":
        return Recipe(name, "uWSGI gevent + Redis", (str(programs / "python"), WITH_REDIS, *uwsgi))
    return Recipe(name, f"uWSGI {' '.join(options) or '--http-socket'}", uwsgi)


def _listen_queue() -> int:
    """uWSGI refuses to start with a longer queue than the kernel allows."""
    return min(1024, int(Path("/proc/sys/net/core/somaxconn").read_text()))


def _install_step(*command: str, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, env={**os.environ, **(environment or {})})
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"the peers could not be installed: {error}; run without --install-peers") from None
