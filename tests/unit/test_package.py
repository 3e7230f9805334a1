"""What an index and an installer are told of the package, and how large it is: nothing is built here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import fairlead._engine
import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))

#: Bytes of the extension without debug information. 6.4 MB when this was written; with the line tables it has 27.
LARGEST_EXTENSION = 12_000_000


def test_the_metadata_is_complete():
    assert PROJECT["description"] and PROJECT["authors"] and PROJECT["license"] == "MIT"
    assert all((ROOT / file).exists() for file in (*PROJECT["license-files"], PROJECT["readme"]))
    assert len(PROJECT["keywords"]) >= 5 and PROJECT["keywords"] == sorted(PROJECT["keywords"])
    classifiers = PROJECT["classifiers"]
    assert len(set(classifiers)) == len(classifiers)
    for kind in ("Development Status", "Intended Audience", "Operating System", "Programming Language", "Topic"):
        assert any(one.startswith(f"{kind} :: ") for one in classifiers), kind
    # PEP 639: the licence is an expression, and has no classifier beside it.
    assert not any(one.startswith("License ::") for one in classifiers)
    assert ("Typing :: Typed" in classifiers) == (ROOT / "python" / "fairlead" / "py.typed").exists()


def test_the_versions_of_python_are_those_that_can_install_it():
    least = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])
    assert least is not None
    minors = [int(one) for one in re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))]
    assert minors and minors == list(range(int(least[1]), minors[-1] + 1))


def test_all_addresses_belong_to_one_home():
    urls = PROJECT["urls"]
    assert {"Source", "Documentation", "Changelog", "Issues"} <= set(urls)
    for url in urls.values():
        assert url.startswith(urls["Source"]) and url.startswith("https://")
        for kind in ("blob", "tree"):
            _, found, file = url.partition(f"/{kind}/main/")
            assert not found or (ROOT / file).exists(), url


def test_the_readme_of_the_package_is_the_readme_with_links_that_work_elsewhere():
    specification = importlib.util.spec_from_file_location("package_readme", ROOT / "tools" / "package_readme.py")
    assert specification is not None and specification.loader is not None
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    assert (ROOT / PROJECT["readme"]).read_text(encoding="utf-8") == tool.page(), "run `make docs`"
    links = re.findall(r"\]\(([^)\s]+)\)", tool.page())
    assert len(links) > 10 and all(link.startswith(PROJECT["urls"]["Source"]) for link in links)


def test_wheels_are_built_without_debug_information_and_developers_keep_theirs():
    maturin, profiles = PYPROJECT["tool"]["maturin"], CARGO["profile"]
    wheel = profiles[maturin["profile"]]
    assert wheel["inherits"] == "release" and wheel["debug"] is False and wheel["strip"] in ("debuginfo", True)
    assert maturin["editable-profile"] == "release" and profiles["release"]["debug"] == "line-tables-only"
    assert "strip" not in profiles["release"] and not maturin.get("strip")


def test_the_extension_is_small_without_debug_information(tmp_path):
    stripped = tmp_path / "stripped.so"
    # binutils has it, and so has every machine that has linked the extension.
    subprocess.run(["strip", "--strip-debug", "-o", stripped, fairlead._engine.__file__], check=True, timeout=60)
    assert stripped.stat().st_size < LARGEST_EXTENSION
    code = "import importlib.util as u, sys; u.module_from_spec(u.spec_from_file_location('_engine', sys.argv[1]))"
    assert subprocess.run([sys.executable, "-c", code, stripped], timeout=60).returncode == 0


@pytest.mark.parametrize("name", ["asyncio", "gevent"])
def test_what_the_command_tells_to_install_is_an_extra(name):
    assert name in PROJECT["optional-dependencies"]
