"""QR codes: zbar reads what we show, in all three forms."""

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from crs.cms import qrcode
from crs.cms.error import CmsError
from crs.provisioning import Provisioning, encode

TEXT = encode(Provisioning("192.0.2.1", 5223, "+46701234567", "demo", bytes(range(32)), b"end-to-end"))
LONGEST = encode(Provisioning("a." * 120 + "example", 65535, "x" * 255, "a" * 20, bytes(32), bytes(256)))

Modules = list[list[bool]]
"""Rows of modules, True for dark."""


def scanned(picture: Path) -> str:
    """What zbar reads in a picture."""
    command = ["zbarimg", "--quiet", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def picture(modules: Modules, folder: Path) -> Path:
    """The modules as a PBM picture, 4 pixels each."""
    rows = [" ".join("1111" if dark else "0000" for dark in row) for row in modules for _ in range(4)]
    file = folder / "code.pbm"
    file.write_text(f"P1\n{len(modules[0]) * 4} {len(rows)}\n" + "\n".join(rows) + "\n")
    return file


def of_terminal(text: str) -> Modules:
    """White on black: what is not drawn is dark."""
    cells = {" ": (True, True), "▀": (False, True), "▄": (True, False), "█": (False, False)}
    modules: Modules = []
    for line in text.splitlines():
        assert line.startswith(qrcode.WHITE_ON_BLACK) and line.endswith(qrcode.PLAIN)
        pairs = [cells[cell] for cell in line[len(qrcode.WHITE_ON_BLACK) : -len(qrcode.PLAIN)]]
        modules += [[top for top, _ in pairs], [bottom for _, bottom in pairs]]
    return modules


def of_svg(data: bytes) -> Modules:
    """Draws the one path of the code: horizontal strokes through the middle of modules."""
    paths = ElementTree.fromstring(data).iter("{http://www.w3.org/2000/svg}path")
    area, strokes = (path.attrib["d"] for path in paths)
    size = int(area.partition("h")[2].partition("v")[0])
    modules = [[False] * size for _ in range(size)]
    x, y = 0, 0.0
    for kind, numbers in re.findall(r"([Mmh])([-0-9. ]+)", strokes):
        values = [float(number) for number in numbers.split()]
        if kind == "h":
            modules[int(y)][x : x + int(values[0])] = [True] * int(values[0])
            x += int(values[0])
        else:
            x, y = (int(values[0]), values[1]) if kind == "M" else (x + int(values[0]), y + values[1])
    return modules


@pytest.mark.peer("zbarimg")
@pytest.mark.parametrize("text", [TEXT, LONGEST], ids=["usual", "longest"])
def test_zbar_reads_the_png(tmp_path: Path, text: str) -> None:
    (tmp_path / "code.png").write_bytes(qrcode.png(qrcode.make(text)))
    assert scanned(tmp_path / "code.png") == text


@pytest.mark.peer("zbarimg")
def test_zbar_reads_the_svg(tmp_path: Path) -> None:
    assert scanned(picture(of_svg(qrcode.svg(qrcode.make(TEXT))), tmp_path)) == TEXT


@pytest.mark.peer("zbarimg")
def test_zbar_reads_the_terminal(tmp_path: Path) -> None:
    assert scanned(picture(of_terminal(qrcode.terminal(qrcode.make(TEXT))), tmp_path)) == TEXT


def test_the_three_forms_show_the_same() -> None:
    code = qrcode.make(TEXT)
    shown = of_terminal(qrcode.terminal(code))
    drawn = of_svg(qrcode.svg(code))
    assert shown[: len(drawn)] == drawn
    assert qrcode.png(code).startswith(b"\x89PNG\r\n")


def test_too_long() -> None:
    with pytest.raises(CmsError, match="3000 characters do not fit into a QR code"):
        qrcode.make("x" * 3000)
