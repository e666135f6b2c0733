"""`python -m benchmarks [NAME …]`: measure, print, and after a whole run write docs/benchmarks.md and its chart."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import burst, calls, decode, growth, hotspots, imports, layer, memory, sandbox
from benchmarks.document import document
from benchmarks.report import Section
from benchmarks.rig import ROOT, Rig, open_rig
from benchmarks.stats import QUICK, Mode

BENCHMARKS: dict[str, Callable[[Rig], Section]] = {
    "calls": calls.run,
    "layer": layer.run,
    "decode": decode.run,
    "imports": imports.run,
    "burst": burst.run,
    "growth": growth.run,
    "memory": memory.run,
    "sandbox": sandbox.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if "profile" in options.names:
        hotspots.show()
        return
    with open_rig(QUICK if options.quick else Mode()) as rig:
        sections = [_run(name, rig) for name in BENCHMARKS if name in (options.names or BENCHMARKS)]
        text = document(sections, rig)
    print(text)
    docs: Path | None = options.docs
    if docs is None and not (options.names or options.quick):
        docs = ROOT / "docs"
    if docs is not None:
        _write(docs, text, sections)


def _run(name: str, rig: Rig) -> Section:
    print(name, file=sys.stderr)
    return BENCHMARKS[name](rig)


def _write(docs: Path, text: str, sections: Sequence[Section]) -> None:
    (docs / "benchmarks.md").write_text(text, encoding="utf-8")
    for section in sections:
        if section.chart:
            (docs / "benchmarks.svg").write_text(section.chart, encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, "profile", []], help="what to run; all without any")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, to try it out")
    parser.add_argument("--docs", type=Path, help="write the page and the chart to this folder, whatever was run")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
