"""What is generated is up to date, and what is packaged is complete."""

from __future__ import annotations

import configparser
import importlib.util
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
    import re

    broken = []
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            if not (document.parent / target).exists():
                broken.append(f"{document.name}: {target}")
    assert broken == []
