"""The three committed descriptions, and the code that is made of them."""

import ast
import copy
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path
from typing import get_type_hints
from unittest.mock import AsyncMock, create_autospec

import attrs
import pytest

from prisma_mgmt.core.resource import Model, Resource, Secret
from tests.apigen import ROOT, committed, inlined
from tools.apigen.__main__ import APIS, generate, main
from tools.apigen.changes import changes
from tools.apigen.description import operations
from tools.apigen.names import default_summary, load
from tools.apigen.normalise import normalise


def test_the_committed_code_is_what_the_descriptions_give() -> None:
    assert main(["--check"], ROOT) == 0


def test_generation_is_deterministic() -> None:
    descriptions = {api: normalise(committed(api), load(api), committed(api)).description for api in APIS}
    assert generate(descriptions) == generate(copy.deepcopy(descriptions))


@pytest.mark.parametrize("api", APIS)
def test_a_description_that_is_inlined_gets_its_names_again(api: str) -> None:
    description = committed(api)
    made = normalise(inlined(description), load(api), description).description
    assert changes(description, made) == []
    assert made == description


def test_150_operations_in_under_400_kilobytes() -> None:
    assert [len(list(operations(committed(api)))) for api in APIS] == [118, 17, 15]
    assert sum((ROOT / "prisma_mgmt" / "spec" / f"{api}.json").stat().st_size for api in APIS) < 400_000
    assert [load(api).client for api in APIS] == [
        "ManagementClient",
        "PostgresClient",
        "DataPlatformClient",
    ]


def test_every_operation_of_the_committed_descriptions_has_words_of_ours() -> None:
    for api in APIS:
        for operation in (one.raw for one in operations(committed(api))):
            assert operation["summary"] != default_summary(*operation["operationId"].split("."))
        for name, schema in committed(api)["components"]["schemas"].items():
            assert "enum" in schema or schema["description"], name


def files() -> list[Path]:
    return [path for api in APIS for path in sorted((ROOT / "prisma_mgmt" / api).glob("*.py"))]


def test_no_file_is_long() -> None:
    for path in [*files(), *(ROOT / "tools" / "apigen").glob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= 350, path


def methods() -> dict[str, int]:
    """The lines of each operation's method, decorators included."""
    found = {}
    for path in files():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["Resource"]:
                for method in node.body:
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                        first = min([method.lineno, *(one.lineno for one in method.decorator_list)])
                        found[f"{path.parent.name}.{path.stem}.{method.name}"] = (method.end_lineno or 0) - first + 1
    return found


def test_the_lines_of_an_operation() -> None:
    lines = methods()
    assert len(lines) == 150
    assert max(lines.values()) <= 30, Counter(lines).most_common(3)
    assert sum(lines.values()) / len(lines) + 1 <= 12  # with the blank line between methods


def test_apps_are_the_deprecated_twins_of_services() -> None:
    apps = importlib.import_module("prisma_mgmt.management.apps").Apps
    services = importlib.import_module("prisma_mgmt.management.services").Services
    names = [name for name in vars(apps) if not name.startswith("_")]
    assert len(names) == 11
    for name in names:
        assert vars(apps)[name].__deprecated__ == f"Use services.{name} instead."
        assert hasattr(services, name)


def test_every_module_imports_and_every_client_has_its_resources() -> None:
    for path in files():
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for api in APIS:
        client = getattr(importlib.import_module(f"prisma_mgmt.{api}"), load(api).client)
        assert {tag["name"] for tag in committed(api)["tags"]} <= set(vars(client))


def test_secrets_of_the_three_apis_are_masked() -> None:
    found = set()
    for path in files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.AnnAssign) and re.search(r"\bSecret\b", ast.unparse(node.annotation)):
                found.add(ast.unparse(node.target))
    wanted = {
        "connection_string",
        "pass_",
        "password",
        "api_key",
        "secret_access_key",
        "value",
        "lease_id",
        "upload_url",
        "env_vars",
    }
    assert found == wanted


@pytest.mark.parametrize("api", APIS)
def test_every_line_of_the_table_names_something(api: str) -> None:
    names = load(api)
    normalise(committed(api), names, committed(api))
    assert names.unused() == []


@pytest.mark.parametrize("api", APIS)
def test_every_public_annotation_evaluates(api: str) -> None:
    for path in (ROOT / "prisma_mgmt" / api).glob("*.py"):
        module = importlib.import_module(f"prisma_mgmt.{api}.{path.stem}".removesuffix(".__init__"))
        for cls in [
            one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__
        ]:
            if issubclass(cls, Model):
                inspect.signature(cls, eval_str=True)
                get_type_hints(cls)
            for name, method in vars(cls).items():
                if inspect.isfunction(method) and not name.startswith("_"):
                    inspect.signature(method, eval_str=True)


@pytest.mark.parametrize("api", APIS)
def test_a_client_shows_its_resources_to_help_and_to_mocks(api: str) -> None:
    client = getattr(importlib.import_module(f"prisma_mgmt.{api}"), load(api).client)
    for resource in {tag["name"] for tag in committed(api)["tags"]}:
        assert issubclass(getattr(client, resource), Resource)
        assert resource.replace("_", " ") in getattr(client, resource).__doc__.lower()
    mock = create_autospec(client)("token")
    assert isinstance(mock.projects.get, AsyncMock)
    with pytest.raises(TypeError, match="missing a required argument"):
        mock.projects.get()
    with pytest.raises(AttributeError):
        mock.projects.no_such_method  # noqa: B018  # asking for it is the test


def test_a_connection_that_is_made_holds_its_secrets_for_sure() -> None:
    """But for what kind of connection it is, the type leaves nothing open."""
    shared = importlib.import_module("prisma_mgmt.management.models")
    assert get_type_hints(shared.ConnectionWithSecrets)["endpoints"] is shared.SecretEndpoints
    assert get_type_hints(shared.SecretEndpoint)["connection_string"] is Secret


def test_fields_that_may_go_are_last_and_none() -> None:
    for model in vars(importlib.import_module("prisma_mgmt.management.models")).values():
        if isinstance(model, type) and issubclass(model, Model):
            defaults = [one.default is attrs.NOTHING for one in attrs.fields(model)]
            assert defaults == sorted(defaults, reverse=True), model
