"""Everything that CI runs, by name: `nox -l` lists it."""

import os
import shutil
import sys
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
CODE = ("prisma_mgmt", "tests", "benchmarks", "examples", "tools", "noxfile.py")

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", f"tests-{CURRENT}", "wheel", "quickstart", "examples"]  # tests include docs
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"


def groups(*names: str) -> tuple[str, ...]:
    return tuple(nox.project.dependency_groups(PROJECT, *names))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Every test, with the coverage of core and auth; arguments go to pytest."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    if not session.posargs:
        session.run(
            "coverage", "report", "--include=prisma_mgmt/*.py,prisma_mgmt/core/*,prisma_mgmt/auth/*", "--fail-under=95"
        )


@nox.session
def lint(session: nox.Session) -> None:
    """ruff and import-linter."""
    session.install("-q", "-e", ".", *groups("lint"))
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict and basedpyright in strict mode."""
    session.install("-q", "-e", ".[all]", *groups("types", "test"), "arq", "nox")
    session.run("mypy")
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it in a clean environment, import it there."""
    out = Path(session.create_tmp()).resolve()
    shutil.rmtree(out, ignore_errors=True)
    session.install("-q", "virtualenv")
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(out), ".")
    session.run("python", "-m", "virtualenv", "-q", str(out / "clean"))
    python = str(out / "clean" / "bin" / "python")
    session.run(python, "-m", "pip", "install", "-q", *map(str, out.glob("*.whl")), external=True)
    session.chdir(out)  # away from the checkout
    code = "import prisma_mgmt, prisma_mgmt.auth.storage; [getattr(prisma_mgmt, name) for name in prisma_mgmt.__all__]"
    session.run(python, "-W", "error", "-c", code, external=True)


@nox.session
def quickstart(session: nox.Session) -> None:
    """README's first command, as a user runs it."""
    session.install("-q", "-e", ".[sandbox]")
    session.run("python", "-W", "error", "examples/quickstart.py")


@nox.session
def examples(session: nox.Session) -> None:
    """The other examples, with a real Redis for the one that needs it."""
    session.install("-q", "-e", ".[sandbox,redis]", "arq")
    session.run("python", "-W", "error", "examples/script.py")
    if shutil.which("redis-server") or "CI" in os.environ:
        session.run("python", "examples/workers.py", env={"PYTHONPATH": "."})
    else:
        session.warn("examples/workers.py was left out: there is no redis-server")


@nox.session
def soak(session: nox.Session) -> None:
    """Share sessions between real processes and kill them; check a model of the session, and its tests. Takes long."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    session.run("python", "-m", "tests.session.model", "6")
    session.run("pytest", "-q", "tests/session/test_mutations.py", env={"PRISMA_MUTATIONS": "1"})
    session.run("python", "-m", "tests.processes.soak", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The sessions in README and docs/, as printed there."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    session.run("pytest", "-q", "tests/test_readme.py", *session.posargs)


@nox.session
def generate(session: nox.Session) -> None:
    """Generate the three clients anew; an argument names a newer description (a path or a URL)."""
    session.install("-q", "-e", ".", *groups("lint"))
    session.run("python", "-m", "tools.apigen", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against other clients and write docs/benchmarks.md; arguments go to `python -m benchmarks`."""
    session.install("-q", "-e", ".[speed,sandbox]", *groups("bench"))
    if shutil.which("npm"):  # without it the TypeScript SDK is reported as missing
        session.run("npm", "ci", "--silent", "--prefix", "benchmarks/node", external=True)
    session.run("python", "-m", "benchmarks", *session.posargs)
