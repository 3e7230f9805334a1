"""Records which lines of the package `fairlead` run, in every process of an environment, even in one that is killed.

`make coverage` copies this file into the site-packages of its own environment, with a .pth file that imports it, so it
runs at the start of each interpreter: of pytest, of a master, of its workers, of whatever a test starts. A line is
noted once per process, at its first run (PEP 669, Python 3.12), by one byte in a file that all processes share: byte N
of `data/GROUP/lines/apps+wsgi.py` stands for line N of `apps/wsgi.py`. Nothing is kept to be written at the end, no
descriptor stays open, and no module is imported that is not there anyway, because tests kill processes, count
descriptors and look at what was imported.

A group is what one runner did, or `rust` (`cargo test`), or `other`. A server's own command line tells it, and its
workers inherit it. The engine's counters go beside the lines.
"""

import os
import posix  # what gevent and the tests replace in `os` must not lead through here
import sys

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
PACKAGE = os.path.join(sys.prefix, "lib", VERSION, "site-packages", "fairlead", "")
DATA = os.path.join(os.path.dirname(sys.prefix), "data")

#: An option that chooses a runner, and the runner; the first that a command line has counts.
RUNNERS = (
    ("--gevent", "gevent"),
    ("--asyncio", "asyncio"),
    ("--greenlet", "greenlets"),
    ("--async", "generators"),
    ("--threads", "threads"),
)

_folder = ""
_opened: set[str] = set()


def _line_runs(code, number, _open=posix.open, _pwrite=posix.pwrite, _close=posix.close):  # type: ignore[no-untyped-def]
    name = code.co_filename
    if name.startswith(PACKAGE):
        path = _folder + name[len(PACKAGE) :].replace("/", "+")
        try:
            file = _open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC, 0o666)
        except OSError:  # no descriptor left, say: the next time then
            return None
        try:
            _pwrite(file, b"\1", number)
            if path not in _opened:
                _opened.add(path)
                posix.fchmod(file, 0o666)  # for processes that become another user
        except OSError:
            pass
        finally:
            _close(file)
    return sys.monitoring.DISABLE


def _group() -> str:
    words = sys.orig_argv
    if "fairlead" in words or any(word.endswith("/fairlead") for word in words):
        for option, runner in RUNNERS:
            if option in words:
                return runner
    return os.environ.get("COVERAGE_GROUP", "other")


def _start() -> None:
    global _folder
    group = os.environ["COVERAGE_GROUP"] = _group()
    # %m: one file for each binary. %c: the file is the memory of its counters.
    os.environ["LLVM_PROFILE_FILE"] = os.path.join(DATA, group, "%m%c.profraw")
    _folder = os.path.join(DATA, group, "lines", "")
    try:
        os.makedirs(_folder, exist_ok=True)
    except OSError:
        return
    monitoring = sys.monitoring
    monitoring.use_tool_id(monitoring.COVERAGE_ID, "fairlead lines")
    monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, _line_runs)
    monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)


# Not for pip, which installs the package with this very environment.
if os.path.isdir(PACKAGE) and os.path.isdir(DATA):
    _start()
