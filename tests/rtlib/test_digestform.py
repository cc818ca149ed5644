"""Credentials are read the quick way as the careful way reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib import digest, digestform
from rtlib.digest import Credentials, DigestError

REQUIRED = (b'username="b, o=b"', b'realm="r"', b'nonce="a=="', b'uri="sip:r"', b'response="0f"')
USUAL = (
    b"algorithm=MD5",
    b"nc=00000001",
    b"nc=0000000a",
    b'opaque=""',
    b"qop=auth",
    b'qop="Auth"',
    b'cnonce="c"',
)
ODD = (
    b"",
    b" ",
    b'b="c',
    b'"',
    b"A B",
    b"=1",
    b"e=",
    b"g=a b",
    b"a-b=1",
    b"nc=1",
    b"h=\t",
    b'k="\\""',
    b"\xc3\xa4=1",
)


def careful(rest: bytes) -> Credentials | None:
    try:
        return digest._credentials(digest._parameters(rest))
    except DigestError:
        return None


@given(
    st.data(), st.sampled_from([b"Digest ", b" digest  ", b"DIGEST "]), st.sampled_from([b",", b", ", b" ,"])
)
def test_the_quick_way_reads_what_the_careful_way_does(
    data: st.DataObject, scheme: bytes, between: bytes
) -> None:
    some = data.draw(st.lists(st.sampled_from(USUAL + ODD), max_size=4))
    rest = between.join(data.draw(st.permutations([*REQUIRED, *some])))
    quick = digestform.fields(scheme + rest)
    assert quick is None or quick == careful(rest)


@pytest.mark.parametrize(
    "more",
    [b"", b", algorithm=MD5", b', qop=Auth, nc=00000001, cnonce="c"', b",opaque=o,qop=auth,nc=0000000f"],
)
def test_what_phones_write_is_read_the_quick_way(more: bytes) -> None:
    rest = b", ".join(REQUIRED) + more
    assert digestform.fields(b"Digest " + rest) == careful(rest) is not None


@pytest.mark.parametrize("scheme", [b"", b"Digest", b"Basic ", b"Digestive ", b"\tDigest "])
def test_another_scheme_is_left_to_the_careful_way(scheme: bytes) -> None:
    assert digestform.fields(scheme + b", ".join(REQUIRED)) is None
