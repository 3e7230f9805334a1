"""Who may import whom in the Python package: only downwards, never round in a circle, and some never at all.

The folder says in which process a file runs, and what it may import: from its own folder, and from the floors below.
A module that lies in no folder stands on a floor by its name: the application's API, or what every process needs. A
new folder, or a new file beside the folders, needs a place in `FLOORS` before it passes.
"""

from __future__ import annotations

import ast

from repository import PACKAGE, ROOT, files, hold, imports, module_of, name, package_modules, text

#: Highest first. "" is fairlead/__init__.py, the public names.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("master",),
    ("worker",),
    ("runners", "apps", "compat"),
    ("",),
    ("websocket", "async_websocket", "base_websocket", "channels", "files", "current"),
    ("_native",),
    ("settings",),
    ("statistics", "control_protocol", "locks", "logs", "log_writer", "os_threads", "forked", "errors"),
)

#: Floors whose modules may know each other: they are one thing in several files.
OPEN_FLOORS = (FLOORS[6], FLOORS[9])

#: What runs in the master besides its own folder: the server for programs outside, which one of its threads is.
SERVED_BY_THE_MASTER = {"channels.server", "channels.session", "channels.http"}

#: What never belongs to the side of the master: it must survive any application, so it loads none of it.
OF_THE_WORKER = {"worker", "runners", "apps", "compat", "", *FLOORS[6]} - {"channels"}

#: What of the standard library an application may replace while it is loaded (gevent's and eventlet's monkey patching).
#: "*": the whole module.
PATCHABLE = {
    "concurrent": "*",
    "multiprocessing": "*",
    "os": {"fork", "forkpty", "waitpid"},
    "queue": "*",
    "select": "*",
    "selectors": "*",
    "socket": {"create_connection", "getaddrinfo", "socket", "socketpair"},
    "subprocess": "*",
    "threading": {
        *("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore", "Thread", "Timer"),
        *("get_ident", "local"),
    },
    "time": {"sleep"},
}

#: Who may use it all the same: it takes the originals; its one socket is made before an application is loaded; it
#: follows an application's own threads and pools.
MAY_USE_PATCHABLE = {"os_threads", "worker.control", "current"}

#: Libraries that bring a scheduler of their own.
SCHEDULERS = ("gevent", "greenlet", "asyncio")


def short(module: str) -> str:
    """`runners.threads` for `fairlead.runners.threads`, "" for the package itself."""
    return module.removeprefix("fairlead").removeprefix(".")


def part(module: str) -> str:
    """The folder that holds the module, or its own name if none does."""
    return module.split(".")[0]


def floor(module: str) -> int | None:
    """The number of the module's floor; None for one without a place."""
    return next((number for number, parts in enumerate(FLOORS) if part(module) in parts), None)


def imported() -> list[tuple[str, str, str, str]]:
    """Every import of ours by ours: place, who, whom, and the name taken from it if that is no module."""
    known = package_modules()
    found = []
    for module, path in known.items():
        for line, whom, taken in imports(path):
            if whom.split(".")[0] != "fairlead" or whom == "fairlead._engine":
                continue
            target, taken = (f"{whom}.{taken}", "") if f"{whom}.{taken}" in known else (whom, taken)
            found.append((f"{name(path)}:{line}", short(module), short(target), taken))
    return found


def test_every_module_has_its_place():
    hold(
        "each folder of the package, and each file beside them, stands in FLOORS",
        "a module without a place has no rule to keep",
        (name(path) for module, path in package_modules().items() if floor(short(module)) is None),
    )


def test_imports_go_downwards_only():
    found = []
    for place, who, whom, _ in imported():
        above, below = floor(who), floor(whom)
        if above is None or below is None or part(who) == part(whom):
            continue
        if below < above or (below == above and FLOORS[above] not in OPEN_FLOORS):
            found.append(f"{place}: {who or 'fairlead'} imports {whom or 'fairlead'}")
    hold(
        "cli > master > worker > runners, apps > websocket, channels > _native > settings > errors: downwards only",
        "a part that knows only what lies beneath it can be read, tested and replaced alone",
        found,
    )


def test_modules_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {short(module): set() for module in package_modules()}
    for _, who, whom, _ in imported():
        graph[who].add(whom)
    hold(
        "no module of the package imports one that, directly or by others, imports it",
        "the modules of a circle can be read, tested and moved only together: they are one module in several files",
        (" > ".join([*circle, circle[0]]) for circle in circles(graph)),
    )


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """For each set of nodes that all reach each other, one way round."""
    reached: dict[str, set[str]] = {}
    for node in graph:
        seen: set[str] = set()
        ahead = [*graph[node]]
        while ahead:
            if (one := ahead.pop()) not in seen:
                seen.add(one)
                ahead += graph[one]
        reached[node] = seen
    found, done = [], set()
    for node in sorted(graph):
        if node not in reached[node] or node in done:
            continue
        done |= {other for other in reached[node] if node in reached[other]}
        way = [node]
        while node not in graph[way[-1]]:
            way.append(min(one for one in graph[way[-1]] - set(way) if node in reached[one]))
        found.append(way)
    return found


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"d"}, "d": {"b"}, "e": {"a"}, "f": {"f"}}
    assert circles(graph) == [["b", "c", "d"], ["f"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_master_loads_nothing_of_the_application_s_side():
    found = []
    for place, who, whom, taken in imported():
        if part(who) != "master" and who not in SERVED_BY_THE_MASTER:
            continue
        if part(whom) in OF_THE_WORKER or (part(whom) == "_native" and taken != "Channels"):
            found.append(f"{place}: {who} imports {taken or whom or 'fairlead'}")
    hold(
        "the master's modules import neither worker, runners, apps, compat nor the engine, only the channels' memory",
        "the master must outlive whatever an application or the engine does to a worker",
        found,
    )


def test_runners_know_neither_each_other_nor_an_application():
    found = []
    for place, who, whom, _ in imported():
        if part(who) != "runners":
            continue
        sibling = part(whom) == "runners" and whom != "runners.contract"
        if sibling or part(whom) not in {"runners", "_native", "errors", "os_threads"}:
            found.append(f"{place}: {who} imports {whom or 'fairlead'}")
    hold(
        "a runner imports the contract, the native engine, and the system's own threads",
        "five concurrency models must not become five servers; what they share is the contract, not each other",
        found,
    )


def test_only_a_caller_knows_its_interface():
    neutral = {"apps", "apps.contract", "apps.task"}
    found = []
    for place, who, whom, _ in imported():
        from_the_worker = part(who) == "worker" and part(whom) == "apps" and whom not in neutral
        from_the_contract = who in {"apps.contract", "apps.task", "apps.response"} and whom.startswith("apps.wsgi")
        if from_the_worker or from_the_contract:
            found.append(f"{place}: {who} imports {whom}")
    hold(
        "the worker and the contract of apps/ import no file of an interface (apps/wsgi/)",
        "another interface than WSGI is a folder in apps/, not a change of the worker or of a task's life",
        found,
    )


def test_a_foreign_scheduler_appears_in_one_file():
    found = []
    for scheduler in SCHEDULERS:
        users = [
            path
            for path in package_modules().values()
            if any(whom.split(".")[0] == scheduler for _, whom, _ in imports(path))
        ]
        found += [
            f"{name(path)} imports {scheduler}" for path in users if not short(module_of(path)).startswith("runners.")
        ]
        if len(users) > 1:
            found.append(f"{scheduler} is imported by {', '.join(map(name, users))}")
    hold(
        "gevent, greenlet and asyncio appear in one file of runners/ each",
        "whoever does not use a model must not need its library, and a model must be removable by one file",
        found,
    )


def test_what_runs_beside_an_application_takes_nothing_that_it_can_patch():
    found = []
    for module, path in package_modules().items():
        who = short(module)
        # compat waits for the application, as it waits itself; a client of the channels is somebody else's program.
        elsewhere = who.startswith("channels.") or part(who) in {"cli", "master", "settings", "compat"}
        if elsewhere or who in MAY_USE_PATCHABLE:
            continue
        for line, library, used in uses_of_patchable(text(path)):
            found.append(f"{name(path)}:{line}: {library}{'.' if used else ''}{used}")
    hold(
        "what runs in a worker takes threads, locks, sockets and waits from os_threads",
        "an application may replace them while it is loaded, and a thread that became a greenlet runs for nobody",
        found,
    )


def uses_of_patchable(source: str) -> list[tuple[int, str, str]]:
    """Line, module and name of each use; the name is "" where the module itself is not to be imported."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, one.name, "") for one in node.names if PATCHABLE.get(one.name.split(".")[0]) == "*"]
        elif isinstance(node, ast.ImportFrom) and (names := PATCHABLE.get((node.module or "").split(".")[0])):
            found += [(node.lineno, node.module, one.name) for one in node.names if names == "*" or one.name in names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = PATCHABLE.get(node.value.id, ())
            if names != "*" and node.attr in names:
                found.append((node.lineno, node.value.id, node.attr))
    return found


def test_a_use_of_what_can_be_patched_is_found():
    source = "import time\nimport queue\nfrom threading import Lock\ntime.sleep(1)\ntime.monotonic()\n"
    assert uses_of_patchable(source) == [(2, "queue", ""), (3, "threading", "Lock"), (4, "time", "sleep")]


def test_only_native_touches_the_extension():
    hold(
        "fairlead._engine is imported by fairlead/_native only",
        "another implementation of the engine's names (PyPy, over the C interface) joins there and nowhere else",
        (
            f"{name(path)}:{line}: {whom}"
            for path in files(".py")
            if path.is_relative_to(ROOT / "python") or path.is_relative_to(ROOT / "examples")
            for line, whom, taken in imports(path)
            if (whom.startswith("fairlead._engine") or (whom == "fairlead" and taken == "_engine"))
            and "_native" not in path.parts
        ),
    )


def test_compatibility_modules_and_examples_use_public_names_only():
    public = public_names()
    found = []
    for path in files(".py"):
        if not (path.is_relative_to(ROOT / "examples") or PACKAGE / "compat" in path.parents):
            continue
        for line, whom, taken in imports(path):
            if whom.startswith("fairlead.") and not whom.startswith("fairlead.compat"):
                found.append(f"{name(path)}:{line}: {whom}")
            elif whom == "fairlead" and taken and taken not in public:
                found.append(f"{name(path)}:{line}: fairlead.{taken}")
    hold(
        "compat/ and examples/ import from `fairlead` what its __all__ names",
        "they show that the public names suffice: anyone could write the next compatibility module outside this tree",
        found,
    )


def public_names() -> set[str]:
    """`fairlead.__all__`, read and not imported."""
    for node in ast.parse(text(ROOT / "python/fairlead/__init__.py")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()
