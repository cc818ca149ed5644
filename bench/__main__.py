"""`make bench`: run the benchmarks, print `name value unit` lines and write docs/benchmarks.md.

Each module of this folder that has a function `measure() -> Iterable[Figure]` is a benchmark;
the first line of its docstring is its title. Names on the command line choose some of them.
"""

from __future__ import annotations

import datetime
import importlib
import pkgutil
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import bench
from bench.figure import Figure, table

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
NOT_BENCHMARKS = {"figure", "__main__"}
LIBRARIES = ("twisted", "cryptography", "cffi", "msgspec", "autobahn")


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    # A Python that was built without profiles takes some 7 % more instructions than Debian's, and 13 % more
    # for what calls into it from machine code: whose it is belongs to the figures.
    python = f"Python {platform.python_version()} of {sys.base_prefix}"
    return f"{model}, Linux {platform.release()}, {python}, {libraries}"


def benchmarks(chosen: list[str]) -> list[str]:
    """The names of the benchmarks to run. Raises SystemExit for a name that is none."""
    names = [name for _, name, _ in pkgutil.iter_modules(bench.__path__) if name not in NOT_BENCHMARKS]
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise SystemExit(f"bench: no benchmark {', '.join(unknown)}; there are: {', '.join(names)}")
    return chosen or names


def main() -> None:
    """Run, print, and write the report when all of them ran."""
    sections: list[str] = []
    for name in benchmarks(sys.argv[1:]):
        module = importlib.import_module(f"bench.{name}")
        title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
        figures: list[Figure] = []
        for figure in module.measure():
            print(f"{name}.{figure.name.replace(' ', '_')} {figure.value:.4g} {figure.unit}", flush=True)
            figures.append(figure)
        sections.append(f"## {title}\n\n{table(figures)}\n")
        print("\n" + sections[-1])
    if sys.argv[1:]:
        return
    today = datetime.datetime.now(datetime.UTC).date()
    intro = (
        f"Written by `make bench` on {today}.\nMachine: {machine()}.\n"
        "One core each for server and load. Figures differ by 15–20 % from run to run; ratios hold.\n"
    )
    REPORT.write_text(f"# Benchmarks\n\n{intro}\n" + "\n".join(sections))


if __name__ == "__main__":
    main()
