"""The configuration of a coturn that a node lends."""

from __future__ import annotations

import ipaddress
import random

import pytest

from meshcall.errors import InvalidConfig
from meshcall.turn.coturn import coturn_config, coturn_places
from meshcall.turn.coturn_place import Coturn, parse_coturn
from meshcall.turn.grant import Place
from meshcall.turn.policy import RelayPolicy, denied_ranges


def test_coturn_is_denied_what_our_relay_denies() -> None:
    """The ranges of the template and the policy say the same of every address."""
    ranges = [(ipaddress.ip_address(first), ipaddress.ip_address(last)) for first, last in denied_ranges()]

    def denied(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(
            first.version == ip.version and int(first) <= int(ip) <= int(last) for first, last in ranges
        )

    source = random.Random(5)
    policy = RelayPolicy()
    edges = [ip for pair in ranges for ip in pair]
    near = [
        type(ip)(min(max(int(ip) + step, 0), 2**ip.max_prefixlen - 1)) for ip in edges for step in (-1, 0, 1)
    ]
    chance4 = [ipaddress.IPv4Address(source.randrange(2**32)) for _ in range(3000)]
    chance6 = [ipaddress.IPv6Address(source.randrange(2**128)) for _ in range(3000)]
    wrong = [str(ip) for ip in (*near, *chance4, *chance6) if denied(ip) != policy.refuses(str(ip))]
    assert wrong == []
    for text in (
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "::1",
        "fc00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
    ):
        assert denied(ipaddress.ip_address(text)), text


def test_the_configuration_has_all_that_keeps_a_relay_safe() -> None:
    """Short-lived credentials, quotas, bandwidth, no command line, no TCP relays, no multicast."""
    lines = coturn_config(Coturn("46.1.1.1", 3478, 443), "s3cret").splitlines()
    options = {line.partition("=")[0]: line.partition("=")[2] for line in lines if line and line[0] != "#"}
    assert options["static-auth-secret"] == "s3cret"
    for wanted in (
        "use-auth-secret", "user-quota", "total-quota", "max-bps", "bps-capacity", "no-cli", "no-tcp-relay",
        "no-multicast-peers", "stale-nonce", "realm",
    ):  # fmt: skip
        assert wanted in options
    assert (options["listening-ip"], options["tls-listening-port"]) == ("46.1.1.1", "443")
    assert sum(line.startswith("denied-peer-ip=") for line in lines) > 20
    assert "no-tls" in coturn_config(Coturn(), "s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3478", Coturn("", 3478, 0)),
        ("3478,5349", Coturn("", 3478, 5349)),
        ("46.1.1.1:3478,443", Coturn("46.1.1.1", 3478, 443)),
        ("[2a05::1]:3478", Coturn("2a05::1", 3478, 0)),
    ],
)
def test_where_a_coturn_is(text: str, expected: Coturn) -> None:
    """An address if it is not the node's own, the port of UDP and TCP, that of TLS."""
    assert parse_coturn(text) == expected
    places = coturn_places(expected)
    assert places[0] == Place("udp", 3478, expected.host)
    assert len(places) == (3 if expected.tls_port else 2)


@pytest.mark.parametrize(
    "text", ["", "x", "0", "70000", "relay.example:3478", "1.2.3:1", "3478,", "3478,99999"]
)
def test_what_is_no_place_of_a_coturn(text: str) -> None:
    """Names among them: who asks is told an address."""
    with pytest.raises(InvalidConfig):
        parse_coturn(text)
