"""Each way into the settings: command line, INI, YAML, JSON, environment; and uWSGI's names without a meaning
here."""

from __future__ import annotations

import re
import sys

import pytest
from fairlead.errors import SettingsError
from fairlead.settings import other_servers
from fairlead.settings.options import BY_NAME, SETTINGS, Settings
from fairlead.settings.sources import Reading, names_an_option, read_all, read_sources


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(*arguments: str, **environ: str) -> Reading:
    return read_sources(arguments, environ)


def pairs(reading: Reading) -> list[tuple[str, str | None]]:
    return [(given.name, given.value) for given in reading.given]


def refusal(*arguments: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(*arguments, **environ)
    return str(caught.value)


def ini(text: str, *, section: str = "[uwsgi]", **environ: str) -> Reading:
    with open("app.ini", "w", encoding="utf-8") as file:
        file.write(f"{section}\n{text}")
    return read("--ini", "app.ini", **environ)


# -- the command line


def test_options_take_values_in_getopts_forms():
    words = ["--processes", "2", "--processes=3", "-p", "4", "-p5", "-Lp6", "-C660", "-C", "--async=1"]
    assert pairs(read(*words)) == [
        ("processes", "2"), ("processes", "3"), ("processes", "4"), ("processes", "5"),
        ("disable-logging", None),
        ("processes", "6"), ("chmod-socket", "660"), ("chmod-socket", None), ("async", "1"),
    ]  # fmt: skip


def test_an_optional_value_is_the_next_word_if_that_is_a_number():
    words = ["--http-keepalive", "30", "--chmod-socket", "660", "-C", "600", "--http-keepalive", "app.py", "-LC", "640"]
    assert pairs(read(*words)) == [
        ("http-keepalive", "30"), ("chmod-socket", "660"), ("chmod-socket", "600"), ("http-keepalive", None),
        ("wsgi-file", "app.py"), ("disable-logging", None), ("chmod-socket", "640"),
    ]  # fmt: skip
    assert pairs(read("--http-keepalive", "--threads", "4")) == [("http-keepalive", None), ("threads", "4")]
    assert pairs(read("--memory-report", "2", "app.py")) == [("memory-report", "2"), ("wsgi-file", "app.py")]


def test_every_option_with_an_optional_value_takes_a_number():
    optional = [about.name for about in SETTINGS if about.bare is not None]
    assert optional == ["chmod-socket", "http-keepalive"]
    for name in optional:
        assert pairs(read(f"--{name}", "640", "a.py")) == [(name, "640"), ("wsgi-file", "a.py")]


def test_a_word_that_is_no_such_number_is_blamed_on_the_option_before_it():
    assert "if it is meant for --chmod-socket, that needs an octal file mode" in refusal("--chmod-socket", "66o")
    assert "if it is meant for -C, that needs an octal file mode" in refusal("-C", "x")
    assert "--greenlet takes no value on the command line" in refusal("--greenlet", "true")
    assert "takes no value" not in refusal("--processes=2", "true")


def test_all_that_is_wrong_is_told_at_once():
    with open("app.ini", "w") as file:
        file.write(
            "[uwsgi]\nstats = :1\nhttp :80\n[open\nif-moon = x\ncache2 = y\nendif =\nfor-times = x\nendfor =\n"
            "a = %(b)\nini = none.ini\nendif =\nproceses = 2\nif-env = X\n"
        )
    words = ["--cron", "0 0 * * * x", "app.ini", "--bogus", "7", "thing", "-Q", "--threads", "x"]
    with pytest.raises(SettingsError) as caught:
        read(*words)
    found = [re.findall(r"app\.ini:\d+|--[a-z]+|-Q|'thing'", problem)[0] for problem in caught.value.problems]
    lines = (3, 4, 5, 8, 10, 12, 13, 14)  # of the others the sentence begins with the option
    assert sorted(found) == sorted(
        ["--cron", "--stats", "--cache", "--ini", "--bogus", "'thing'", "-Q", *(f"app.ini:{line}" for line in lines)]
    )


def test_who_uses_a_key_that_is_refused_is_not_blamed_for_it():
    with pytest.raises(SettingsError) as caught:
        ini("a = %(none)\nb = %(a)\nlogto = %(b)/x")
    assert caught.value.problems == ("%(none) in app.ini:2 names 'none', which is not set above it; set it first.",)


def test_what_another_server_means_is_not_missed():
    reading = read_all(["-b", ":80", "-w", "4", "a:b"], {})
    assert len(reading.problems) == 2
    assert Settings.read(reading.given, refused=reading.refused)[1] == []


def test_no_option_of_ours_is_taken_for_another_server_s():
    shadowed = [name for name in other_servers.NAMES if name in BY_NAME]
    assert shadowed == []
    for told in other_servers.NAMES.values():
        for name in re.findall(r"--([a-z][a-z0-9-]*)", told):
            assert name in BY_NAME, told


def test_the_value_of_what_is_refused_needs_no_placeholders():
    with pytest.raises(SettingsError, match=r"^--log-format \(app\.ini:2\) needs"):
        ini("log-format = %(addr) %(uri)")


@pytest.mark.parametrize(
    "words",
    [["--emperor", "/etc/vassals"], ["--cron", "0 * * * * x"], ["--bind", ":80"], ["-k", "x"], ["--wsgi-fiel", "x.py"]],
)
def test_the_value_of_what_is_refused_is_no_second_mistake(words):
    assert "\n" not in refusal(*words, "app.py")


@pytest.mark.parametrize(
    "word, pair",
    [
        ("app.py", ("wsgi-file", "app.py")),
        ("app.wsgi", ("wsgi-file", "app.wsgi")),
        ("package.module:app", ("module", "package.module:app")),
        ("module:create()", ("module", "module:create()")),
    ],
)
def test_a_free_argument_is_an_application(word, pair):
    assert pairs(read(word)) == [pair]


def test_bad_command_lines_are_answered_in_a_sentence():
    assert refusal("--proceses", "2") == (
        "--proceses is no option of Fairlead; did you mean --processes or --http-processes; see --help."
    )
    assert refusal("--http").startswith("--http has no value; it needs :port")
    assert refusal("-p").startswith("-p has no value")
    assert refusal("-Q") == "-Q is no option of Fairlead; see --help."
    assert "neither an option nor an application" in refusal("thing")
    assert "app.py --callable app" in refusal("app.py:app")
    assert "Perl" in refusal("app.psgi") and "Ruby" in refusal("config.ru") and "XML" in refusal("app.xml")


def test_immediate_options_are_remembered():
    assert read("--help", "--version").asked == ["help", "version"]


# -- uWSGI's names


@pytest.mark.parametrize("name", ["thunder-lock", "single-interpreter", "memory-report"])
def test_a_tuning_flag_is_ignored_with_one_warning(name):
    reading = read(f"--{name}", f"--{name}")
    assert len(reading.warnings) == 1 and reading.warnings[0].startswith(f"--{name} (command line) is ignored")


def test_a_tuning_option_takes_its_value_along():
    reading = read("--offload-threads", "4", "--plugins", "python3", "app.py")
    assert pairs(reading)[-1] == ("wsgi-file", "app.py")
    assert len(reading.warnings) == 2


def test_what_is_always_on_is_accepted_in_silence_but_cannot_be_turned_off():
    assert read("--master", "-M", "--lazy-apps", "--http-websockets", "-T", "--vacuum").warnings == []
    assert ini("master = false").warnings == [
        "--master cannot be turned off (app.ini:2): a master process always runs."
    ]


@pytest.mark.parametrize(
    "name, part",
    [
        ("cache2", "the cache, which Fairlead does not have"), ("spooler", "the spooler"), ("mules", "mules"),
        ("cron", "cron"), ("emperor", "emperor"), ("sharedarea", "shared areas"), ("legion-mcast", "legion"),
        ("tornado", "not in this version yet"), ("ssl-sessions-timeout", "TLS"),
        ("fastcgi-socket", "other protocols than HTTP and uwsgi"),
        ("static-gzip", "static"), ("pypy-home", "PyPy"), ("stats", "statistics"),
        ("harakiri-no-arh", "harakiri"), ("fiber", "Ruby"), ("daemonize", "background"),
    ],
)  # fmt: skip
def test_a_missing_subsystem_is_named(name, part):
    sentence = refusal(f"--{name}=x")
    assert sentence.startswith(f"--{name} (command line) needs ") and part in sentence


def test_no_real_option_is_taken_for_a_foreign_one():
    from fairlead.settings import uwsgi
    from fairlead.settings.options import BY_NAME

    shadowed = [name for name in uwsgi.NAMES if name in BY_NAME]
    assert shadowed == []


# -- INI


def test_ini_has_comments_at_line_starts_flags_and_no_quotes():
    reading = ini('; one\n# two\n\ndisable-logging\nhttp = :80 ; not a comment\nmodule = "x"\n[other]\nprocesses = 9\n')
    assert pairs(reading) == [("disable-logging", None), ("http", ":80 ; not a comment"), ("module", '"x"')]
    assert [given.where for given in reading.given] == ["app.ini:5", "app.ini:6", "app.ini:7"]


def test_sections_can_be_chosen_and_include_each_other():
    with open("app.ini", "w") as file:
        file.write("[uwsgi]\nini = :more\nprocesses = 1\n[more]\nthreads = 2\n")
    assert pairs(read("app.ini")) == [("threads", "2"), ("processes", "1")]
    assert pairs(read("--ini", "app.ini:more")) == [("threads", "2")]
    assert refusal("--ini", "app.ini:none") == "app.ini has no section [none]; it has: more, uwsgi."


def test_a_file_counts_where_its_option_stands():
    with open("app.ini", "w") as file:
        file.write("[uwsgi]\nprocesses = 5\n")
    assert pairs(read("-p1", "app.ini", "-p9")) == [
        ("processes", "1"),
        ("processes", "5"),
        ("processes", "9"),
    ]


@pytest.mark.parametrize(
    "text, part",
    [
        ("ini = app.ini", "includes itself"),
        ("ini = none.ini", "cannot be read: no such file"),
        ("ini = http://x/y.ini", "not a local file"),
        ("[open", "app.ini:2 opens a section"),
        ("if-env = X", "if-env (app.ini:2) is never closed"),
        ("endif =", "closes nothing"),
        ("if-moon = X\nendif =", "no condition"),
        ("a = %(b)", "%(b) in app.ini:2 names 'b', which is not set above it"),
        ("a = $(NOPE)", "$(NOPE) in app.ini:2"),
        ("a = @(nope)", "@(nope) in app.ini:2 cannot be read"),
        ("a = @(exec://ls)", "only files can be included"),
        ("a = %(1 / 0)", "cannot calculate '1' / '0'"),
        ("cache = x", "--cache (app.ini:2) needs the cache"),
    ],
)
def test_a_bad_file_is_named_with_its_line(text, part):
    with pytest.raises(SettingsError) as caught:
        ini(text)
    assert part in str(caught.value)


def test_a_key_outside_any_section_is_an_error():
    with pytest.raises(SettingsError, match=r"app\.ini:1 stands before any section"):
        ini("", section="http = :80")


def test_an_unknown_key_is_a_placeholder_unless_strict():
    assert pairs(ini("domain = example.org\npidfile = /run/%(domain).pid"))[-1] == (
        "pidfile",
        "/run/example.org.pid",
    )
    with pytest.raises(SettingsError, match=r"domain .* is no option and --strict is set"):
        ini("domain = example.org\nstrict = true")


@pytest.mark.parametrize(
    ("key", "option"), [("proceses", "processes"), ("wsgi_file", "wsgi-file"), ("log-to", "logto")]
)
def test_a_key_that_looks_like_a_slip_of_the_pen_is_an_error_unless_a_placeholder_uses_it(key, option):
    with pytest.raises(SettingsError) as caught:
        ini(f"{key} = 4")
    assert str(caught.value).startswith(
        f"{key} (app.ini:2) is no option, and no placeholder uses it; did you mean {option}? "
    )
    assert ini(f"{key} = 4\npidfile = %({key})").warnings == []
    assert ini(f"{key} = 4\nif-opt = {key}=4\npidfile = x\nendif =").warnings == []
    assert ini(f"set-placeholder = {key}=4").warnings == []


def test_any_other_key_that_nothing_uses_is_warned_of():
    assert ini("domain = example.org").warnings == [
        "domain (app.ini:2) is no option, and no placeholder uses it; it is kept for the application, in uwsgi.opt."
    ]
    assert "Fairlead calls this option of uvicorn and granian --http :PORT" in ini("port = 80").warnings[0]
    assert ini("port = 80\nhttp = :%(port)").warnings == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("http :80", "app.ini:2 has no =: 'http :80'; write http = :80, or ; in front of a comment."),
        (
            "proceses",
            "app.ini:2 has no =: 'proceses'; write proceses = VALUE, or ; in front of a comment; did you mean --p",
        ),
        ("http", "--http (app.ini:2) has no value"),
    ],
)
def test_a_line_without_an_equals_sign_is_a_flag_or_an_error(line, told):
    with pytest.raises(SettingsError) as caught:
        Settings.of(ini(f"{line}\n").given)
    assert str(caught.value).startswith(told)
    assert pairs(ini("disable-logging\nmaster\nhttp-keepalive")) == [
        ("disable-logging", None), ("master", None), ("http-keepalive", None),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["env = A=x\0y", "chdir = \0", "a\0b = 1", "if-exists = \0\nendif =", "ini = x\0.ini"])
def test_a_nul_is_refused_wherever_it_comes_from(text):
    with pytest.raises(SettingsError, match=r"\(app\.ini:2\) holds a NUL character; remove it\."):
        ini(text)


def test_a_nul_of_an_included_file_and_of_json_is_refused_too(tmp_path):
    (tmp_path / "key").write_text("x\0y")
    with pytest.raises(SettingsError, match="holds a NUL character"):
        ini("env = A=@(key)")
    (tmp_path / "app.json").write_text('{"uwsgi": {\n"mode": "env",\n"env": ["A=1", "B=\\u0000"]}}')
    assert refusal("app.json") == "env (app.json:3) holds a NUL character; remove it."


# -- what stands inside values


@pytest.mark.parametrize(
    "expression, result",
    [("%(a)", "17"), ("%(a b)", "1730"), ("%(a + b)", "47"), ("%(a b + 2)", "1732"), ("%(b - a * 2)", "26"),
     ("%(b / 4)", "7"), ("x%(a)y%%z", "x17y%z"), ("100%", "100%")],
)  # fmt: skip
def test_placeholders_join_and_calculate_from_left_to_right(expression, result):
    assert pairs(ini(f"a = 17\nb = 30\nlogto = {expression}"))[-1] == ("logto", result)


def test_variables_and_files_are_included_but_not_expanded_again(tmp_path):
    (tmp_path / "key.txt").write_text("s3%(cret)\n")
    assert pairs(ini("env = A=$(HOME)\nenv = B=@(%dkey.txt)", HOME="/h%(x)")) == [
        ("env", "A=/h%(x)"),
        ("env", "B=s3%(cret)"),
    ]


def test_magic_names_the_file_and_the_machine(tmp_path):
    import os
    import socket

    values = dict(pairs(ini("a1 = %n\na2 = %d\na3 = %p\na4 = %s\na5 = %h\na6 = %k\na7 = %c\na8 = %x\na9 = %u")))
    folder = str(tmp_path)
    assert values == {
        "a1": "app", "a2": f"{folder}/", "a3": f"{folder}/app.ini", "a4": "app.ini",
        "a5": socket.gethostname(),
        "a6": str(os.cpu_count()), "a7": tmp_path.name, "a8": "uwsgi", "a9": str(os.getuid()),
    }  # fmt: skip


def test_capital_magic_names_the_outermost_file(tmp_path):
    (tmp_path / "inner.ini").write_text("[uwsgi]\nlogto = %n %N\n")
    assert pairs(ini("ini = inner.ini\npidfile = %n %N")) == [("logto", "inner app"), ("pidfile", "app app")]


def test_set_may_set_options_but_set_placeholder_may_not():
    assert pairs(read("--set", "processes=3", "--set-ph", "x=1", "--pidfile", "%(x)")) == [
        ("processes", "3"), ("x", "1"), ("pidfile", "1"),
    ]  # fmt: skip
    assert "names an option; use --set" in refusal("--set-placeholder", "processes=3")


# -- blocks


@pytest.mark.parametrize(
    "condition, holds",
    [("if-env = A", True), ("if-env = A=1", True), ("if-env = A=2", False), ("if-not-env = B", True),
     ("if-opt = threads", True), ("if-opt = threads=3", False), ("if-exists = app.ini", True),
     ("if-dir = app.ini", False),
     ("if-file = app.ini", True), ("if-not-exists = app.ini", False), ("if-reload =", False)],
)  # fmt: skip
def test_conditions_choose_a_branch(condition, holds):
    reading = ini(f"threads = 2\n{condition}\nlogto = yes\nelse =\nlogto = no\nendif =", A="1")
    assert pairs(reading)[-1] == ("logto", "yes" if holds else "no")


def test_the_value_of_a_condition_can_be_used():
    assert pairs(ini("if-env = PORT\nhttp = :%(_)\nendif =", PORT="81")) == [("http", ":81")]


def test_loops_repeat_their_block(tmp_path):
    (tmp_path / "list").write_text("x\ny\n")
    text = "for = a b\nenv = %(_)=1\nendfor =\nfor-times = 2\nenv = t%(_)=1\nendfor =\nfor-readline = list\n"
    values = [
        value for _, value in pairs(ini(text + "env = %(_)=2\nendfor =\nfor-glob = %dapp.*\nimport = %(_)\nendfor ="))
    ]
    assert values == ["a=1", "b=1", "t0=1", "t1=1", "x=2", "y=2", str(tmp_path / "app.ini")]


# -- the other formats


def test_json_and_yaml_mean_the_same_as_ini(tmp_path):
    (tmp_path / "app.json").write_text('{"uwsgi": {"http": [":1", ":2"], "processes": 3, "master": true, "x": "%s"}}')
    (tmp_path / "app.yaml").write_text("uwsgi:\n  http: [':1', ':2']\n  processes: 3\n  master: true\n  x: '%s'\n")
    wanted = [("http", ":1"), ("http", ":2"), ("processes", "3"), ("master", "true")]
    assert pairs(read("app.json")) == [*wanted, ("x", "app.json")]
    pytest.importorskip("yaml")
    assert pairs(read("app.yaml")) == [*wanted, ("x", "app.yaml")]
    assert [given.where for given in read("app.yaml").given][2] == "app.yaml:3"


@pytest.mark.parametrize("text, part", [('{"uwsgi": {', "app.json:1 is not JSON"), ("[]", "no section"),
                                        ('{"uwsgi": ' + "[" * 100_000, "nested too deeply"),
                                        ('{"uwsgi": "x"}', "section uwsgi of app.json holds no options"),
                                        ('{"uwsgi": {"a": "b",\n"b": 1,\n"stats": ":1"}}', "--stats (app.json:3)"),
                                        ('{"uwsgi": {"a": {"b": 1}}}', "nested")])  # fmt: skip
def test_bad_json_is_answered_in_a_sentence(tmp_path, text, part):
    (tmp_path / "app.json").write_text(text)
    assert part in refusal("app.json")


@pytest.mark.parametrize(
    "text, part",
    [
        ("a: [", "is not YAML"),
        ("- a", "no section"),
        ("uwsgi: {a: {b: 1}}", "nested"),
        ("uwsgi: {env: A=\0}", "app.yaml is not YAML: unacceptable character #x0000"),
        ("{[a]: b}", "no section"),
        ("uwsgi: " + "[" * 1000, "app.yaml"),
    ],
)
def test_bad_yaml_is_answered_in_a_sentence(tmp_path, text, part):
    pytest.importorskip("yaml")
    (tmp_path / "app.yaml").write_text(text)
    assert part in refusal("app.yaml")


def test_yaml_without_its_package_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "app.yaml").write_text("uwsgi: {}")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "pip install PyYAML" in refusal("app.yaml")


# -- the environment


def test_the_environment_is_weaker_than_the_command_line_and_ours_stronger_than_uwsgis():
    reading = read("-p", "3", UWSGI_PROCESSES="1", FAIRLEAD_PROCESSES="2", UWSGI_DIE_ON_TERM="")
    assert pairs(reading) == [("die-on-term", ""), ("processes", "1"), ("processes", "2"), ("processes", "3")]
    assert reading.given[2].where == "environment variable FAIRLEAD_PROCESSES"


def test_variables_that_are_no_options_do_no_harm():
    reading = read(UWSGI_RELOADS="1", UWSGI_COLOUR="red", FAIRLEAD_CONTROL_FD="3", FAIRLEAD_PROCESES="2", HOME="/x")
    assert pairs(reading) == []
    assert len(reading.warnings) == 1 and "FAIRLEAD_PROCESES in the environment is no option" in reading.warnings[0]


def test_the_environment_alone_can_say_enough():
    assert names_an_option({"FAIRLEAD_HTTP": ":80"}) and names_an_option({"UWSGI_INI": "app.ini"})
    assert not names_an_option({"FAIRLEAD_PORT": "tcp://10.0.0.1:80", "UWSGI_RELOADS": "1", "HTTP": ":80"})
    # What an orchestrator makes of the name of a service is no mistake of the operator's.
    assert "calls this option" in read(FAIRLEAD_PORT="tcp://10.0.0.1:80").warnings[0]
