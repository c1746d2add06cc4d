"""All gateways of a machine."""

from __future__ import annotations

from meshcall.limits import PORTMAP_GATEWAYS_MAX
from meshcall.portmap.mapper import Mapper
from meshcall.portmap.mapping import Gateway
from meshcall.testing.clock import seeded_random
from tests.unit.portmap.gateway import GATEWAY, PUBLIC, UDP, FakeGateway

OTHER = Gateway("wlan0", "10.0.0.1", "10.0.0.7")


def make(*gateways: Gateway, enabled: bool = True) -> Mapper:
    """A mapper that has asked them."""
    mapper = Mapper(secret=b"s" * 16, random=seeded_random(1), enabled=enabled)
    mapper.want([UDP], 0.0)
    mapper.set_gateways(gateways, 0.0)
    return mapper


def answer(mapper: Mapper, gateway: Gateway, fake: FakeGateway) -> None:
    """Have a gateway answer what it was sent."""
    for data in mapper.races[gateway].transmits():
        if data[0] == 2:
            data = data[:8] + bytes(10) + b"\xff\xff\xc0\xa8\x01\x07" + data[24:]
        for octets in fake.answer(data, 0.0):
            mapper.races[gateway].receive(octets, 0.0)


def test_the_best_gateway_is_shown_and_all_mappings_count() -> None:
    """One is silent, one maps to a private address, and then the first maps, too."""
    mapper = make(GATEWAY, OTHER)
    assert mapper.standing(0.0).state == "asking"
    answer(mapper, OTHER, FakeGateway("pcp", external="192.168.9.9"))
    standing = mapper.standing(0.0)
    assert (standing.state, standing.gateway) == ("double-nat", OTHER)
    assert "another NAT" in standing.reason
    assert mapper.external(UDP) == []
    answer(mapper, GATEWAY, FakeGateway("pcp"))
    standing = mapper.standing(0.0)
    assert (standing.state, standing.gateway, standing.reason) == ("mapped", GATEWAY, "")
    assert mapper.external(UDP) == [(PUBLIC, 4242)]


def test_who_has_a_public_address_asks_nobody() -> None:
    """There is nothing to map; firewalls of IPv6 are another matter."""
    public = Gateway("eth0", "5.0.0.1", "5.0.0.7")
    six = Gateway("eth0", "fe80::1%eth0", "2a05:d002::7")
    mapper = make(public)
    assert mapper.races == {}
    assert mapper.standing(0.0).state == "needless"
    mapper = make(public, six)
    assert list(mapper.races) == [six]
    assert mapper.standing(0.0).state == "needless"


def test_off_and_alone() -> None:
    """Each says so in a sentence; before anybody has looked for routers, nothing is said of them."""
    assert Mapper(secret=b"s" * 16, random=seeded_random(1)).standing(0.0).state == "asking"
    assert make(enabled=False).standing(0.0).state == "off"
    mapper = make(GATEWAY, enabled=False)
    assert mapper.races == {}
    assert mapper.deadline() == float("inf")
    assert make().standing(0.0).state == "no-gateway"
    assert "no router" in make().standing(0.0).reason


def test_the_reason_of_a_refusal_is_told() -> None:
    """With the protocol."""
    mapper = make(GATEWAY)
    fake = FakeGateway("pcp")
    fake.result = 2
    answer(mapper, GATEWAY, fake)
    standing = mapper.standing(1.0)
    assert standing.state == "refused"
    assert standing.reason == "the router does not map ports for us (PCP: not allowed)"


def test_gateways_are_bounded_and_go() -> None:
    """Of a hundred four are asked; one that is gone is not asked any more, its mapping counts no longer."""
    many = [Gateway("eth0", f"10.0.{n}.1", f"10.0.{n}.2") for n in range(100)]
    assert len(make(*many).races) == PORTMAP_GATEWAYS_MAX
    mapper = make(GATEWAY)
    answer(mapper, GATEWAY, FakeGateway("pcp"))
    mapper.set_gateways([OTHER], 1.0)
    assert mapper.external(UDP) == []
    assert list(mapper.races) == [OTHER]


def test_announcements_of_strangers_are_counted() -> None:
    """Only what comes from a gateway's address is looked at."""
    mapper = make(GATEWAY)
    mapper.announced("192.168.1.66", b"\0\x80\0\0" + bytes(8), 0.0)
    assert mapper.counters == {"portmap-stranger": 1}


def test_after_the_end_nothing_is_asked() -> None:
    """A change of network that comes late changes nothing."""
    mapper = make(GATEWAY)
    mapper.release(1.0)
    assert mapper.released
    assert mapper.standing(1.0).state == "released"
    mapper.set_gateways([OTHER], 2.0)
    assert list(mapper.races) == [GATEWAY]
