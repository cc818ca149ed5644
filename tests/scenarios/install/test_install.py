"""A plain wheel and an editable install both show the servers to twistd, and install the programs.

The dependencies are those of the environment that runs the tests; only this project is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = (
    "rtlib",
    "crs",
    "haproxy",
    "twisted",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
PROGRAMS = ("crs-cli", "crs-client", "genproxy-cli")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program; its output. Raises AssertionError with the output if it fails."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what is packaged, as in a fresh clone: a build writes into its folder."""
    folder = tmp_path / "source"
    folder.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "dropin.cache")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An empty virtual environment that sees the dependencies, but not this project."""
    home = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
    packages = next(home.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def install(environment: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed")
    run(*pip, "install", *options, *what, cwd=environment)


def check(environment: Path, place: Path) -> None:
    """Both servers and all programs answer, from `place`, and not from this checkout."""
    empty = environment / "empty"
    empty.mkdir()
    python = environment / "bin" / "python"
    where = run(
        python,
        "-c",
        "import crs, haproxy, rtlib; print(crs.__file__, haproxy.__file__, rtlib.__file__)",
        cwd=empty,
    )
    assert all(Path(file).is_relative_to(place) for file in where.split()), where
    for server, option in (("crs", "--home"), ("genproxy", "--config")):
        assert option in run(python, "-m", "twisted", server, "--help", cwd=empty)
        assert option in run(
            python, "-c", "from twisted.scripts.twistd import run; run()", server, "--help", cwd=empty
        )
    for program in PROGRAMS:
        assert "Usage:" in run(environment / "bin" / program, "--help", cwd=empty)


@pytest.mark.long
def test_a_plain_wheel(sources: Path, environment: Path) -> None:
    """`pip install .`, the way of the packages."""
    wheels = sources.parent / "wheels"
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, sources)
    run(sys.executable, "-m", "pip", *build, cwd=sources)
    install(environment, *wheels.glob("*.whl"))
    check(environment, environment)


def test_an_editable_install(sources: Path, environment: Path) -> None:
    """`pip install -e .`, the way of `make`."""
    install(environment, "--editable", sources)
    check(environment, sources)
