"""Everything that CI runs, by name: `nox -l` lists it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
CODE = ("prisma_mgmt", "tests", "benchmarks", "examples", "tools", "noxfile.py")

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", f"tests-{CURRENT}", "wheel", "quickstart", "docs"]  # tests run the examples
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"


def groups(*names: str) -> tuple[str, ...]:
    return tuple(nox.project.dependency_groups(PROJECT, *names))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Every test, with the coverage of core and auth; arguments go to pytest."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    if session.posargs:
        session.run("pytest", *session.posargs)
    else:
        session.run("pytest", "-n", "2", "--dist", "worksteal", "--cov", "--cov-report=")
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
    """mypy --strict, basedpyright in strict mode, and that every public name is typed."""
    session.install("-q", "-e", ".[all]", *groups("types", "test"), "nox")
    session.run("mypy")
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")
    session.run("basedpyright", "--ignoreexternal", "--verifytypes", "prisma_mgmt")


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
def oldest(session: nox.Session) -> None:
    """The tests of the client and of logins with the oldest versions of all dependencies that pyproject allows."""
    session.install("-q", "uv")
    python = f"{session.bin}/python"
    extras = "redis,postgres,keyring,speed,opentelemetry,live,sandbox"
    session.run("uv", "pip", "install", "-q", "--python", python, "--resolution", "lowest-direct", f".[{extras}]")
    session.install("-q", *groups("oldest"))
    tests = session.posargs or ("tests/client", "tests/session", "tests/oauth", "tests/storage")
    others = (  # what needs newer versions of the same: httpx-aiohttp and the web frameworks
        "--ignore=tests/client/test_aiohttp.py",
        "--ignore=tests/oauth/test_frameworks.py",
        "--deselect=tests/oauth/test_sealing.py::test_a_whole_cookie_goes_into_set_cookie_of_every_framework",
    )
    session.run("pytest", "-q", *others, *tests)


@nox.session
def release(session: nox.Session) -> None:
    """Build the release, check it, import it on every Python that is here, each extra by itself; print what changed."""
    out = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.install("-q", "build", "check-wheel-contents", "twine", "virtualenv")
    session.run("python", "-m", "build", "--outdir", str(out))
    session.run("twine", "check", "--strict", *map(str, out.iterdir()))
    session.run("check-wheel-contents", str(next(out.glob("*.whl"))))
    for python in filter(_runs, [f"python{version}" for version in PYTHONS]):
        for extra in (None, *PROJECT["project"]["optional-dependencies"]):
            _import_alone(session, out, python, extra)
    version, changes = _newest_changes()
    session.log(f"{version}\n{changes}")


def _runs(python: str) -> bool:
    """If there is such a Python; a version manager may have the command without the Python."""
    asked = [python, "--version"]
    return shutil.which(python) is not None and subprocess.run(asked, check=False).returncode == 0  # noqa: S603  # names of ours


def _import_alone(session: nox.Session, out: Path, python: str, extra: str | None) -> None:
    """Install the wheel with one extra in a clean environment, and import all that it should bring."""
    place = out.parent / f"{python}-{extra or 'alone'}"
    session.run("python", "-m", "virtualenv", "-q", "--clear", "-p", python, str(place))
    wheel, clean = next(out.glob("*.whl")), str(place / "bin" / "python")
    session.run(clean, "-m", "pip", "install", "-q", f"{wheel}[{extra}]" if extra else str(wheel), external=True)
    lines = [
        "import prisma_mgmt, prisma_mgmt.auth, prisma_mgmt.auth.storage, prisma_mgmt.recipes, prisma_mgmt.factories",
        "[getattr(prisma_mgmt, name) for name in prisma_mgmt.__all__]",
        "[getattr(prisma_mgmt.auth, name) for name in prisma_mgmt.auth.__all__]",
        {"sandbox": "import prisma_mgmt.sandbox", "live": "import prisma_mgmt.core.live"}.get(extra or "", "pass"),
    ]
    with session.chdir(out):  # away from the checkout
        session.run(clean, "-W", "error", "-c", "; ".join(lines), external=True)


def _newest_changes() -> tuple[str, str]:
    """The version on top of CHANGELOG.md and what it says of it."""
    _, version, changes = re.split(
        r"^## \[?([^\s\]]+).*$", Path("CHANGELOG.md").read_text("utf-8"), maxsplit=1, flags=re.MULTILINE
    )
    return version, re.split(r"^## ", changes, maxsplit=1, flags=re.MULTILINE)[0].strip()


@nox.session
def quickstart(session: nox.Session) -> None:
    """README's first command, as a user runs it."""
    session.install("-q", "-e", ".[sandbox]")
    session.run("python", "-W", "error", "examples/quickstart.py")


@nox.session
def examples(session: nox.Session) -> None:
    """Every example as a user runs it; the one with workers needs a redis-server."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    session.run("pytest", "-q", "tests/examples", *session.posargs)


@nox.session
def load(session: nox.Session) -> None:
    """The FastAPI example on two workers with 200 users; arguments go to `python -m tests.processes.load`."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    session.run("python", "-m", "tests.processes.load", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Share sessions between real processes and kill them; check a model of the session, and its tests. Takes long."""
    session.install("-q", "-e", ".[all]", *groups("test"))
    session.run("python", "-m", "tests.session.model", "6")
    session.run("pytest", "-q", "tests/session/test_mutations.py", env={"PRISMA_MUTATIONS": "1"})
    session.run("python", "-m", "tests.processes.soak", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. That its code blocks run is for the tests to say."""
    session.install("-q", "-e", ".[all]", *groups("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


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
