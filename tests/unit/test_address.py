"""Addresses as people and links write them."""

from __future__ import annotations

import pytest

from meshcall.address import parse_host_port
from meshcall.errors import UsageError


@pytest.mark.parametrize(
    "port", ["00008070000", "1" + "0" * 5000, "00001" + "0" * 5000, "65536", "0", "", "-1", "+1", "\u0661"]
)
def test_a_port_is_one_of_65535(port: str) -> None:
    """Whatever stands there is refused as the user's mistake, and no number beyond goes any further."""
    with pytest.raises(UsageError):
        parse_host_port(f"192.0.2.1:{port}")


def test_addresses_are_read_in_both_families() -> None:
    """With a name, too; zeros in front do no harm."""
    assert parse_host_port("192.0.2.1:04000") == ("192.0.2.1", 4000)
    assert parse_host_port("[2001:db8::1]:65535") == ("2001:db8::1", 65535)
    assert parse_host_port("node.example:1") == ("node.example", 1)
