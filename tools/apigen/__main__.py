"""Regenerate the packages from the descriptions, or from a new document, whose changes are printed for CHANGELOG.md.

What is left out, what is named by default and what names.toml lists in vain is told on stderr, a line for each.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from tools.apigen.changes import changes
from tools.apigen.document import read
from tools.apigen.names import load
from tools.apigen.normalise import normalise
from tools.apigen.package import Package, render
from tools.apigen.schemas import Schema

APIS = ("management", "postgres", "data_platform")
_STYLE = ["--isolated", "--config", "line-length=120", "--config", 'lint.isort.known-first-party=["prisma_mgmt"]']


def generate(descriptions: dict[str, Schema]) -> dict[str, str]:
    """Every generated file, by its path from the root; the descriptions last, so that code is never newer."""
    packages = [Package(description, api, load(api).client) for api, description in descriptions.items()]
    files = {"docs/operations.md": render("operations.md", packages=packages)}
    for package in packages:
        files |= {f"prisma_mgmt/{package.api}/{name}": text for name, text in package.files().items()}
        files[f"prisma_mgmt/factories/{package.api}.py"] = render("factories.py", package=package)
    specs = {api: json.dumps(description, indent=1, ensure_ascii=False) for api, description in descriptions.items()}
    return formatted(files) | {f"prisma_mgmt/spec/{api}.json": text + "\n" for api, text in specs.items()}


def formatted(files: dict[str, str]) -> dict[str, str]:
    """These files, the Python ones laid out by ruff, their imports sorted, those unused removed."""
    with tempfile.TemporaryDirectory() as directory:
        update(Path(directory), files)
        for command in (["check", "--quiet", "--fix", "--select", "I,F401"], ["format", "--quiet"]):
            subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", *_STYLE, directory], check=True)
        return {name: Path(directory, name).read_text("utf-8") for name in files}


def update(root: Path, files: dict[str, str], *, check: bool = False) -> list[str]:
    """Write what differs, and remove what nothing generates any more, unless only to `check`; the names of both.

    If it is interrupted, everything is as it was.
    """
    stray = {path.relative_to(root).as_posix() for api in APIS for path in root.glob(f"prisma_mgmt/{api}/*.py")}
    wanted = {**{name: text.encode() for name, text in files.items()}, **dict.fromkeys(stray - files.keys())}
    held = {name: (root / name).read_bytes() if (root / name).is_file() else None for name in wanted}
    found = [name for name in wanted if held[name] != wanted[name]]
    with ExitStack() as undo:  # for Ctrl-C, too: half of the new code would be worse than all of the old
        for name in [] if check else found:
            undo.callback(_put, root / name, held[name])
            _put(root / name, wanted[name])
        undo.pop_all()
    return sorted(found)


def _put(path: Path, text: bytes | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def main(arguments: list[str] | None = None, root: Path = Path()) -> int:
    """0, or 1 if `--check` finds a difference, or 2 for a document that is none."""
    parser = argparse.ArgumentParser(prog="python -m tools.apigen", description=__doc__)
    parser.add_argument("document", nargs="?", help="an OpenAPI 3.1 document, a path or a URL")
    parser.add_argument("--api", choices=APIS, default=APIS[0], help="the API that the document describes")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    options = parser.parse_args(arguments)
    try:
        specs = [(api, root / f"prisma_mgmt/spec/{api}.json") for api in APIS]
        old = {api: read(str(path)) for api, path in specs if path.is_file()}
        new = {**old, options.api: read(options.document)} if options.document else old
        names = {api: load(api) for api in new}
        made = {api: normalise(document, names[api], old.get(api, {})) for api, document in new.items()}
    except (OSError, ValueError, HTTPException) as problem:
        if isinstance(problem, HTTPError):
            problem.close()
        print(f"{options.document or 'prisma_mgmt/spec'}: {' '.join(str(problem).split())}", file=sys.stderr)
        return 2
    differing = update(root, generate({api: one.description for api, one in made.items()}), check=options.check)
    lines = [f"{name} differs from what the description gives" for name in differing]
    if not options.check:
        lines = [line for api, one in made.items() for line in changes(old.get(api, {}), one.description)]
    told = [line for one in made.values() for line in [*one.refused, *one.unnamed]]
    if differing:  # a second run is silent
        told += [line for one in names.values() for line in one.unused()]
    for words, stream in ((lines, sys.stdout), (told, sys.stderr)):
        print(*(" ".join(line.split()) for line in words), sep="\n", end="\n" if words else "", file=stream)
    return 1 if options.check and lines else 0


if __name__ == "__main__":
    sys.exit(main())
