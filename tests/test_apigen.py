"""The generator: on small documents that hold every construct it knows, and on the three committed descriptions."""

import ast
import copy
import importlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.apigen.__main__ import APIS, formatted, generate, main
from tools.apigen.changes import changes
from tools.apigen.emit import package
from tools.apigen.merge import merge_named
from tools.apigen.names import DocumentError, Names, default_operation, default_summary, load
from tools.apigen.normalise import normalise, operations

ROOT = Path(__file__).parents[1]
TABLE: Any = {
    "integers": "^(port|limit)$|Days$",
    "secrets": ["connectionString", "password", "alchemy-state-lease-id", "things.create.note"],
    "parameters": {"alchemy-state-lease-id": "lease_id"},
    "management": {"replaced": {"things": "objects"}},
}
NAMES = Names(TABLE, "management")


def document(name: str) -> Any:
    return json.loads((ROOT / "tests" / "documents" / f"{name}.json").read_text("utf-8"))


def code(doc: Any, names: Names = NAMES) -> dict[str, str]:
    return formatted(package(normalise(doc, names), "management", "ThingsClient"))


@pytest.fixture(scope="module")
def things() -> str:
    return code(document("inlined"))["things.py"]


@pytest.fixture(scope="module")
def state() -> str:
    return code(document("inlined"))["state.py"]


def answering(schema: Any) -> Any:
    """A document with one operation, which answers `schema`."""
    content = {"application/json": {"schema": schema}}
    operation = {"responses": {"200": {"description": "", "content": content}}}
    return {
        "info": {"title": "X", "version": "1"},
        "servers": [{"url": "https://x"}],
        "paths": {"/v1/x": {"get": operation}},
    }


def operation_in(doc: Any) -> Any:
    return doc["paths"]["/v1/x"]["get"]


THINGS = """
class_: str
owner: ThingMaker | None
origin: ThingBlank | ThingCopy | dict[str, JSON] | None
created_at: datetime
settings: dict[str, JSON]
labels: dict[str, str]
size: float
port: int
from_unit: str = field(metadata={"key": "from_unit"})
connection_string: Secret | None = None  # deprecated
tags: list[str] | None = None
hint: str | None = None
weight: float | Unset | None = UNSET
ThingKind: TypeAlias = Literal["solid", "liquid"] | str
type: Literal["copy"] = "copy"
branch_id: Literal["unassigned"] | str | None = None,
kind: ThingKind | None = None,
note: str | Unset | None = UNSET,
origin: ThingBlank | ThingCopy | Unset = UNSET,
parts: Sequence[ThingPart] | Unset = UNSET,
starts_at: datetime | Unset = UNSET,
settings: Mapping[str, JSON] | Unset = UNSET,
password: str | Unset = UNSET,
password = password and Secret(password)
"class": class_,
) -> Pager[Thing]:
return await self._post(Thing, "/v1/things", body)
return await self._get(Thing, path("/v1/things/{}", thing_id))
async def update(self, thing_id: str, *, name: str | Unset = UNSET) -> Thing:
PATCH /v1/things/{id} (experimental)
return await self._patch(Thing, path("/v1/things/{}", thing_id), {"name": name})
await self._delete(path("/v1/things/{}", thing_id))
return self._single_page(Backup, path("/v1/things/{}/backups", thing_id), {"limit": limit})
async def list_parts(self, thing_id: str) -> tuple[Part, ...]:
return await self._list(Part, path("/v1/things/{}/parts", thing_id))
return await self._get(ThingUsage, path("/v1/things/{}/usage", thing_id), {"class": class_}, bare=True)
self, thing_id: str, *, follow: bool | None = None, from_start: bool | None = None, cursor: str | None = None
) -> LogStream[LogLog, LogTerminal]:
return self._stream(LogLog, LogTerminal, path("/v1/things/{}/logs", thing_id), query)
async def import_(self, thing_id: str, *, url: str) -> None:
@deprecated("Use objects.spin instead.")
"""
STATE = """
return await self._list(str, "/v1/state", bare=True)
async def get(self, key: str, *, lease_id: str) -> JSON:
lease_id = Secret(lease_id)
async def replace(self, key: str, *, lease_id: str, value: JSON) -> JSON:
return await self._put(object, route, value, headers={"alchemy-state-lease-id": lease_id}, bare=True)
await self._delete(path("/v1/state/{}", key), headers={"alchemy-state-lease-id": lease_id})
"""


@pytest.mark.parametrize("line", THINGS.strip().split("\n"))
def test_things(things: str, line: str) -> None:
    assert line in [found.strip() for found in things.split("\n")]


@pytest.mark.parametrize("line", STATE.strip().split("\n"))
def test_state(state: str, line: str) -> None:
    assert line in [found.strip() for found in state.split("\n")]


def test_models_come_before_what_uses_them_and_the_class_last(things: str) -> None:
    defined = [node.name for node in ast.parse(things).body if isinstance(node, ast.ClassDef)]
    assert defined[-1] == "Things"
    assert defined.index("ThingMaker") < defined.index("Thing")
    assert len(set(defined)) == len(defined)


def test_references_and_all_of() -> None:
    jars = code(document("referenced"))["jars.py"]
    assert "class JarWithLid:" in jars
    assert "    id: str\n    lid: Lid\n    size: int | None = None\n    filled_on: str | None = None\n" in jars
    assert "-> tuple[Jar, ...]:" in jars
    assert "async def replace(self, jar_id: str, *, lid: Lid) -> Jar:" in jars
    assert "Someone else's words" not in jars


@pytest.mark.parametrize("name", ["inlined", "referenced"])
def test_a_description_normalises_to_itself(name: str) -> None:
    once = normalise(document(name), NAMES)
    assert normalise(copy.deepcopy(once), NAMES, once) == once
    assert changes(once, once) == []


def test_equal_shapes_get_one_name_and_listed_ones_the_name_of_the_list() -> None:
    names = Names({"management": {"models": {"maker": "Party", "Thing.owner": "Owner"}}}, "management")
    assert "owner: ThingMaker | None" in code(document("inlined"))["things.py"]
    assert "owner: Owner | None" in code(document("inlined"), names)["things.py"]


def test_operations_that_are_listed_get_their_names() -> None:
    listed = {"GET /v1/things/{thingId}/usage": "meters.read Reading", "GET /v1/things/{id}": "things.get Thing"}
    made = code(document("inlined"), Names({"management": {"operations": listed}}, "management"))
    assert "class Reading:" in made["meters.py"]
    assert "async def read(self, thing_id: str, *, class_: str | None = None) -> Reading:" in made["meters.py"]


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("GET /v1/big-things", "big_things.list"),
        ("GET /v1/things/{id}", "things.get"),
        ("POST /v1/things/{id}/spin", "things.spin"),
        ("GET /v1/things/{id}/boxes", "things.list_boxes"),
        ("POST /v1/things/{id}/boxes", "things.create_box"),
        ("DELETE /v1/things/{id}/boxes/{boxId}", "things.delete_box"),
        ("PATCH /things/{id}/factory", "things.update_factory"),
        ("GET /v1", "root.list"),
    ],
)
def test_default_names(route: str, name: str) -> None:
    assert default_operation(route) == name


def test_variants_of_a_model_are_merged() -> None:
    text, number = {"type": "string"}, {"type": "integer"}
    one = {"properties": {"a": text, "b": number, "u": {"type": "string", "const": "x"}}, "required": ["a", "b", "u"]}
    two = {
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": "number"},
            "u": {"type": "string", "const": "y"},
            "c": text,
        },
        "required": ["a", "u", "c"],
    }
    assert merge_named(one, two, "#") == {
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": "number"},
            "u": {"type": "string", "enum": ["x", "y"]},
            "c": text,
        },
        "required": ["a", "u"],
    }
    with pytest.raises(DocumentError, match=r"^#\.a: holds string in one place and boolean in another$"):
        merge_named(one, {"properties": {"a": {"type": "boolean"}}, "required": []}, "#")


def test_an_import_of_each_other_is_broken_up_by_sharing() -> None:
    part: Any = {"type": "object", "properties": {"name": {"type": "string"}}, "required": []}
    cat = {
        **part,
        "properties": {"dog": {**part, "properties": {"collar": {"type": "string"}, "size": {"type": "number"}}}},
    }
    doc = answering(cat)
    doc["paths"] = {
        "/cats": {"get": answering(cat)["paths"]["/v1/x"]["get"]},
        "/dogs": {"get": answering(cat["properties"]["dog"])["paths"]["/v1/x"]["get"]},
        "/cats/{id}/dog": {"get": answering(cat["properties"]["dog"])["paths"]["/v1/x"]["get"]},
        "/dogs/{id}/cat": {"get": answering(cat)["paths"]["/v1/x"]["get"]},
    }
    for path in ("/cats/{id}/dog", "/dogs/{id}/cat"):
        doc["paths"][path]["parameters"] = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    listed = {"GET /cats": "cats.list Cat", "GET /dogs": "dogs.list Dog"}
    listed |= {"GET /cats/{id}/dog": "cats.dog Dog", "GET /dogs/{id}/cat": "dogs.cat Cat"}
    table = {"management": {"operations": listed, "models": {"dog": "Dog"}}}
    made = code(doc, Names(table, "management"))
    assert "management.dogs" not in made["cats.py"]
    assert "management.cats" not in made["dogs.py"]
    assert "class Dog:" in made["shared.py"]


SCHEMA = "#/paths/~1v1~1x/get/responses/200/content/application~1json/schema"
OBJECT: Any = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"oneOf": [OBJECT, OBJECT]}, f"{SCHEMA}: oneOf without a discriminator"),
        ({"not": OBJECT}, f"{SCHEMA}: the keyword `not` is not known"),
        ({"type": "decimal"}, f'{SCHEMA}: the type "decimal" is not known'),
        ({"type": ["string", "integer"]}, f'{SCHEMA}: the type ["string", "integer"] is not known'),
        ({"$ref": "#/components/schemas/Gone"}, f"{SCHEMA}: nothing at #/components/schemas/Gone"),
        ({"allOf": [{"type": "string"}]}, f"{SCHEMA}/allOf/0: a part that is no object"),
        ({"enum": [1, 2]}, f"{SCHEMA}: an enumeration of other things than strings"),
        ({**OBJECT, "additionalProperties": OBJECT}, f"{SCHEMA}: properties beside a schema of additional ones"),
        ({"properties": {"a b": {}}}, f'{SCHEMA}: "a b" is not a plain name'),
        (
            {"properties": {"data": {"type": "array", "items": {"if": {}}}}},
            f"{SCHEMA}/properties/data/items: the keyword",
        ),
    ],
)
def test_unknown_schemas(schema: Any, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        normalise(answering(schema), NAMES)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def body(schema: Any, kind: str = "application/json") -> Callable[[Any], Any]:
    return lambda doc: operation_in(doc).update(requestBody={"content": {kind: {"schema": schema}}})


def parameter(name: str, where: str) -> Callable[[Any], Any]:
    return lambda doc: operation_in(doc).setdefault("parameters", []).append({"name": name, "in": where, "schema": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            body({"type": "string"}),
            "#/paths/~1v1~1x/get/requestBody/content/application~1json/schema: a body that is no",
        ),
        (body({}, "text/csv"), "#/paths/~1v1~1x/get/requestBody: content of type text/csv"),
        (parameter("a", "cookie"), "#/paths/~1v1~1x/get/parameters/0: a parameter in the cookie"),
        (parameter('a")', "query"), '#/paths/~1v1~1x/get/parameters/0: "a\\")" is not a plain name'),
        (
            lambda doc: operation_in(doc).update(responses={"404": {}}),
            "#/paths/~1v1~1x/get/responses: no success among",
        ),
        (
            lambda doc: operation_in(doc)["responses"].update({"204": {}}),
            "#/paths/~1v1~1x/get/responses: successes that",
        ),
        (lambda doc: doc["paths"].update({"/x": doc["paths"]["/v1/x"]}), "#/paths: two routes are named x.list"),
        (lambda doc: doc.update(servers=[]), "#/servers: no server"),
        (
            lambda doc: [parameter("aB", "query")(doc), parameter("a-b", "query")(doc)],
            "#/paths/~1v1~1x/get: the keyword a_b comes twice",
        ),
    ],
)
def test_unknown_operations(change: Callable[[Any], Any], message: str) -> None:
    doc = answering(OBJECT)
    change(doc)
    with pytest.raises(DocumentError) as caught:
        normalise(doc, NAMES)
    assert str(caught.value).startswith(message)


def test_a_model_that_contains_itself() -> None:
    doc = answering({"$ref": "#/components/schemas/Node"})
    doc["components"] = {"schemas": {"Node": {"properties": {"next": {"$ref": "#/components/schemas/Node"}}}}}
    with pytest.raises(DocumentError, match="/properties/next: Node contains itself"):
        normalise(doc, NAMES)


def test_words_are_kept_and_new_ones_are_ours() -> None:
    doc = document("inlined")
    committed = normalise(doc, NAMES)
    committed["paths"]["/v1/things"]["get"].update(summary="Walk the things.", description="Slowly.")
    committed["components"]["schemas"]["Thing"]["description"] = "A thing."
    committed["components"]["schemas"]["Thing"]["properties"]["size"]["description"] = "metres"
    doc["paths"]["/v1/things"]["get"].update(summary="Somebody else's summary")
    made = normalise(doc, NAMES, committed)
    assert made == committed
    text = formatted(package(made, "management", "ThingsClient"))["things.py"]
    assert '"""Walk the things.\n\n        Slowly.\n\n        GET /v1/things\n' in text
    assert "size: float  # metres" in text
    assert made["paths"]["/v1/things"]["post"]["summary"] == "Create thing."


def test_three_changes_give_three_lines() -> None:
    doc = document("inlined")
    old = normalise(doc, NAMES)
    things = doc["paths"].pop("/v1/things")
    answer = things["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer["properties"]["data"]["items"]["properties"]["weight"] = {"type": "number"}
    doc["paths"]["/v1/things"] = things
    doc["paths"]["/v1/boxes"] = {"get": copy.deepcopy(things["get"])}
    del doc["paths"]["/v1/things/{id}"]["delete"]
    assert changes(old, normalise(doc, NAMES, old)) == [
        "- Added `GET /v1/boxes` (`boxes.list`)",
        "- Added field `weight` to `Thing`",
        "- Removed `DELETE /v1/things/{id}`",
    ]


def test_a_new_operation_leaves_the_models_of_the_others_alone() -> None:
    doc = document("inlined")
    old = normalise(doc, NAMES)
    answer = copy.deepcopy(doc["paths"]["/v1/things/{id}"]["get"])
    thing = answer["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["data"]
    del thing["properties"]["size"]
    doc["paths"]["/v1/things/{thingId}/merge"] = {"post": answer}
    doc["paths"]["/v1/boxes/{id}/things"] = {"get": copy.deepcopy(answer)}
    new = normalise(doc, NAMES, old)
    assert changes(old, new) == [
        "- Added `GET /v1/boxes/{id}/things` (`boxes.list_things`)",
        "- Added `POST /v1/things/{thingId}/merge` (`things.merge`)",
    ]
    assert {"BoxThing"} <= new["components"]["schemas"].keys() - old["components"]["schemas"].keys()


def test_other_changes() -> None:
    doc = document("inlined")
    old = normalise(doc, NAMES)
    listing = doc["paths"]["/v1/things"]["get"]
    listing["deprecated"] = True
    listing["parameters"].append({"name": "sinceDay", "in": "query", "schema": {"type": "string"}})
    usage = doc["paths"]["/v1/things/{thingId}/usage"]["get"]
    usage["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["used"] = {"type": "string"}
    doc["paths"]["/v1/state"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = {}
    create = doc["paths"]["/v1/things"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    create["required"].append("password")
    del create["properties"]["startsAt"]
    create["properties"]["kind"]["enum"].append("gas")
    names = Names({**TABLE, "management": {"operations": {"GET /v1/state": "state.names"}}}, "management")
    assert changes(old, normalise(doc, names, old)) == [
        "- Added keyword `since_day` to `things.list`",
        "- Added value `gas` to `ThingKind`",
        "- Deprecated `GET /v1/things` (`things.list`)",
        "- Renamed `state.list` to `state.names`",
        "- Changed field `used` of `ThingUsage` from float to str",
        "- Changed keyword `password` of `things.create` from Secret or left out to Secret",
        "- Changed the answer of `state.names`",
        "- Removed keyword `starts_at` from `things.create`",
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one description, generated."""
    spec = tmp_path / "prisma_mgmt" / "spec"
    spec.mkdir(parents=True)
    (spec / "management.json").write_text(json.dumps(normalise(document("inlined"), load("management"))), "utf-8")
    assert main([], tmp_path) == 0
    return tmp_path


def test_generating_again_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*.*")}
    assert main([], project) == 0
    assert main(["--check"], project) == 0
    assert {path: path.read_bytes() for path in project.rglob("*.*")} == before
    assert capsys.readouterr().out == ""


def test_check_names_what_differs_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited, stray = (project / "prisma_mgmt" / "management" / name for name in ("things.py", "stray.py"))
    edited.write_text(edited.read_text("utf-8") + "# mine\n", "utf-8")
    stray.write_text("", "utf-8")
    (project / "docs" / "operations.md").unlink()
    assert main(["--check"], project) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "docs/operations.md",
        "prisma_mgmt/management/stray.py",
        "prisma_mgmt/management/things.py",
    ]
    assert edited.read_text("utf-8").endswith("# mine\n")
    assert main([], project) == 0
    assert not stray.exists()
    assert main(["--check"], project) == 0


def test_a_new_document_updates_description_and_code(
    project: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = document("inlined")
    del doc["paths"]["/v1/things/{id}"]["delete"]
    doc["servers"] = [{"url": "https://elsewhere.example"}]
    source = tmp_path_factory.mktemp("new") / "doc.json"
    source.write_text(json.dumps(doc), "utf-8")
    assert main([str(source), "--check"], project) == 1
    capsys.readouterr()
    assert main([str(source)], project) == 0
    assert capsys.readouterr().out == "- Removed `DELETE /v1/things/{id}`\n"
    assert "def delete" not in (project / "prisma_mgmt" / "management" / "things.py").read_text("utf-8")
    client = (project / "prisma_mgmt" / "management" / "__init__.py").read_text("utf-8")
    assert 'base_url = "https://things.example"' in client  # where tokens go is not the document's to say


def test_a_bad_document_is_one_line_and_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = project / "doc.json"
    source.write_text(json.dumps(answering({"not": {}})), "utf-8")
    assert main([str(source)], project) == 2
    assert capsys.readouterr().err == f"{SCHEMA}: the keyword `not` is not known\n"
    assert main([str(project / "missing.json")], project) == 2
    assert main(["--check"], project) == 0


def committed(api: str) -> Any:
    return json.loads((ROOT / "prisma_mgmt" / "spec" / f"{api}.json").read_text("utf-8"))


def test_the_committed_code_is_what_the_descriptions_give() -> None:
    assert main(["--check"], ROOT) == 0


def test_generation_is_deterministic() -> None:
    descriptions = {api: normalise(committed(api), load(api), committed(api)) for api in APIS}
    assert generate(descriptions) == generate(copy.deepcopy(descriptions))


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
        for _, _, operation in operations(committed(api)):
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
            if isinstance(node, ast.AnnAssign) and "Secret" in ast.unparse(node.annotation):
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
    }
    assert found == wanted
