"""Rack 2 and 3 as an application sees them: the environment, the body of a request, and answers of every kind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ruby.conftest import BINDING, EXAMPLES, Launch, Start


def app(body: str) -> str:
    return f"run lambda {{ |env|\n{body}\n}}\n"


def test_the_environment_passes_racks_own_lint(start: Start, model: tuple[str, ...]) -> None:
    server = start(
        """
        require "uri" # Lint uses it, and loads it not
        require "rack/lint"
        use Rack::Lint
        run lambda { |env| [200, { "Content-Type" => "text/plain" }, [env["rack.input"].read]] }
        """,
        *model,
    )
    status, _, body = server.ask("POST /a%20b?c=d", b"hello")
    assert (status, body) == (200, b"hello"), server.lines


def test_the_environment_says_what_was_asked_and_who_serves(start: Start) -> None:
    names = [
        "REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "SERVER_PROTOCOL", "rack.url_scheme",
        "rack.multithread", "rack.multiprocess", "rack.run_once", "rack.hijack?", "uwsgi.core", "uwsgi.version",
    ]  # fmt: skip
    server = start(app(f"[200, {{}}, [%w[{' '.join(names)}].map {{ |name| env[name].inspect }}.join(' ')]]"))
    assert server.ask("GET /a%20b?c=d")[2].decode() == (
        '"GET" "/a b" "" "c=d" "HTTP/1.1" "http" false false false false 0 "2.1"'
    )


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_body_is_read_and_rewound(start: Start, model: tuple[str, ...], size: int) -> None:
    body = b"line\n" * (size // 5) + b"x" * (size % 5)
    server = start(
        app(
            """
            input = env["rack.input"]
            lines = input.each.sum(&:bytesize)
            input.rewind
            part = input.read(3)
            rest = input.read
            [200, {}, [[lines, part.to_s.bytesize + rest.bytesize, input.read(1).inspect, input.read].join(" ")]]
            """
        ),
        *model,
    )
    assert server.ask("POST /", body)[2].decode() == f"{size} {size} nil "


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('[200, {}, ["a", "b"]]', b"ab"),
        ('[200, {}, []]', b""),
        ('[200, {}, Enumerator.new { |each| each << "a"; each << "b" }]', b"ab"),
        ('[200, {}, lambda { |stream| stream << "a"; stream.write("b", "c"); stream.close }]', b"abc"),
        ('[200, {}, lambda { |stream| stream.write(stream.read) ; stream.close }]', b"sent"),
        ('[200, {}, File.open(__FILE__)]', None),
        ('["201", {}, ["a"]]', b"a"),
    ],
)  # fmt: skip
def test_a_body_of_any_kind_arrives(start: Start, model: tuple[str, ...], answer: str, expected: bytes | None) -> None:
    text = app(answer)
    server = start(text, *model)
    status, _, body = server.ask("POST /", b"sent")
    assert status == (201 if '"201"' in answer else 200)
    assert body == (text.encode() if expected is None else expected)


def test_a_large_stream_arrives_whole(start: Start, model: tuple[str, ...]) -> None:
    piece = 'Enumerator.new { |each| 100.times { each << "x" * 50_000 } }'
    server = start(app(f'[200, {{ "content-length" => "5000000" }}, {piece}]'), *model)
    assert len(server.ask("GET /")[2]) == 5_000_000


def test_several_values_of_a_header_are_lines_as_rack_2_and_as_rack_3_have_them(start: Start) -> None:
    server = start(app('[200, { "X-Two" => "a\\nb", "x-three" => ["c", "d"], "rack.own" => "e", "x-none" => "" }, []]'))
    headers = server.ask("GET /")[1]
    assert [pair for pair in headers if pair[0].lower().startswith(("x-", "rack"))] == [
        ("x-two", "a"), ("x-two", "b"), ("x-three", "c"), ("x-three", "d"), ("x-none", ""),
    ]  # fmt: skip


def test_a_body_is_closed_also_when_it_raises(start: Start) -> None:
    server = start(
        """
        class Body
          def initialize(fails) = @fails = fails
          def each
            yield "a"
            raise "the body broke" if @fails
          end
          def close = UWSGI.log("closed #{@fails}")
        end
        run lambda { |env| [200, {}, Body.new(env["PATH_INFO"] == "/fail")] }
        """
    )
    server.ask("GET /")
    server.wait_for_line("^closed false$")
    with pytest.raises(ValueError):  # the last chunk is missing, so the client knows
        server.ask("GET /fail")
    server.wait_for_line("^closed true$")
    server.wait_for_line(r"the body broke \(RuntimeError\)")


@pytest.mark.parametrize(
    ("answer", "logged"),
    [
        ('raise "on purpose"', r"on purpose \(RuntimeError\)"),
        ("nil", r"the application answered nil, and Rack wants"),
        ("[200, {}, 7]", r"the body is a Integer, which has neither each nor call"),
        ("[200, {}, [7]]", r"the body gave a Integer"),
        ('["x", {}, []]', r"\(ArgumentError\)"),
        ('[200, { "x" => "a\\0b\\x01" }, []]', r"\(Fairlead::Error\)"),
        ("exit", r"\(SystemExit\)"),
        ("def self.deep = deep\ndeep", r"\(SystemStackError\)"),
    ],
)
def test_a_failure_is_logged_answered_with_500_and_the_server_goes_on(
    start: Start, model: tuple[str, ...], answer: str, logged: str
) -> None:
    server = start(app(f'if env["PATH_INFO"] == "/fine" then [200, {{}}, []] else\n{answer}\nend'), *model)
    status, _, body = server.ask("GET /")
    assert (status, body) == (500, b"Internal Server Error\n")
    server.wait_for_line(logged)
    assert server.ask("GET /fine")[0] == 200


def refusal(process: subprocess.Popen[str]) -> str:
    """What it printed, after it ended with 2."""
    _, text = process.communicate(timeout=60)
    assert process.returncode == 2, text
    return text


def test_what_cannot_start_is_one_sentence_and_2(launch: Launch, tmp_path: Path) -> None:
    echo = str(EXAMPLES / "echo.ru")
    at = ("--http", "127.0.0.1:0")
    assert "no application: --rack FILE" in refusal(launch(*at))
    assert "/no/such.ru does not exist" in refusal(launch(*at, "--rack", "/no/such.ru"))
    assert "--fiber wants --async N" in refusal(launch(*at, "--rack", echo, "--fiber"))
    assert "--threads 4 wants --rbthreads" in refusal(launch(*at, "--rack", echo, "--threads", "4"))
    broken = tmp_path / "broken.ru"
    broken.write_text("run lambda { |env|\n")
    assert "cannot be loaded" in refusal(launch(*at, "--rack", str(broken)))
    other = launch(*at, "--rack", echo, environ={"FAIRLEAD_LIBRARY": "/lib/x86_64-linux-gnu/libc.so.6"})
    assert "is not Fairlead's library" in refusal(other)


@pytest.mark.parametrize("place", ["target/release/libfairlead.so", "bindings/libfairlead.so"])
def test_the_library_is_found_without_being_named(library: Path, tmp_path: Path, place: str) -> None:
    """Where a checkout builds it, and above the folder of an installed binding; else one sentence says where not."""
    shutil.copytree(BINDING, tmp_path / "bindings" / "ruby" / "lib")
    lib = str(tmp_path / "bindings" / "ruby" / "lib")
    command = ["ruby", f"-I{lib}", "-rfairlead/worker", "-e", "Fairlead::Worker.main", "--", "--http", "127.0.0.1:0"]
    variables = {name: value for name, value in os.environ.items() if name != "FAIRLEAD_LIBRARY"}

    def said() -> tuple[int, str]:
        run = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        return run.returncode, run.stdout + run.stderr

    status, text = said()
    assert status == 2 and str(tmp_path / place) in text and "FAIRLEAD_LIBRARY" in text and text.count("\n") == 1
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(library, tmp_path / place)
    assert "no application: --rack FILE" in said()[1]
