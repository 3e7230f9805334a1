"""The names are the field's: one type name means one thing in a crate, and a word of our own stands in the glossary.

A newcomer who knows nginx, tokio, asyncio and the RFCs should guess every name. `FIELD` lists the words that need no
explanation in the name of a file or a folder; any other has a line in ARCHITECTURE.md's glossary, with what it means.
`FORMER` are words that this code once had for things which the field calls otherwise: they do not come back.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from repository import PACKAGE, ROOT, files, hold, name, rust_code, text, toml

#: Words for the names of files and folders, by where a newcomer knows them from.
FIELD = {
    "HTTP, WebSocket, TLS, CGI, and the formats around them": """
        accept admission body certificate certificates cgi chunked ciphers client close closing code connection control
        disconnect environ expectation flow forwarded frame frames framing handshake head header headers host
        hpack http http1 http2 huffman index key keys malformed mask message method negotiated nonce options
        origin packet path payload peer ping pings protocol proxy query range record records request response
        secure session settings sni status stream target ticket tickets tls transport trusted tunnel upgrade
        upstream utf8 version websocket websockets window wire
    """,
    "nginx, Apache, HAProxy and uWSGI": """
        access backend balancing channels drain files filter harakiri heartbeat limits lingering listener
        listeners master pipeline placeholders rate reload retry route router routes scoreboard server static uwsgi
        variables worker
    """,
    "tokio, mio, hyper, asyncio, gevent, greenlet": """
        async asyncio awaitable awaiting backlog base budget cancel cork driver flood future gevent greenlet
        greenlets guard handle hub inbox loom loop outbox park parked parker parking pending poller pump reactor
        readable readiness runner runners running service services subscriber subscribers subscription subscriptions
        task timer timers wake waker wakes watch watchdog writable writer
    """,
    "POSIX and Linux": """
        address beneath descriptor descriptors directory ends epoll error errors event eventfd events exit file
        fork forked forking futex holder kernel lock locks lost memory os output pid pipe privileges process
        sendfile signal signals sleep socket sockets stopped thread threads time title
    """,
    "Rust, Python, WSGI and C": """
        arguments cffi cli command compat deadlines engine errors gil info init input language lib main methods
        mod module modules native py pyi slab state template tests wsgi
    """,
    "plain English of programming": """
        action actions answer answers application applications apps arrivals arriving bodies cache caller calls
        case chain checks closure condition conditions config connections contract convert copy crashes current
        deadline delivery direct display effects entry exchange failure help history incoming information kind kinds
        launch layout limit link loading log logs membership memberships model open other outcome outside owner pages
        parameters parts publish queue reader reading receiving refusal replay replays rest row rows rules
        scratch sending serve serving setting shared sources stall start statistics store strings support
        switch sync table text variables waiting words writing
    """,
}

#: Words that the field has no use for where we had them, and what is said instead.
FORMER = {
    "absence": "watchdog, stall",
    "amend": "set",
    "believe": "trust",
    "bell": "waker",
    "calm": "flood guard",
    "conclusion": "outcome",
    "courtesy": "accept balancing",
    "deed": "cost of a frame",
    "desk": "admission queue, state",
    "door": "listener, server, entry point",
    "doorbell": "readiness descriptor",
    "entrance": "listener, bound listener",
    "errand": "proxy request",
    "face": "API, class",
    "figures": "statistics",
    "greet": "handshake",
    "hall": "shared state",
    "house": "shared state",
    "introduce": "convert",
    "journal": "access log",
    "manner": "listener configuration",
    "parting": "lingering close",
    "relay": "proxy, tunnel",
    "seat": "driver",
    "stretch": "range",
    "tally": "scoreboard, counts",
    "trunk": "connection state",
}

#: TEMPORARY: words of FORMER that crates/ and bindings/ still have; each leaves with the renaming of its last name.
UNFINISHED: set[str] = set()

#: TEMPORARY: names that two types of a crate still have, for the same reason.
UNFINISHED_TYPES: dict[str, set[str]] = {}

_TYPE = r"^[ \t]*(?:pub(?:\([^)]*\))?\s+)?(?:unsafe\s+)?(?:struct|enum|trait|union)\s+(\w+)"
#: An alias that is indented belongs to a trait or an implementation, where its name is another's choice.
_ALIAS = r"^(?:pub(?:\([^)]*\))?\s+)?type\s+(\w+)"
_FUNCTION = r"\bfn\s+(\w+)"


def packages() -> list[str]:
    """The folders of Rust sources, one for each package."""
    return [*(f"{member}/src" for member in toml("Cargo.toml")["workspace"]["members"]), "benches/load/src"]


@cache
def rust_files(folder: str) -> tuple[Path, ...]:
    return tuple(path for path in files(".rs") if path.is_relative_to(ROOT / folder))


def without_tests(folder: str) -> Iterator[tuple[Path, str]]:
    """The files of a package and their code, without modules that exist in tests only."""
    code, only_in_tests = {}, set()
    for path in rust_files(folder):
        rest = []
        at = 0
        pieces = rust_code(path)
        for found in re.finditer(
            r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub\S*\s+)?mod (\w+)", pieces
        ):
            if found.start() < at:
                continue
            rest.append(pieces[at : found.start()])
            if pieces[found.end() :].lstrip().startswith(";"):
                home = path.parent if path.stem in {"lib", "main", "mod"} else path.with_suffix("")
                only_in_tests |= {home / found[1], home / f"{found[1]}.rs"}
                at = found.end()
            else:
                at = end_of_block(pieces, found.end())
        code[path] = "".join([*rest, pieces[at:]])
    for path, its in code.items():
        if path not in only_in_tests and not only_in_tests.intersection(path.parents):
            yield path, its


def end_of_block(code: str, start: int) -> int:
    """Behind the brace that closes the first one after `start`."""
    depth = 0
    for brace in re.compile(r"[{}]").finditer(code, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return len(code)


def types(code: str) -> list[str]:
    return [found[1] for kind in (_TYPE, _ALIAS) for found in re.finditer(kind, code, re.MULTILINE)]


@pytest.mark.parametrize("folder", packages())
def test_a_type_name_stands_once_in_a_crate(folder):
    excused = UNFINISHED_TYPES.get(folder, set())
    homes = defaultdict(list)
    for path, code in without_tests(folder):
        for one in types(code):
            homes[one].append(name(path))
    hold(
        f"each type of {folder} has a name of its own",
        "two types of one name have to be told apart at every place where either is read",
        (f"{one}: {', '.join(places)}" for one, places in homes.items() if len(places) > 1 and one not in excused),
    )


def words_of(identifier: str) -> list[str]:
    """`read`, `next`, `frame` of `ReadNextFrame`, `read_next_frame` or `READ_NEXT_FRAME`."""
    parts = re.findall(r"[A-Z0-9]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+", identifier)
    return [part.lower() for part in parts]


def named_files() -> Iterator[tuple[str, str]]:
    """Each file and folder of the engine, the bindings and the package: a place, and its name."""
    for top in (*packages(), name(PACKAGE)):
        if top.startswith("benches/"):
            continue
        paths = [path for path in files(".rs", ".py", ".pyi") if path.is_relative_to(ROOT / top)]
        folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(ROOT / top)}
        for path in {*paths, *folders - {ROOT / top}}:
            yield name(path), path.stem


def glossary() -> list[str]:
    """The words of ARCHITECTURE.md's glossary."""
    section = text(ROOT / "ARCHITECTURE.md").split("\n## Glossary\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    return [word.strip() for cell in cells if cell not in {"Word", "---"} for word in cell.split(",")]


def test_a_word_of_ours_in_a_file_s_name_stands_in_the_glossary():
    known = {word for words in FIELD.values() for word in words.split()}
    known |= {part for word in glossary() for part in word.split()}
    known |= {f"{word}s" for word in known}
    hold(
        "each word in the name of a file or a folder is the field's (FIELD above) or has a line in the glossary",
        "a metaphor that nobody explains has to be guessed by everyone who comes; if nginx, tokio, asyncio or an RFC "
        "has a word for it, that is the word",
        (
            f"{place}: {word}"
            for place, stem in named_files()
            for word in words_of(stem)
            if word not in known and word not in UNFINISHED
        ),
    )


def test_every_word_of_the_glossary_is_in_use():
    sources = [
        path
        for path in files(".rs", ".py", ".pyi")
        if any(path.is_relative_to(ROOT / top) for top in ("crates", "bindings", "python"))
    ]
    hold(
        "each word of the glossary is one that the sources use",
        "a word that the code has left makes a reader look for what is not there",
        (
            word
            for word in glossary()
            if not any(
                re.search(rf"\b{word.replace(' ', '[ _-]?')}s?\b", text(path), re.IGNORECASE) for path in sources
            )
        ),
    )


def python_names(path: Path) -> Iterable[str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return (node.name for node in ast.walk(ast.parse(text(path), name(path))) if isinstance(node, kinds))


def test_a_former_word_does_not_come_back():
    found = [(place, stem) for place, stem in named_files()]
    for path in files(".rs", ".py", ".pyi", ".h"):
        if not any(path.is_relative_to(ROOT / top) for top in ("crates", "bindings", "python")):
            continue
        if path.suffix == ".rs":
            code = rust_code(path)
            names = [*types(code), *re.findall(_FUNCTION, code)]
        else:
            names = re.findall(r"\bfl_\w+", text(path)) if path.suffix == ".h" else list(python_names(path))
        found += [(name(path), one) for one in names]
    hold(
        "no type, function or file is named by a word of FORMER",
        "one thing has one word, and it is the one that a reader brings along",
        {
            f"{place}: {one} (say {FORMER[singular]})"
            for place, one in found
            for word in words_of(one)
            for singular in {word, word.removesuffix("s"), word.removesuffix("ed"), word.removesuffix("d")}
            if singular in FORMER and (singular not in UNFINISHED or place.startswith("python/"))
        },
    )


def test_a_proxy_is_no_relay_in_prose_either():
    hold(
        "comments and pages say proxy or tunnel, not relay",
        "nginx and HAProxy proxy; a reader who searches the comments for their word finds nothing under another one",
        (
            f"{name(path)}: {found[0]}"
            for path in (*files(".rs", ".py", ".pyi", ".h"), ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"))
            if not path.is_relative_to(ROOT / "tests")
            for found in re.finditer(r"\brelay(?:s|ed|ing)?\b", text(path), re.IGNORECASE)
        ),
    )


def test_words_are_found_in_names():
    assert words_of("ReadNextFrame") == words_of("read_next_frame") == ["read", "next", "frame"]
    assert words_of("HTTP2Stream") == ["http2", "stream"]
    assert words_of("_LAST_WORDS_S") == ["last", "words", "s"]


def test_modules_of_tests_do_not_count():
    code = "struct A;\n#[cfg(test)]\nmod tests {\n    struct A { a: {} }\n}\nstruct B;\ntype C = A;\n    type D = A;\n"
    start = code.index("mod tests")
    assert code[end_of_block(code, start) :].lstrip().startswith("struct B")
    assert types(code) == ["A", "A", "B", "C"]
