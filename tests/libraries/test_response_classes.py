"""Every kind of response of six frameworks arrives, whatever the runner; and Django's database and admin work.

Django is tested in three versions: the environment's, and two more that `make setup` has put into `.build/django`
(requirements/django-oldest.txt says why they are there). Two runners are enough for those: one on a loop, and one
without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from end_to_end.http_wire import Answer, get, read_answer, request
from support.libraries import APPS
from support.raw_client import RawClient
from support.runners import Runner, every_runner, named
from support.server import Server

OTHERS = Path(__file__).parents[2] / ".build/django"


class Expected(NamedTuple):
    """An answer; `body` None: any. `framing` "": any."""

    status: int
    body: bytes | None
    framing: str = ""
    header: tuple[str, str] | None = None


def source(app: str) -> bytes:
    return (APPS / app).read_bytes()


PAGES = {
    "plain": Expected(200, b"plain", "length"),
    "stream": Expected(200, b"0,1,2,", "chunked"),
    "closing": Expected(200, b"0,1,2,", "chunked"),
    "bytes_file": Expected(200, b"in memory"),
    "json": Expected(200, None, "length", ("Content-Type", "application/json")),
    "redirect": Expected(302, None),
    "not_modified": Expected(304, b"", "none"),
    "no_content": Expected(204, b"", "none"),
    "missing": Expected(404, None),
}

FRAMEWORK_PAGES = {
    **{
        f"/{framework}/{name}": expected
        for framework in ("flask", "werkzeug", "bottle", "falcon", "pyramid")
        for name, expected in {**PAGES, "file": Expected(200, source("response_classes.py"))}.items()
    },
    # RFC 9110 §15.4.4: what Bottle says to HTTP/1.1.
    "/bottle/redirect": Expected(303, None),
    "/flask/context": Expected(200, b"0,1,2,", "chunked"),
    "/flask/coroutine": Expected(200, b"by a coroutine"),
}

DJANGO_PAGES = {
    **{f"/{name}": expected for name, expected in PAGES.items()},
    "/parts": Expected(200, b"plain", "length"),
    "/stream_async": Expected(200, b"0,1,2,", "chunked"),
    "/file": Expected(200, source("django_responses.py"), "length"),
    "/redirect": Expected(302, b"", header=("Location", "/plain")),
    "/moved": Expected(301, b"", header=("Location", "/plain")),
    "/bad": Expected(400, b"bad"),
    "/forbidden": Expected(403, b"forbidden"),
    "/missing": Expected(404, b"missing"),
    "/not_allowed": Expected(405, b"", header=("Allow", "POST")),
    "/gone": Expected(410, b"gone"),
    "/failed": Expected(500, b"failed"),
    "/template": Expected(200, b"for you"),
    "/streamed_rows": Expected(200, b"admin,", "chunked"),
    "/coroutine": Expected(200, b"by a coroutine for admin"),
    "/admin/login/": Expected(200, None, header=("Content-Type", "text/html; charset=utf-8")),
    "/admin/": Expected(302, b"", header=("Location", "/admin/login/?next=/admin/")),
}


def wrong(answer: Answer, expected: Expected) -> bool:
    name, value = expected.header or ("", None)
    return (
        answer.status != expected.status
        or not answer.is_complete
        or expected.body not in (None, answer.body)
        or expected.framing not in ("", answer.framing)
        or (value is not None and answer.header(name) != value)
    )


def fetch(server: Server, pages: dict[str, Expected]) -> dict[str, object]:
    """The answers that are not what they should be."""
    answers = {path: get(server, path) for path in pages}
    return {path: answer for path, answer in answers.items() if wrong(answer, pages[path])}


def fetch_heads(server: Server, pages: dict[str, Expected]) -> dict[str, object]:
    """The same by HEAD, on one connection: a body would be taken for the next answer."""
    found: dict[str, object] = {}
    with RawClient(server.connect()) as client:
        for path, expected in pages.items():
            client.send_bytes(request(server, path, method="HEAD"))
            answer = read_answer(client, "HEAD")
            # Some views are for GET alone, to some frameworks.
            if answer.status not in (expected.status, 405):
                found[path] = answer
    return found


def failures(server: Server) -> list[str]:
    """What the log has of them, of an application's or of ours."""
    return [line for line in server.lines if "Traceback" in line or " error: " in line]


@every_runner
def test_every_response_of_flask_werkzeug_bottle_falcon_and_pyramid_arrives(
    runner: Runner, run: Callable[..., Server]
) -> None:
    server = run(".", "--wsgi-file", "response_classes.py", *runner.options)
    assert fetch(server, FRAMEWORK_PAGES) == {}
    assert fetch_heads(server, {path: page for path, page in FRAMEWORK_PAGES.items() if "bottle" not in path}) == {}
    for framework in ("flask", "werkzeug", "bottle", "falcon", "pyramid"):
        server.wait_for_line(f"closed by {framework}")
    assert failures(server) == []


@pytest.fixture(scope="module")
def django(run: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Runner, str], Server]:
    def site(runner: Runner, version: str) -> Server:
        environ = {"SITE_DATABASE": str(tmp_path_factory.getbasetemp() / f"{runner.name}-{version}.sqlite3")}
        if version != "installed":
            assert (OTHERS / version / "django").is_dir(), "run `make setup`, which puts it there"
            environ["PYTHONPATH"] = str(OTHERS / version)
        return run(".", "--wsgi-file", "django_responses.py", *runner.options, environ=environ)

    return site


VERSIONS = {"oldest": "4.2.", "newest": "6."}


@every_runner
def test_every_response_of_django_arrives_and_its_database_and_admin_work(
    runner: Runner, django: Callable[[Runner, str], Server]
) -> None:
    assert_serves_django(django(runner, "installed"), "5.2.")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("runner", named("greenlets", "asyncio"), indirect=True, ids=lambda runner: runner.name)
def test_other_versions_of_django_do_the_same(
    runner: Runner, django: Callable[[Runner, str], Server], version: str
) -> None:
    assert_serves_django(django(runner, version), VERSIONS[version])


def assert_serves_django(server: Server, version: str) -> None:
    assert get(server, "/version").body.decode().startswith(version)
    assert fetch(server, DJANGO_PAGES) == {}
    assert fetch_heads(server, DJANGO_PAGES) == {}
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/reset"))
        reset = client.read_response()
        assert (reset.status, reset.header("Content-Length")) == (205, "0")
        # Nothing of the body may stand before the next answer; and the database is there.
        for number in range(3):
            client.send_bytes(request(server, f"/rows?name=user-{number}"))
            assert read_answer(client).body == b"user-%d" % number
    server.wait_for_line("closed by django")
    assert failures(server) == []
