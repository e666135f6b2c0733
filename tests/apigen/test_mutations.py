"""Every mutation of the table gives the code or the refusal that is right, and code that works."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.apigen import ROOT
from tests.apigen.mutations import MUTATIONS, Mutation, patched
from tests.apigen.walk import Walk, imported
from tools.apigen.__main__ import formatted
from tools.apigen.changes import changes
from tools.apigen.names import Names
from tools.apigen.normalise import Result, normalise
from tools.apigen.package import Package

CASES = [pytest.param(i, one, id=one.name) for i, one in enumerate(MUTATIONS)]
NAMES = Names({"integers": "Count$", "dates": "At$"}, "management")


@pytest.fixture(scope="module")
def made() -> list[Result]:
    return [normalise(patched(one.patch), NAMES) for one in MUTATIONS]


@pytest.fixture(scope="module")
def packages(made: list[Result]) -> list[dict[str, str]]:
    """The modules of every mutation, formatted in one go."""
    sources = {
        f"{i}/{file}": text
        for i, one in enumerate(made)
        for file, text in Package(one.description, "management", "ThingsClient").files().items()
    }
    found: list[dict[str, str]] = [{} for _ in made]
    for name, text in formatted(sources).items():
        number, _, file = name.partition("/")
        found[int(number)][file] = text
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@pytest.mark.parametrize(("i", "mutation"), CASES)
def test_the_code_is_right(packages: list[dict[str, str]], i: int, mutation: Mutation) -> None:
    for file, lines in mutation.code.items():
        for line in lines:
            assert line in packages[i][file]
    for word in mutation.absent:
        assert word not in "".join(text for file, text in packages[i].items() if file != "__init__.py")


@pytest.mark.parametrize(("i", "mutation"), CASES)
def test_what_is_not_understood_is_one_line_with_a_pointer(made: list[Result], i: int, mutation: Mutation) -> None:
    assert len(made[i].refused) == len(mutation.refused), made[i].refused
    for line, start in zip(sorted(made[i].refused), sorted(mutation.refused), strict=True):
        assert line.startswith(start)
        assert line.endswith("is left out")
        assert "\n" not in line
        pointed(patched(mutation.patch), line.partition(": ")[0])


def pointed(value: Any, pointer: str) -> None:
    """Follow a pointer, which has to lead somewhere."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]


@pytest.mark.parametrize(("i", "mutation"), CASES)
def test_the_code_does_what_the_document_says(
    packages: list[dict[str, str]], made: list[Result], folder: Path, i: int, mutation: Mutation
) -> None:
    client = imported(packages[i], f"mutation_{i}", folder)
    refused = {line.rpartition("; ")[2].removesuffix(" is left out") for line in made[i].refused}
    Walk(patched(mutation.patch), client, refused).all()


@pytest.mark.parametrize(("i", "mutation"), CASES)
def test_a_second_run_is_silent(made: list[Result], i: int, mutation: Mutation) -> None:
    again = normalise(patched(mutation.patch), NAMES, made[i].description)
    assert again.description == made[i].description
    assert changes(made[i].description, again.description) == []
    assert again.unnamed == []
    alone = normalise(made[i].description, NAMES, made[i].description)
    assert alone.description == made[i].description
    assert alone.refused == []


@pytest.mark.parametrize(("i", "mutation"), CASES)
def test_a_release_that_adds_it_leaves_the_rest_alone(made: list[Result], i: int, mutation: Mutation) -> None:
    base = made[0].description
    then = normalise(patched(mutation.patch), NAMES, base).description
    direct = made[i].description
    for path, item in base["paths"].items():
        for http, one in item.items():
            now = then["paths"].get(path, {}).get(http)
            assert now is None or now["operationId"] == one["operationId"]
    assert {name for name in direct["components"]["schemas"] if name in base["components"]["schemas"]} <= set(
        then["components"]["schemas"]
    )


def test_generated_code_is_typed(packages: list[dict[str, str]], tmp_path: Path) -> None:
    for i, files in enumerate(packages):
        package = tmp_path / f"typed_{i}"
        package.mkdir()
        for file, text in files.items():
            (package / file).write_text(text.replace("prisma_mgmt.management", f"typed_{i}"), "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), "--no-error-summary"]
    done = subprocess.run(
        [*command, *(f"typed_{i}" for i in range(len(packages)))],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
