"""Who may know whom among the crates, and what each must never know (ARCHITECTURE.md, "Folders and their invariants").

Cargo enforces that a crate uses only what its manifest names, so the manifests are read here; what a manifest cannot
tell (the standard library's sockets and clocks, a platform's system calls) is looked for in the sources.
"""

from __future__ import annotations

import re

import pytest
from repository import ROOT, files, hold, lines_with, name, rust_code, text, toml

#: Each crate, and those of ours that it may name, in a build, a test or an example.
MAY_IMPORT = {
    "crates/http": set(),
    "crates/websocket": {"fairlead-http"},
    "crates/channel": set(),
    "crates/front": {"fairlead-http", "fairlead-websocket"},
    "crates/worker": {"fairlead-websocket", "fairlead-channel"},
    "crates/engine": {
        "fairlead-http",
        "fairlead-websocket",
        "fairlead-channel",
        "fairlead-front",
        "fairlead-worker",
    },
    "bindings/python": {"fairlead-engine"},
    "bindings/c": {"fairlead-engine"},
}

#: Crates of others that have one home, and why.
ONE_HOME = {
    r"tokio.*|hyper.*|h2|http|http-body.*|httparse|ring|rustls.*": (
        "crates/front",
        "the front is the only part with an asynchronous runtime; from the hand-off on no task switch lies between "
        "the wire and the app",
    ),
    r"pyo3.*": (
        "bindings/python",
        "a language in the engine cannot be taken out again, and nothing of it could be tested without an interpreter",
    ),
    r"mio|polling": ("crates/worker", "readiness is the worker's poller's business, and a platform's"),
    r"memmap2?": ("crates/channel", "shared memory is the channels' region's business, and a platform's"),
}

#: Files that may say `unsafe`. A new one is a decision: it needs a place here and a reviewer who asks why.
UNSAFE = {
    "bindings/python/src/channels.rs": "takes over the channels' descriptor that was inherited as a number",
    "crates/channel/src/signal.rs": "handles SIGBUS for mapped files that somebody makes shorter",
    "crates/channel/src/lock.rs": "a robust mutex of POSIX in shared memory",
    "crates/channel/src/region.rs": "maps the channels' memory, which is words to all others",
    "crates/engine/src/memory.rs": "asks the system's allocator to give back what lies free",
    "bindings/python/src/current.rs": "reads a context variable through CPython's C API",
    "bindings/python/src/descriptors.rs": "borrows and duplicates the application's descriptors, which come as numbers",
    "bindings/python/src/settings.rs": "takes over the listeners that were inherited as numbers",
    "bindings/python/src/greenlet.rs": "greenlet's C API",
    "benches/load/src/process.rs": "system calls of the load generator, which depends on libc only",
    "benches/load/src/sys.rs": "system calls of the load generator, which depends on libc only",
}
#: Folders whose every file may: what crosses a C interface is raw pointers throughout.
UNSAFE_FOLDERS = ("bindings/c/src/", "bindings/c/tests/")


def crates() -> list[str]:
    """The folders of the workspace's members."""
    return toml("Cargo.toml")["workspace"]["members"]


def dependencies(crate: str) -> set[str]:
    manifest = toml(f"{crate}/Cargo.toml")
    tables = [manifest, *manifest.get("target", {}).values()]
    kinds = ("dependencies", "dev-dependencies", "build-dependencies")
    return {dependency for table in tables for kind in kinds for dependency in table.get(kind, {})}


def test_every_crate_has_its_place_in_these_rules():
    hold(
        "each member of the workspace is listed in MAY_IMPORT",
        "a crate without a rule can grow any dependency unseen",
        set(crates()) - set(MAY_IMPORT),
    )


@pytest.mark.parametrize("crate", crates())
def test_a_crate_imports_only_what_lies_beneath_it(crate):
    ours = {dependency for dependency in dependencies(crate) if dependency.startswith("fairlead")}
    hold(
        f"{crate} may import {sorted(MAY_IMPORT[crate]) or 'nothing of ours'}",
        "events go towards the app and commands come back; what imports upwards calls upwards in the end",
        (f"{crate}/Cargo.toml names {dependency}" for dependency in ours - MAY_IMPORT[crate]),
    )


@pytest.mark.parametrize("pattern", ONE_HOME)
def test_a_foreign_crate_with_one_home_is_named_nowhere_else(pattern):
    home, why = ONE_HOME[pattern]
    hold(
        f"crates like {pattern} are used by {home} only",
        why,
        (
            f"{crate}/Cargo.toml names {dependency}"
            for crate in crates()
            if crate != home
            for dependency in dependencies(crate)
            if re.fullmatch(pattern, dependency)
        ),
    )


def test_no_websocket_codec_of_others_is_in_the_tree():
    codecs = r"tungstenite|tokio-tungstenite|async-tungstenite|fastwebsockets|soketto|websocket.*|ratchet.*|yawc|wtx"
    names = [package["name"] for package in toml("Cargo.lock")["package"]]
    hold(
        "Cargo.lock holds no WebSocket crate",
        "this codec is what the project exists for; tests use other people's clients, in Python",
        (one for one in names if re.fullmatch(codecs, one)),
    )


@pytest.mark.parametrize("crate", ["crates/http", "crates/websocket", "crates/channel"])
def test_the_pure_crates_know_no_socket_clock_thread_or_file(crate):
    impure = r"std::(thread|fs|env|process|os)\b|std::net::(Tcp|Udp)|\b(Instant|SystemTime|Condvar)\b"
    if crate != "crates/channel":  # whose objects the threads of a process share
        impure += r"|\bMutex\b"
    # Shared memory is the system's: these have it, and the words, the log and the directory do not know it.
    system = {
        f"crates/channel/src/{file}.rs"
        for file in ("files", "lock", "model", "open", "owner", "region", "signal", "tests", "wake")
    }
    sources = [
        path
        for path in files(".rs")
        if name(path).startswith(f"{crate}/src/") and name(path) not in system and "/src/tests/" not in name(path)
    ]
    hold(
        f"{crate} takes bytes and the time as parameters and does no IO",
        "then every rule is tested without waiting, and every runner and transport speaks one dialect",
        (line for path in sources for line in lines_with(path, impure, rust_code(path))),
    )


def test_linux_s_own_calls_stand_in_the_poller():
    homes = {"crates/worker/src/poller.rs", "crates/channel/src/region.rs"}
    hold(
        "epoll, eventfd and memfd are named in the poller (and the channels' region) only",
        "another platform joins by one new file, without a search",
        (
            line
            for path in files(".rs")
            if name(path).startswith("crates/") and name(path) not in homes
            for line in lines_with(path, r"\b(epoll\w*|eventfd|memfd\w*|timerfd\w*)\b", rust_code(path))
        ),
    )


def test_the_engine_names_no_language():
    languages = r"(?i)\b(pyobject|pyresult|pyerr|cpython|gil|greenlet|rb_\w+|sv_\w+)\b"
    hold(
        "no file under crates/ names an interpreter's types",
        "the C interface, and PyPy, Perl and Ruby behind it, live from an engine that knows no language",
        (
            line
            for path in files(".rs")
            if name(path).startswith("crates/")
            for line in lines_with(path, languages, rust_code(path))
        ),
    )


def may_be_unsafe(path: str) -> bool:
    return path in UNSAFE or path.startswith(UNSAFE_FOLDERS)


def test_unsafe_stands_in_few_files():
    hold(
        "`unsafe` is used in the files that UNSAFE lists",
        "what the compiler does not check people must; they can do so only where they look",
        (
            line
            for path in files(".rs")
            if not may_be_unsafe(name(path))
            for line in lines_with(path, r"\bunsafe\b(?!_)", rust_code(path))
        ),
    )


def test_the_list_of_unsafe_files_is_not_longer_than_needed():
    hold(
        "each file in UNSAFE uses it",
        "a permission that nobody needs is one that nobody watches",
        (
            path
            for path in UNSAFE
            if not (ROOT / path).is_file() or not re.search(r"\bunsafe\b", rust_code(ROOT / path))
        ),
    )


def test_a_crate_without_unsafe_forbids_it():
    found = []
    for crate in crates():
        sources = [path for path in files(".rs") if name(path).startswith(f"{crate}/src/")]
        safe = not any(may_be_unsafe(name(path)) for path in sources)
        root = ROOT / crate / "src" / "lib.rs"
        if safe and "#![forbid(unsafe_code)]" not in text(root):
            found.append(f"{name(root)} has no #![forbid(unsafe_code)]")
    hold("a crate that needs no `unsafe` forbids it", "then the compiler keeps the rule, also in a hurry", found)


def test_every_unsafe_block_says_why_it_is_sound():
    found = []
    for path in files(".rs"):
        if not may_be_unsafe(name(path)):
            continue
        lines = text(path).splitlines()
        for number, line in enumerate(rust_code(path).splitlines()):
            if re.search(r"\bunsafe\s*(\{|impl\b)", line):
                around = "\n".join(lines[max(0, number - 8) : number + 1])
                if "SAFETY" not in around:
                    found.append(f"{name(path)}:{number + 1}: {line.strip()}")
    hold(
        "a comment `SAFETY: …` stands directly above each unsafe block",
        "who changes the code must know what the compiler was promised",
        found,
    )
