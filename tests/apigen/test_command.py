"""`python -m tools.apigen`: what it writes, what it prints, and what it refuses."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.apigen import ROOT, answering, committed, document, inlined
from tools.apigen.__main__ import main
from tools.apigen.names import load
from tools.apigen.normalise import normalise


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one description, generated."""
    spec = tmp_path / "prisma_mgmt" / "spec"
    spec.mkdir(parents=True)
    (spec / "management.json").write_text(
        json.dumps(normalise(document("inlined"), load("management")).description), "utf-8"
    )
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
    assert capsys.readouterr().out.splitlines() == [
        "- Added the server https://elsewhere.example; the client keeps to its own",
        "- Removed `DELETE /v1/things/{id}`",
        "- Removed the server https://things.example, which the client keeps to",
    ]
    assert "def delete" not in (project / "prisma_mgmt" / "management" / "things.py").read_text("utf-8")
    client = (project / "prisma_mgmt" / "management" / "__init__.py").read_text("utf-8")
    assert 'base_url = "https://things.example"' in client  # where tokens go is not the document's to say
    assert main(["--check"], project) == 0


class Handler(BaseHTTPRequestHandler):
    """Serves what its server has by path: a status, a body, and how much longer the body is said to be."""

    def do_GET(self) -> None:
        status, body, missing = self.server.pages.get(self.path, (404, b"gone", 0))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("content-length", str(len(body) + missing))
        self.end_headers()
        with suppress(ConnectionError):  # where the client has seen enough
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Any]:
    """A server on the loopback, and its pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.pages = {}  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def url_of(web: Any, path: str) -> str:
    return f"http://127.0.0.1:{web.server_address[1]}{path}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the command reads and writes."""
    for name in ("tools", "prisma_mgmt", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def newer() -> Any:
    """The Management API with one operation more, one less, and a field more, all inlined as Prisma publishes it."""
    doc = committed("management")
    doc["components"]["schemas"]["Project"]["properties"]["archivedAt"] = {"type": "string", "format": "date-time"}
    del doc["paths"]["/v1/connections/{id}"]["delete"]
    doc = inlined(doc)
    fields = {"id": {"type": "string"}, "total": {"type": "number"}, "currency": {"enum": ["USD", "EUR"]}}
    data = {"type": "object", "properties": fields, "required": ["id", "total"]}
    invoice = answering({"type": "object", "properties": {"data": data}, "required": ["data"]})["paths"]["/v1/x"]["get"]
    invoice["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    doc["paths"]["/v1/invoices/{id}"] = {"get": invoice}
    return doc


USE = """
import inspect
from prisma_mgmt import ManagementClient
from prisma_mgmt.core.codec import structure
from prisma_mgmt.management.invoices import Invoice, Invoices
from prisma_mgmt.management.models import Project

assert inspect.getfile(Invoices).startswith({tree!r}), inspect.getfile(Invoices)
assert isinstance(ManagementClient("token").invoices, Invoices)
assert list(inspect.signature(Invoices.get).parameters) == ["self", "invoice_id"]
assert structure({{"id": "inv_1", "total": 2.5, "currency": "CHF"}}, Invoice).currency == "CHF"
assert "archived_at" in inspect.signature(Project).parameters
assert not hasattr(ManagementClient("token").connections, "delete")
"""


def run(tree: Path, *arguments: str, told: list[str] | None = None) -> str:
    """What a command prints; what it tells besides has to be `told`."""
    done = subprocess.run([sys.executable, *arguments], cwd=tree, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()) == (0, told or [])
    return done.stdout


TOLD = [
    '"GET /v1/invoices/{id}" = "invoices.get" by default; another name goes into names.toml',
    'enums: "Invoice.currency" = "InvoiceCurrency" by default; another name goes into names.toml',
    'names.toml: "DELETE /v1/connections/{id}" of [management] matches nothing',
]


@pytest.mark.parametrize("kind", ["path", "file", "http"])
def test_three_changes_in_a_copy_of_the_tree(tree: Path, web: Any, kind: str) -> None:
    path = tree / "new document.json"
    path.write_text(json.dumps(newer()), "utf-8")
    web.pages["/v1/doc"] = (200, path.read_bytes(), 0)
    source = {"path": path.name, "file": path.as_uri(), "http": url_of(web, "/v1/doc")}[kind]
    assert run(tree, "-m", "tools.apigen", source, told=TOLD).splitlines() == [
        "- Added `GET /v1/invoices/{id}` (`invoices.get`)",
        "- Added field `archivedAt` to `Project`",
        "- Removed `DELETE /v1/connections/{id}`",
    ]
    assert run(tree, "-c", USE.format(tree=str(tree))) == ""
    assert "| `invoices` | `get` |" in (tree / "docs" / "operations.md").read_text("utf-8")
    written = contents(tree)
    for again in ([source], [], ["--check"]):
        assert run(tree, "-m", "tools.apigen", *again) == ""
    assert contents(tree) == written


def test_a_line_is_told_in_one_line_whatever_the_document_calls_things(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = document("inlined")
    doc["paths"]["/v1/a\nb"] = {"get": doc["paths"]["/v1/things"]["get"]}
    source = project / "doc.json"
    source.write_text(json.dumps(doc), "utf-8")
    assert main([str(source)], project) == 0
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line == "#/paths/~1v1~1a b/get: '/v1/a\\nb' is no plain path; GET /v1/a b is left out"


def contents(root: Path) -> dict[Path, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path: path.read_bytes() for path in found}


SCHEMA = "#/paths/~1v1~1x/get/responses/200/content/application~1json/schema"
LOOP = {"$ref": "#/components/schemas/A"}
BAD = {
    "nothing that is understood": (answering({"not": {}}), f"{SCHEMA}: the keyword `not` is not understood"),
    "a list": ([], "#: an object is needed, not list"),
    "empty": ({}, "#/paths: no operations"),
    "a number": (7, "#: an object is needed, not int"),
    "a word": ("word", "#: an object is needed, not str"),
    "no answers": (
        {**answering({}), "paths": {"/v1/x": {"get": {}}}},
        "#/paths/~1v1~1x/get: not as OpenAPI 3.1 has it",
    ),
    "paths as a list": ({**answering({}), "paths": ["/v1/x"]}, "#/paths: an object is needed here"),
    "servers that are null": ({**answering({}), "servers": None}, "#/servers: a list is needed here"),
    "information that is null": ({**answering({}), "info": None}, "#/info: an object is needed here"),
    "version 3.0": ({**answering({}), "openapi": "3.0.3"}, "#/openapi: version 3.0.3 is not understood; convert"),
    "Swagger": ({**answering({}), "swagger": "2.0"}, "#/openapi: version 2.0 is not understood"),
    "a cycle": ({**answering(LOOP), "components": {"schemas": {"A": LOOP}}}, "#/components/schemas/A refers to itself"),
    "half of a surrogate pair": ({"a": "\ud800"}, "no JSON"),
}


@pytest.mark.parametrize(("doc", "message"), BAD.values(), ids=BAD)
def test_a_bad_document_is_one_line_and_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], doc: Any, message: str
) -> None:
    source = project / "doc.json"
    source.write_text(json.dumps(doc), "utf-8")
    refused(project, capsys, str(source), message)


PAGES = {
    "/gone": (404, b"{}", 0, "HTTP Error 404"),
    "/broken": (500, b"{}", 0, "HTTP Error 500"),
    "/html": (200, b"<html>", 0, "Expecting value"),
    "/bytes": (200, b"\xff\xfe\xfa", 0, "decode"),
    "/short": (200, b'{"paths": {', 100, "no JSON"),
    "/yaml": (200, b"openapi: 3.1.0\npaths: {}\n", 0, "no JSON"),
    "/long": (200, b" " * 50_000_000, 0, "more than 20 MB"),
    "/deep": (200, b"[" * 100_000, 0, "nested too deeply"),
}


@pytest.mark.parametrize("path", PAGES)
def test_a_url_without_a_document_is_one_line_and_changes_nothing(
    project: Path, web: Any, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    *page, message = PAGES[path]
    web.pages[path] = tuple(page)
    refused(project, capsys, url_of(web, path), message)


@pytest.mark.parametrize(
    "source", ["missing.json", ".", "file:///missing.json", "http://127.0.0.1:1/", "http://", "https://[x"]
)
def test_nothing_there_is_one_line_and_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    refused(project, capsys, source, "")


def test_an_interrupted_run_leaves_everything_as_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = document("inlined")
    doc["paths"]["/v1/things/{id}/spins"] = doc["paths"].pop("/v1/things/{thingId}/spin")
    doc["paths"]["/v1/things/{id}/spins"]["post"]["parameters"][0]["name"] = "id"
    source = project / "doc.json"
    source.write_text(json.dumps(doc), "utf-8")
    before, write, written = contents(project), Path.write_bytes, list[Path]()

    def interrupted(path: Path, text: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            write(path, text[:10])
            raise KeyboardInterrupt
        return write(path, text)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main([str(source)], project)
    assert len(set(written)) == 3
    assert contents(project) == before


def refused(project: Path, capsys: pytest.CaptureFixture[str], source: str, message: str) -> None:
    before = contents(project)
    assert main([source], project) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"{source}: ")
    assert message in told.err
    assert told.err.count("\n") == 1
    assert contents(project) == before
