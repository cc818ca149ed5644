"""What is generated is up to date, and what is packaged is complete."""

from __future__ import annotations

import configparser
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load_tool(name: str):  # type: ignore[no-untyped-def]  # a module, whose functions are untyped from here
    """A module of tools/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


DOCUMENTS = load_tool("write_docs").documents()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_documents_are_up_to_date(name: str) -> None:
    """`make docs` would change nothing."""
    assert (ROOT / name).read_text() == DOCUMENTS[name], f"{name} is out of date: run make docs"


def test_every_package_is_installed() -> None:
    """setup.cfg lists the packages by hand, so that `twisted.plugins` can be one of them."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split()) - {"twisted.plugins"}
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for package in ("rtlib", "crs", "haproxy")
        for file in (ROOT / package).rglob("*.py")
    }
    assert listed == folders


def test_links_in_documents_lead_somewhere() -> None:
    """Relative links of the Markdown documents name files that exist."""
    broken = []
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            if not (document.parent / target).exists():
                broken.append(f"{document.name}: {target}")
    assert broken == []


def documents() -> dict[str, str]:
    """The Markdown documents, by name."""
    return {each.name: each.read_text() for each in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}


def is_module(name: str) -> bool:
    """Whether a dotted name is a module or package here, or something that one has in it."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.exists():
            return count == len(parts) or parts[count] in file.read_text()
    return False


def test_files_that_documents_name_exist() -> None:
    """Paths from the root. TARGET stands for another word; `demo/` is also a folder that a reader makes."""
    folders = "|".join(each.name for each in ROOT.iterdir() if each.is_dir() and each.name != "run")
    path = re.compile(rf"(?<![\w/.-])(?:{folders})/[\w./-]*[\w/](?![*\w-])")
    broken = [
        f"{name}: {found}"
        for name, text in documents().items()
        for code in re.findall(r"`([^`\n]+)`", text)
        for found in path.findall(code)
        if not re.search(r"[A-Z]{4}|^demo/", found) and not (ROOT / found).exists()
    ]
    assert broken == []


def test_modules_and_tests_that_documents_name_exist() -> None:
    broken = []
    for name, text in documents().items():
        within = r"haproxy|rtlib|crs\.(?:client|cms|commands|relay|signaling)"
        modules = re.findall(rf"`((?:{within})\.[\w.]+)`", text)
        broken += [f"{name}: {each}" for each in modules if not is_module(each)]
        for file, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
            if f"def {test}(" not in (ROOT / file).read_text():
                broken.append(f"{name}: {file}::{test}")
    assert broken == []


def test_make_has_the_targets_that_documents_name() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    broken = [
        f"{name}: make {target}"
        for name, text in documents().items()
        for target in re.findall(r"(?:`|^ *)make ([a-z][\w-]*)", text, re.MULTILINE)
        if target not in targets
    ]
    assert broken == []
