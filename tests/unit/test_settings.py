"""What a setting accepts, what the combination of settings must be, and that settings survive the way to a
worker."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from fairlead.errors import SettingsError
from fairlead.settings.effects import EFFECTS, remarks
from fairlead.settings.kinds import Address
from fairlead.settings.options import BY_NAME, DEFAULT_THREADS, DIRECTIVES, GROUPS, SETTINGS, Given, Settings

ENOUGH = [("http", ":8080"), ("wsgi-file", "app.py")]


def made(*pairs: tuple[str, str | None]) -> Settings:
    return Settings.of(Given(name, value, "command line") for name, value in [*ENOUGH, *pairs])


def refusal(*pairs: tuple[str, str | None]) -> str:
    with pytest.raises(SettingsError) as caught:
        made(*pairs)
    return str(caught.value)


def test_defaults_are_those_of_the_spec():
    settings = made()
    assert settings.http == (Address(":8080", "tcp", "", 8080),)
    assert (settings.processes, settings.threads, settings.listen) == (1, None, 100)
    assert (settings.websockets_ping_freq_s, settings.websockets_pong_tolerance_s) == (30.0, 3.0)
    assert (settings.websockets_max_bytes, settings.websockets_close_timeout_s) == (1024 * 1024, 5.0)
    assert (settings.websockets_pong_freq_s, settings.websockets_idle_timeout_s) == (None, 0.0)
    assert (settings.send_timeout_s, settings.http_timeout_s) == (4.0, 60.0)


def test_the_last_value_wins_and_lists_accumulate():
    settings = made(("processes", "2"), ("workers", "3"), ("http", "[::1]:81"), ("env", "A=1"), ("env", "B=x=y"))
    assert settings.processes == 3
    assert [address.port for address in settings.http] == [8080, 81]
    assert settings.env == (("A", "1"), ("B", "x=y"))


@pytest.mark.parametrize("name", ["room:7", "grüße", "n" * 255, "two words"])
def test_a_channel_has_a_name_that_the_engine_takes(name):
    assert made(("channel", "first"), ("channel", name)).channel == ("first", name)


@pytest.mark.parametrize("name", ["", "n" * 256, "é" * 128, "two\nlines", "nul\0", "\x7f", "\x85", "\udcff"])
def test_other_names_of_channels_are_refused(name):
    found = refusal(("channel", name))
    assert "--channel was given" in found and "1 to 255 bytes of UTF-8 without control characters" in found


@pytest.mark.parametrize("text, is_set", [("true", True), ("", True), ("1", True), ("Off", False), ("NO", False)])
def test_a_flag_is_set_and_cleared_by_four_words_each(text, is_set):
    assert made(("disable-logging", text)).disable_logging is is_set


@pytest.mark.parametrize("text", ["maybe", "false ; for development only", "off # yet", "2"])
def test_what_is_neither_on_nor_off_sets_no_flag(text):
    assert refusal(("catch-exceptions", text)).startswith(
        f"--catch-exceptions was given {text!r} (command line); it needs no value, or true, on, yes or 1"
    )


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("processes", "2   ; two", "processes", 2), ("harakiri", "1.5 # s", "harakiri_s", 1.5),
        ("chmod-socket", "660\t; group", "chmod_socket", 0o660), ("wsgi-strict", "yes ; quiet", "wsgi_strict", True),
        ("buffer-size", "8192 ;", "buffer_size", 8192),
    ],
)  # fmt: skip
def test_a_comment_behind_a_value_is_left_out_where_uwsgi_reads_the_same(name, text, field, value):
    settings = made((name, text))
    assert getattr(settings, field) == value
    assert f"--{name} is read as {text.split()[0]} (command line), as in uWSGI" in remarks(settings)[0]


@pytest.mark.parametrize(("name", "text"), [("http", ":80 ; web"), ("processes", "2x ; two"), ("processes", "2;two")])
def test_elsewhere_it_is_a_part_of_the_value(name, text):
    sentence = refusal((name, text))
    assert f"--{name} was given {text!r}" in sentence
    assert sentence.endswith("; a comment stands on a line of its own.") is (" ;" in text)


def test_all_that_is_wrong_is_told_at_once_and_what_follows_from_it_is_not():
    given = [("http", "::1:80"), ("processes", "0"), ("wsgi-file", ""), ("greenlet", None)]
    given += [("mount", "/a=b"), ("mount", "/a=c")]
    settings, problems = Settings.read(Given(name, value, f"a.ini:{at}") for at, (name, value) in enumerate(given, 1))
    assert [problem.partition(" was given")[0] for problem in problems[:3]] == ["--http", "--processes", "--wsgi-file"]
    assert problems[3:] == [
        "--greenlet requires async mode; add --async N, the connections at a time per worker (a.ini:4).",
        "--mount names the path '/a' twice; keep one app for each path (a.ini:6).",
    ]
    assert settings.processes == 1 and settings.greenlet


def test_what_was_refused_before_is_not_missed():
    given = [Given("http", ":1", "x")]
    assert Settings.read(given)[1] == [
        "there is no application to serve; add --wsgi-file app.py or --module package.module."
    ]
    assert Settings.read(given, refused=["module"])[1] == []


@pytest.mark.parametrize(
    "text, address",
    [
        (":80", Address(":80", "tcp", "", 80)),
        ("localhost:0", Address("localhost:0", "tcp", "localhost", 0)),
        ("[::1]:8080", Address("[::1]:8080", "tcp", "::1", 8080)),
        ("/run/app.sock", Address("/run/app.sock", "unix", name="/run/app.sock")),
        ("app.sock", Address("app.sock", "unix", name="app.sock")),
        ("@app", Address("@app", "abstract", name="app")),
    ],
)
def test_addresses_have_uwsgis_forms(text, address):
    assert made(("http-socket", text)).http_socket == (address,)


@pytest.mark.parametrize("text", ["8080", "", "@", "=0", ":99999", "host:port", "::1:80", ":"])
def test_no_other_address_is_accepted(text):
    assert "--http-socket was given" in refusal(("http-socket", text))


@pytest.mark.parametrize(
    "name, text",
    [
        ("processes", "0"), ("processes", "-1"), ("processes", "2x"), ("processes", "٣"),
        ("socket-timeout", "-1"),
        ("socket-timeout", "nan"), ("chmod-socket", "999"), ("env", "A"), ("mount", "a=b"), ("mount", "/a="),
        ("add-header", "Bad Name: x"), ("add-header", "X: a\r\nY: b"), ("uid", "no-such-user"),
        ("module", ""),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_place(name, text):
    sentence = refusal((name, text))
    assert sentence.startswith(f"--{name} was given {text!r} (command line); ")


def test_the_sentence_says_what_is_needed():
    assert refusal(("workers", "many")) == (
        "--workers was given 'many' (command line); it needs a whole number from 1 to 4096."
    )


def test_a_trusted_proxy_is_an_address_a_network_or_a_word():
    texts = ("192.0.2.1", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32", "0.0.0.0/0", "unix", "*")
    assert made(*(("trusted-proxy", text) for text in texts)).trusted_proxy == texts


@pytest.mark.parametrize(
    "text",
    ["proxy", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/255.0.0.0", "fe80::1%lo", "[::1]", "1.2.3", "010.0.0.1", "::/129"],
)
def test_no_other_proxy_can_be_trusted(text):
    assert refusal(("trusted-proxy", text)) == (
        f"--trusted-proxy was given {text!r} (command line); it needs an IP address, a network such as 10.0.0.0/8, "
        "unix, or * for everybody."
    )


def test_a_network_that_may_be_a_mistake_is_answered_with_the_right_one():
    assert refusal(("trusted-proxy", "10.1.2.3/8")).endswith("first address is 10.0.0.0: write 10.0.0.0/8.")


def test_the_proxy_protocol_is_for_the_listeners_of_one_option():
    worker, router = ("enable-proxy-protocol", None), ("http-enable-proxy-protocol", None)
    assert made(router, ("http-socket", ":81")).proxy_protocol == ["http", "https", "https2"]
    assert made(worker, ("http-socket", ":81")).proxy_protocol == ["http-socket", "https-socket"]
    assert refusal(worker) == (
        "--enable-proxy-protocol is for --http-socket and --https-socket, and there is none; did you mean "
        "--http-enable-proxy-protocol?"
    )


def test_nobody_trusts_the_clients_that_a_proxy_announces():
    router = ("http-enable-proxy-protocol", None)
    assert "would trust the clients that the proxy announces" in refusal(router, ("trusted-proxy", "*"))
    assert made(router, ("trusted-proxy", "10.0.0.1")).trusted_proxy == ("10.0.0.1",)


@pytest.mark.parametrize(
    "text, seconds",
    [(None, 75.0), ("", 75.0), ("1", 75.0), ("true", 75.0), ("0", 0.0), ("off", 0.0), ("15", 15.0)],
)
def test_http_keepalive_is_a_flag_or_a_number_of_seconds(text, seconds):
    assert made(("http-keepalive", text)).http_keepalive_s == seconds


@pytest.mark.parametrize(("text", "protocol"), [("uwsgi", "uwsgi"), ("http", "http"), ("http11", "http")])
def test_protocol_takes_what_is_spoken_here(text: str, protocol: str) -> None:
    assert made(("socket-protocol", text)).protocol == protocol


@pytest.mark.parametrize("text", ["fastcgi", "scgi", "raw", "suwsgi", "puwsgi"])
def test_the_other_protocols_of_uwsgi_are_refused_by_name(text: str) -> None:
    assert f"{text} is not spoken here; choose uwsgi or http" in refusal(("protocol", text))


def test_a_word_that_is_no_protocol_is_refused() -> None:
    assert "it needs uwsgi or http" in refusal(("protocol", "gopher"))


def test_an_address_of_the_uwsgi_protocol_is_enough_to_serve() -> None:
    for name in ("socket", "uwsgi-socket"):
        Settings.of(Given(name, value, "test") for name, value in [("wsgi-file", "a.py"), (name, ":3031")])


def test_websocket_and_websockets_name_the_same_option():
    assert made(("websocket-max-size", "2")).websockets_max_bytes == 2048
    assert made(("websockets-pong-freq", "0")).engine_values()["websocket_pong_interval"] == 0.0


@pytest.mark.parametrize(
    "pairs, part",
    [
        ([("greenlet", None)], "--greenlet requires async mode"),
        ([("ugreen", None)], "--ugreen requires async mode"),
        (
            [("async", "10"), ("greenlet", None), ("threads", "2")],
            "--threads 2 and --async 10 are 2 concurrency models",
        ),
        ([("async", "10"), ("gevent", "20"), ("asyncio", "5")], "--async 10 and --gevent 20 and --asyncio 5 are 3"),
        ([("gevent", "20"), ("greenlet", None)], "--greenlet chooses how --async runs"),
        ([("gevent-monkey-patch", None)], "add --gevent N"),
        ([("module", "app")], "both name the application"),
        ([("mount", "/a=x"), ("mount", "/a/=y")], "twice"),
    ],
)
def test_a_combination_that_cannot_run_is_refused_with_the_reason(pairs, part):
    assert part in refusal(*pairs)


def test_an_app_and_an_address_are_needed():
    with pytest.raises(SettingsError, match="no application"):
        Settings.of([Given("http", ":1", "command line")])
    with pytest.raises(SettingsError, match="no address"):
        Settings.of([Given("wsgi-file", "a.py", "command line")])


@pytest.mark.parametrize(
    "pairs, model, slots, send_timeout_s",
    [
        ([], "threads", DEFAULT_THREADS, 4.0),
        ([("processes", "4")], "threads", DEFAULT_THREADS, 4.0),
        ([("threads", "1")], "threads", 1, 4.0),
        ([("threads", "8")], "threads", 8, 4.0),
        ([("async", "9")], "generators", 9, 4.0),
        ([("async", "9"), ("greenlet", None)], "greenlets", 9, 4.0),
        ([("gevent", "7")], "gevent", 7, 30.0),
        ([("gevent", "7"), ("socket-timeout", "60")], "gevent", 7, 60.0),
        ([("asyncio", "6"), ("greenlet", None)], "asyncio", 6, 30.0),
        ([("asyncio", "6")], "asyncio", 6, 30.0),
    ],
)
def test_the_options_choose_the_concurrency_model(pairs, model, slots, send_timeout_s):
    settings = made(*pairs)
    assert (settings.runner, settings.slots, settings.send_timeout_s) == (model, slots, send_timeout_s)


@pytest.mark.parametrize(
    ("pairs", "has_threads"),
    [([], True), ([("threads", "1")], False), ([("threads", "2")], True), ([("async", "9")], False)],
)
def test_an_application_is_told_whether_threads_share_it(pairs, has_threads):
    assert made(*pairs).has_threads is has_threads


def test_one_thread_beside_another_model_is_what_uwsgi_calls_the_default():
    assert made(("threads", "1"), ("gevent", "7")).runner == "gevent"


def test_nobody_need_wait_for_a_slot_or_no_longer_than_that():
    assert made().engine_values().keys().isdisjoint({"request_queue_size", "request_queue_timeout"})
    values = made(("request-queue-size", "0"), ("request-queue-timeout", "2.5")).engine_values()
    assert (values["request_queue_size"], values["request_queue_timeout"]) == (0, 2.5)
    assert "--request-queue-timeout was given '0'" in refusal(("request-queue-timeout", "0"))


def test_a_router_needs_no_application_and_only_listeners_of_its_own():
    pairs = [("http", ":8080"), ("http-to", ":3031"), ("http-to", "app.sock")]
    settings = Settings.of(Given(name, value, "command line") for name, value in pairs)
    assert [address.text for address in settings.http_to] == [":3031", "./app.sock"]
    assert Settings.from_plain(json.loads(json.dumps(settings.as_plain()))).http_to == settings.http_to
    assert remarks(settings) == []
    assert (settings.runner, settings.slots) == ("threads", 1), "nothing runs here"
    with pytest.raises(SettingsError, match="no application for the other addresses"):
        Settings.of(Given(name, value, "command line") for name, value in [*pairs, ("socket", ":3032")])


def test_an_application_that_the_router_hides_is_remarked():
    assert "nothing leads to app.py" in remarks(made(("http-to", ":3031")))[0]
    assert remarks(made(("http-to", ":3031"), ("socket", ":3032"))) == []


#: Of each option that may have no effect: a value, and what gives it one.
EFFECTIVE = {
    "protocol": ("http", ("socket", ":1")),
    "max-vars": ("99", ("uwsgi-socket", ":1")),
    "chmod-socket": ("600", ("http-socket", "a.sock")),
    "chown-socket": ("0", ("socket", "a.sock")),
    "https-export-cert": (None, ("https", ":443,a.crt,a.key,,ca.pem")),
    "callable": ("app", None),
    "manage-script-name": (None, ("mount", "/a=b")),
    "wsgi-strict": (None, None),
    "wsgi-disable-file-wrapper": (None, None),
    "catch-exceptions": (None, None),
    "asyncio-loop": ("asyncio", ("asyncio", "5")),
    "http-keepalive": ("5", None),
    "http-headers-timeout": ("5", None),
    "disable-http2": (None, None),
    "static-index": ("index.html", ("static-map", "/=.")),
    "route-idle-timeout": ("5", ("route", "^/ http::81")),
    "http-connect-timeout": ("5", ("http-to", ":81")),
    "http-gracetime": ("5", ("http-to", ":81")),
    "http-modifier1": ("5", ("http-to", ":81")),
    "http-modifier2": ("5", ("http-to", ":81")),
    "websockets-pong-tolerance": ("5", None),
    "channel-queue": ("5", ("channel", "room")),
    "channels-socket-mode": ("600", ("channels-socket", "c.sock")),
    "die-on-term": (None, None),
}

#: What there is instead where it has none.
INEFFECTIVE = {
    "callable": [("http", ":1"), ("mount", "/a=b")],
    "wsgi-strict": [("http", ":1"), ("http-to", ":2")],
    "wsgi-disable-file-wrapper": [("http", ":1"), ("http-to", ":2")],
    "catch-exceptions": [("http", ":1"), ("http-to", ":2")],
    "http-keepalive": [("socket", ":1"), ("module", "a")],
    "http-headers-timeout": [("socket", ":1"), ("module", "a")],
    "disable-http2": [("socket", ":1"), ("module", "a")],
    "websockets-pong-tolerance": [*ENOUGH, ("websockets-ping-freq", "0")],
}


def test_the_examples_below_are_all_options_that_may_have_no_effect():
    assert list(EFFECTIVE) == [option for effect in EFFECTS for option in effect.options]


@pytest.mark.parametrize("name", EFFECTIVE)
def test_an_option_without_effect_says_so(name):
    value, needs = EFFECTIVE[name]

    def said(*pairs):
        wheres = [Given(one, its, f"a.ini:{at}") for at, (one, its) in enumerate(pairs, 1)]
        return [
            sentence for sentence in remarks(Settings.of(wheres)) if sentence.startswith(f"--{name} has no effect: ")
        ]

    without = [*INEFFECTIVE.get(name, ENOUGH), (name, "false" if name == "die-on-term" else value)]
    assert len(said(*without)) == 1
    assert f"a.ini:{len(without)}" in said(*without)[0]
    assert said(*ENOUGH, (name, value), *([needs] if needs else [])) == []


@pytest.mark.parametrize(
    ("name", "text"), [("http-to", "h:0"), ("http-to", "@"), ("http-var", "=x"), ("http-modifier2", "-1")]
)
def test_what_is_no_server_no_variable_and_no_modifier_is_refused(name, text):
    assert f"--{name} was given {text!r}" in refusal((name, text))


def test_ugreen_is_the_greenlet_engine():
    settings = made(("async", "7"), ("ugreen", None))
    assert (settings.runner, settings.slots) == ("greenlets", 7)
    assert (made(("threads", "9")).runner, made(("threads", "9")).slots) == ("threads", 9)


def test_settings_survive_the_way_to_a_worker():
    settings = made(
        ("http-socket", "@x"), ("mount", "/a=b.py"), ("env", "A=1"), ("add-header", "X: 1"),
        ("trusted-proxy", "::1"), ("trusted-proxy", "unix"),
        ("chown-socket", "0:0"),
        ("chmod-socket", None), ("async", "5"), ("greenlet", None), ("placeholder", "value"),
    )  # fmt: skip
    assert Settings.from_plain(json.loads(json.dumps(settings.as_plain()))) == settings


def test_each_field_is_a_documented_setting_and_names_are_unique():
    assert {about.field for about in SETTINGS} == {one.name for one in fields(Settings)} - {"given", "magic"}
    assert all(about.help and (about.is_flag or about.kind.metavar) for about in (*SETTINGS, *DIRECTIVES))
    names = [name for about in (*SETTINGS, *DIRECTIVES) for name in (about.name, *about.aliases)]
    assert len(names) == len(BY_NAME)
    shorts = [about.short for about in (*SETTINGS, *DIRECTIVES) if about.short]
    assert len(shorts) == len(set(shorts))
    assert {field for _, field in GROUPS} <= {about.field for about in SETTINGS}
