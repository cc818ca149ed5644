"""addr-map: the addresses of other servers as seen from here."""

from __future__ import annotations

from crs.addressmap import AddressMap


def test_the_first_line_of_an_address_counts_and_others_stay() -> None:
    addresses = AddressMap([("203.0.113.101", "198.51.100.1"), ("203.0.113.101", "10.0.0.1"), ("::1", "::2")])
    assert addresses.find("203.0.113.101") == "198.51.100.1"
    assert addresses.find("::1") == "::2"
    assert addresses.find("203.0.113.102") == "203.0.113.102"
    addresses.replace([])
    assert addresses.find("203.0.113.101") == "203.0.113.101"
