"""Who may import whom in the Python package: only downwards, and some never at all.

`LADDER` holds every module, highest first. A module imports from rungs below its own, never from its own or above; the
few exceptions are spelt out. A new module needs a place on the ladder before it passes.
"""

from __future__ import annotations

import ast
import fnmatch

from repository import ROOT, files, hold, imports, module_of, name, package_modules, text

LADDER = (
    ("__main__",),
    ("cli",),
    ("master", "worker", "channels_commands"),
    ("worker_services", "worker_tls", "channels_ground", "certificates"),
    ("channels_door",),
    ("channels_http",),
    ("channels_session",),
    ("figures", "harakiri"),
    ("listeners", "tally", "worker_process", "reloading"),
    ("loading", "hosts", "hosts.*", "apps", "apps.*", "compat", "compat.*"),
    ("hosts.contract", "worker_control", "compat.uwsgi_arguments", "absences"),
    ("compat.uwsgi_contract",),
    ("compat.uwsgi_async",),
    ("",),  # fairlead/__init__.py: the public names
    ("async_websocket",),
    ("websocket", "channels", "files"),
    ("current", "channels_remote"),
    ("_native", "_native.*", "channels_link"),
    ("channels_lines",),
    ("settings_sources",),
    ("settings_files", "settings_placeholders", "settings_uwsgi"),
    ("settings_uwsgi_rest",),
    ("settings",),
    ("settings_tls",),
    ("settings_kinds",),
    ("signals", "logs", "locks", "process_title"),
    ("os_threads",),
    ("errors",),
)

#: Modules of one rung that may know each other: the parts of one thing.
PARTS = (("hosts", "hosts.*"), ("apps.wsgi", "apps.wsgi_*"), ("compat.uwsgi", "compat.uwsgi_*"))

#: What never belongs to the side of the master: it must survive any application, so it loads none of it.
MASTER_SIDE = {
    "master", "listeners", "worker_process", "reloading", "signals", "logs", "figures", "harakiri", "locks", "tally",
    "certificates", "channels_door", "channels_ground", "channels_http", "channels_lines", "channels_session",
}  # fmt: skip
WORKER_SIDE = (
    "worker",
    "worker_services",
    "worker_tls",
    "worker_control",
    "hosts*",
    "apps*",
    "compat*",
    "websocket",
    "async_websocket",
    "channels",
    "files",
    "_native*",
    "loading",
)

#: Libraries that bring a scheduler of their own.
SCHEDULERS = ("gevent", "greenlet", "asyncio")


def short(module: str) -> str:
    """`hosts.threads` for `fairlead.hosts.threads`, "" for the package itself."""
    return module.removeprefix("fairlead").removeprefix(".")


def rung(module: str) -> int | None:
    """The module's place on the ladder; an exact name wins over a pattern."""
    exact = next((number for number, rung in enumerate(LADDER) if module in rung), None)
    if exact is not None:
        return exact
    return next((n for n, rung in enumerate(LADDER) for one in rung if one and fnmatch.fnmatch(module, one)), None)


def imported() -> list[tuple[str, str, str]]:
    """Every import of ours by ours: place, who, whom."""
    known = package_modules()
    found = []
    for module, path in known.items():
        for line, whom, taken in imports(path):
            if whom.split(".")[0] != "fairlead" or whom == "fairlead._engine":
                continue
            target = f"{whom}.{taken}" if f"{whom}.{taken}" in known else whom
            found.append((f"{name(path)}:{line}", short(module), short(target)))
    return found


def are_parts_of_one_thing(who: str, whom: str) -> bool:
    return any(who == head and fnmatch.fnmatch(whom, part) for head, part in PARTS)


def test_every_module_has_its_place_on_the_ladder():
    hold(
        "each module of the package stands in LADDER",
        "a module without a place has no rule to keep",
        (name(path) for module, path in package_modules().items() if rung(short(module)) is None),
    )


def test_imports_go_downwards_only():
    found = []
    for place, who, whom in imported():
        above, below = rung(who), rung(whom)
        if above is None or below is None or are_parts_of_one_thing(who, whom):
            continue
        if below <= above:
            found.append(f"{place}: {who or 'fairlead'} imports {whom or 'fairlead'}")
    hold(
        "cli > master, worker > hosts, apps > websocket, channels > _native > settings, logs, errors: only downwards",
        "a part that knows only what lies beneath it can be read, tested and replaced alone",
        found,
    )


def test_the_master_loads_nothing_of_the_application_s_side():
    hold(
        "the master's modules import neither worker, hosts, apps, compat nor the engine",
        "the master must outlive whatever an application or the engine does to a worker",
        (
            f"{place}: {who} imports {whom}"
            for place, who, whom in imported()
            if who in MASTER_SIDE
            and any(fnmatch.fnmatch(whom, pattern) for pattern in WORKER_SIDE)
            and (not who.startswith("channels_") or whom != "_native")  # the memory is the master's, like the listeners
        ),
    )


def test_hosts_know_neither_each_other_nor_an_application():
    found = []
    for place, who, whom in imported():
        if not who.startswith("hosts."):
            continue
        sibling = whom.startswith("hosts.") and whom != "hosts.contract"
        if sibling or whom.startswith(("apps", "compat", "worker", "settings")) or whom in {"", "websocket"}:
            found.append(f"{place}: {who} imports {whom or 'fairlead'}")
    hold(
        "a host imports the contract and the native engine",
        "five concurrency models must not become five servers; what they share is the contract, not each other",
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
            f"{name(path)} imports {scheduler}" for path in users if not short(module_of(path)).startswith("hosts.")
        ]
        if len(users) > 1:
            found.append(f"{scheduler} is imported by {', '.join(map(name, users))}")
    hold(
        "gevent, greenlet and asyncio appear in one file of hosts/ each",
        "whoever does not use a model must not need its library, and a model must be removable by one file",
        found,
    )


def test_only_the_native_door_touches_the_extension():
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
        if not (path.is_relative_to(ROOT / "examples") or path.parent.name == "compat"):
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
