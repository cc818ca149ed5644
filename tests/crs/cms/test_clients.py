"""The CSV file of clients."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.cms import clients
from crs.cms.clients import Client
from crs.cms.error import CmsError


def read(folder: Path, data: str | bytes) -> list[Client]:
    file = folder / "clients.csv"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return clients.read(file)


def test_columns_in_any_order(tmp_path: Path) -> None:
    found = read(
        tmp_path, 'name,blob,URI , team_codes\n"Berg, Bo",blobs/bo,+461,red  blue red\n\n,/x,+462,\n'
    )
    assert found == [
        Client("+461", "Berg, Bo", ("red", "blue"), tmp_path / "blobs/bo"),
        Client("+462", "", (), Path("/x")),
    ]


def test_as_spreadsheets_write_it(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfuri,name\r\n+461,\xc3\x85sa\r\n") == [Client("+461", "Åsa")]


def test_only_the_head(tmp_path: Path) -> None:
    assert read(tmp_path, "uri\n") == []


printable = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=30)
code = printable.filter(lambda text: "," not in text)
client = st.builds(
    Client,
    code,
    printable | st.just(""),
    st.lists(code, max_size=3, unique=True).map(tuple),
    st.none() | st.from_regex(r"/[a-z,\"]{1,10}", fullmatch=True).map(Path),
)


@given(st.lists(client, max_size=5, unique_by=lambda each: each.uri))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, listed: list[Client]) -> None:
    assert read(tmp_path_factory.getbasetemp(), clients.text(listed)) == listed


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    for data in (noise, b"uri,name\n" + noise):
        try:
            found = read(tmp_path_factory.getbasetemp(), data)
        except CmsError as error:
            assert "clients.csv" in str(error) and str(error).isprintable()
        else:
            assert all(isinstance(each, Client) for each in found)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", ":1: the first line must name the columns"),
        ("+461\n", ":1: '+461': unknown column (allowed: uri, name, team_codes, blob; separated by commas)"),
        ("uri;name\n+461;Bo\n", ":1: 'uri;name': unknown column"),
        ("name\nBo\n", ":1: the first line must name the columns, with uri among them"),
        ("uri,uri\n", ":1: a column is there twice"),
        ("uri,name\n+461\n", ":2: 1 cells under 2 columns"),
        ("uri,name\n+461,Bo,red\n", ":2: 3 cells under 2 columns"),
        ("uri,name\n,Bo\n", ":2: uri: is missing"),
        ("uri\n+46 1\n", ":2: uri: '+46 1' is no valid URI"),
        ("uri\n" + "x" * 256 + "\n", " is no valid URI"),
        ("uri\n\n+461\n\n+461\n", ":5: uri: +461 is there twice"),
        ("uri,name\n+461,a\tb\n", ":2: name: not up to 100 printable characters"),
        ("uri,name\n+461," + "x" * 101 + "\n", ":2: name: not up to 100"),
        ('uri,team_codes\n+461,"red,blue"\n', ":2: team_codes: 'red,blue' is no valid team code"),
        ('uri,team_codes\n"+46,1",red\n', ":2: team_codes: +46,1 has a comma"),
        ('uri,name\n"+461","two\nlines"\n+462,x\n+463,x,y\n', ":2: name: "),
        ('uri,name\n+460,"two\r\nlines"x\n', ":2: "),
        ('uri\n+461\n"+462\n', ":3: unexpected end of data"),
        (b"uri\n+461\n\xff\n", ":3: not UTF-8"),
        ("uri\n+46 1\n+462\n+46 3\n+46 4\n", ":2: uri: '+46 1' is no valid URI (and 2 more)"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, data: str | bytes, reason: str) -> None:
    with pytest.raises(CmsError) as caught:
        read(tmp_path, data)
    assert str(caught.value).startswith(str(tmp_path / "clients.csv:")) and reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_are_counted_behind_cells_of_several_lines(tmp_path: Path) -> None:
    with pytest.raises(CmsError, match=r"clients\.csv:2: name.*\(and 1 more\)"):
        read(tmp_path, 'uri,name\n+461,"two\nlines"\n+46 2,x\n')
    with pytest.raises(CmsError, match=r"clients\.csv:4: uri"):
        read(tmp_path, "uri,name\n+461,x\n\n+46 2,x\n")


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_CLIENTS", 2)
    with pytest.raises(CmsError, match="more than 2 clients"):
        read(tmp_path, "uri\n+461\n+462\n+463\n")
    monkeypatch.setattr(clients, "MAX_FILE", 10)
    with pytest.raises(CmsError, match="more than 10 bytes"):
        read(tmp_path, "uri\n+461\n+462\n")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CmsError, match=r"none\.csv: No such file or directory"):
        clients.read(tmp_path / "none.csv")
