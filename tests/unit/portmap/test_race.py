"""One gateway, all protocols, in virtual time."""

from __future__ import annotations

import struct

import pytest

from meshcall import limits
from meshcall.portmap.race import Race
from meshcall.portmap.upnp_attempt import MapUpnp, UnmapUpnp
from tests.unit.portmap.gateway import GATEWAY, PUBLIC, SSDP_ANSWER, TCP, UDP, FakeGateway, World

ANNOUNCED = struct.pack("!BBHI", 0, 128, 0, 5) + bytes((5, 9, 1, 2))


@pytest.mark.parametrize(
    ("speaks", "expected"),
    [
        ("pcp nat-pmp upnp", "pcp"),
        ("nat-pmp upnp", "nat-pmp"),
        ("upnp", "upnp"),
        ("pcp upnp", "pcp"),
        ("nat-pmp", "nat-pmp"),
    ],
)
@pytest.mark.parametrize("says_version", [False, True])
def test_the_best_protocol_maps_within_300_ms(speaks: str, expected: str, says_version: bool) -> None:
    """Also where the others are silent; one round trip for PCP, and for NAT-PMP where PCP is denied."""
    world = World(FakeGateway(*speaks.split()))
    world.gateway.says_version = says_version
    world = World(world.gateway)
    world.run(0.3)
    assert world.mapping is not None
    assert (world.mapping.protocol, world.mapping.external) == (expected, (PUBLIC, 4242))
    assert world.race.state(world.now) == "mapped"
    assert world.race.took is not None
    limit = 0.01 if expected == "pcp" or (says_version and expected == "nat-pmp") else 0.15
    assert world.race.took <= limit


def test_only_one_protocol_makes_a_mapping() -> None:
    """Where PCP maps, NAT-PMP and UPnP are asked for nothing that would change the gateway."""
    world = World(FakeGateway("pcp", "nat-pmp", "upnp"))
    world.run(30)
    asked = {(data[0], data[1]) for data in world.gateway.requests}
    assert asked == {(2, 1), (0, 0)}
    assert world.orders == []


def test_a_lost_packet_costs_a_tenth_of_a_second() -> None:
    """The first copies are lost, the second ones are not."""
    world = World(FakeGateway("pcp"), start=False)
    world.silent = True
    world.race.start(world.now)
    world.drain()
    world.silent = False
    world.run(0.3)
    assert world.race.took is not None
    assert 0.1 <= world.race.took <= 0.12


def test_a_late_answer_is_taken() -> None:
    """After the verdict that the gateway is silent: it is slow, not deaf."""
    world = World(FakeGateway("pcp"), delay=1.0)
    world.run(0.5)
    assert world.race.state(world.now) == "silent"
    world.run(2)
    assert world.race.state(world.now) == "mapped"


def test_a_silent_gateway_is_asked_less_and_less() -> None:
    """A handful of packets at once, then after a minute, two, four and at last once an hour."""
    world = World(FakeGateway())
    world.run(10)
    assert world.race.state(world.now) == "silent"
    first = len(world.gateway.requests)
    assert first == 2 * limits.PORTMAP_TRIES
    assert world.searches == limits.PORTMAP_SEARCHES
    world.run(24 * 3600)
    rounds = len(world.gateway.requests) / first
    assert 20 <= rounds <= 32
    world.gateway.protocols.add("pcp")
    world.run(2 * limits.PORTMAP_SILENT_MAX)
    assert world.race.state(world.now) == "mapped"


def test_a_closed_port_is_believed_at_once() -> None:
    """ICMP says that nothing listens there: UPnP need not wait for anybody."""
    world = World(FakeGateway("upnp"))
    world.race.unreachable(world.now)
    world.run(0.03)
    assert world.mapping is not None
    assert world.mapping.protocol == "upnp"


def test_renewed_at_half_of_its_life_for_days() -> None:
    """Never a gap, the same external port, and no more requests than needed."""
    for protocol in ("pcp", "nat-pmp"):
        world = World(FakeGateway(protocol), lifetime=1200)
        world.run(1)
        for _ in range(200):
            world.run(300)
            assert world.mapping is not None
            assert world.mapping.external == (PUBLIC, 4242)
            assert world.mapping.expires > world.now + 400
        maps = [data for data in world.gateway.requests if data[:2] in (b"\2\1", b"\0\1")]
        assert len(maps) <= 60_000 / 600 + 2


def test_a_lost_renewal_is_tried_in_halves_until_the_life_is_over() -> None:
    """The mapping is shown as long as it lives, not longer; then everything begins anew."""
    world = World(FakeGateway("pcp"), lifetime=1200)
    world.run(1)
    world.silent = True
    assert world.mapping is not None
    expires = world.mapping.expires
    world.run(expires - world.now - 1)
    assert world.race.state(world.now) == "mapped"
    world.run(2.0)
    assert world.mapping is None
    world.silent = False
    world.run(2.0)
    assert world.race.state(world.now) == "mapped"


def test_the_gateway_can_neither_rush_nor_silence_us() -> None:
    """A life of a second is held for PORTMAP_RENEW_MIN, one of 136 years is renewed each hour."""
    world = World(FakeGateway("pcp", granted=1))
    world.run(100)
    assert len(world.gateway.requests) <= 100 / (limits.PORTMAP_RENEW_MIN / 2) + 20
    world = World(FakeGateway("pcp", granted=2**32 - 1))
    world.run(10)
    before = len([data for data in world.gateway.requests if data[:2] == b"\2\1"])
    world.run(1.3 * limits.PORTMAP_RENEW_MAX)
    assert len([data for data in world.gateway.requests if data[:2] == b"\2\1"]) > before


def test_a_reboot_is_noticed_and_mapped_again() -> None:
    """By its announcement within a second; without one when it is looked at, within a minute or so."""
    for protocol in ("pcp", "nat-pmp"):
        for announced in (True, False):
            world = World(FakeGateway(protocol))
            world.run(10)
            world.gateway.reboot(world.now)
            if announced:
                world.race.announced(ANNOUNCED, world.now)
            world.run(1 if announced else 1.3 * limits.PORTMAP_LOOK)
            assert world.gateway.table == {("udp", 4242): 4242}, (protocol, announced)
            assert world.race.state(world.now) == "mapped"


def test_a_gateway_that_is_another_one_now_is_asked_all_protocols() -> None:
    """After a change of network the old mapping has to be confirmed; if it is not, the race begins anew."""
    world = World(FakeGateway("pcp"))
    world.run(10)
    world.gateway = FakeGateway("upnp", external="5.9.9.9")
    world.race.start(world.now)
    world.drain()
    world.run(2.5)
    assert world.mapping is not None
    assert (world.mapping.protocol, world.mapping.external[0]) == ("upnp", "5.9.9.9")


def test_announcements_that_anybody_can_forge_cost_little() -> None:
    """A thousand of them: one question each PORTMAP_ANNOUNCE_PAUSE, the mapping stays, none is believed."""
    world = World(FakeGateway("pcp"))
    world.run(10)
    before = len(world.gateway.requests)
    for _ in range(1000):
        world.race.announced(ANNOUNCED, world.now)
        world.run(0.02)
        assert world.mapping is not None
    each = 1 + limits.PORTMAP_TRIES  # the renewal, and whether it speaks NAT-PMP now
    assert len(world.gateway.requests) - before <= each * (20 / limits.PORTMAP_ANNOUNCE_PAUSE + 1)
    world.race.announced(b"\0\x81\0\0" + bytes(12), world.now)
    world.race.announced(b"junk", world.now)
    assert sum(world.counters.values()) > 900


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    """Another nonce, another port, an unasked mapping: counted."""
    world = World(FakeGateway("pcp"), start=False)
    world.silent = True
    world.race.start(world.now)
    asked = world.race.transmits()[0]
    good = FakeGateway("pcp").answer(asked, world.now)[0]
    forged = bytearray(good)
    forged[24] ^= 1
    world.race.receive(bytes(forged), world.now)
    other = bytearray(good)
    other[40] ^= 1
    world.race.receive(bytes(other), world.now)
    world.race.receive(struct.pack("!BBHIHHI", 0, 129, 0, 1, 4242, 4242, 3600), world.now)
    world.race.receive_ssdp(b"junk", world.now)
    assert world.mapping is None
    assert world.counters == {"portmap-nonce": 2, "portmap-unasked": 1, "portmap-ssdp-status": 1}
    world.race.receive(good, world.now)
    assert world.mapping is not None


@pytest.mark.parametrize("protocol", ["pcp", "nat-pmp", "upnp"])
def test_given_back_at_exit(protocol: str) -> None:
    """All services; then nothing is sent any more, and late answers change nothing."""
    world = World(FakeGateway(protocol), (UDP, TCP))
    world.run(10)
    assert set(world.gateway.table) == {("udp", 4242), ("tcp", 4242)}
    world.race.release(world.now)
    world.drain()
    assert not world.race.released
    world.run(0.2)
    assert world.race.released
    assert world.gateway.table == {}
    count = len(world.gateway.requests), len(world.orders)
    world.run(10_000)
    assert (len(world.gateway.requests), len(world.orders)) == count


def test_what_upnp_maps_after_the_end_is_removed() -> None:
    """The order was on its way when everything was given back."""
    world = World(FakeGateway("upnp"))
    world.upnp_takes = 1.0
    world.run(0.5)
    assert [type(one) for one in world.orders] == [MapUpnp]
    world.race.release(world.now)
    world.run(3)
    assert [type(one) for one in world.orders] == [MapUpnp, UnmapUpnp]
    assert world.gateway.table == {}
    assert world.race.released


def test_refused_by_one_is_asked_by_the_next() -> None:
    """PCP says no; NAT-PMP, too; UPnP does it."""
    world = World(FakeGateway("pcp", "nat-pmp", "upnp"), start=False)
    world.gateway.result = 2
    world.race.start(world.now)
    world.drain()
    world.run(0.3)
    assert world.mapping is not None
    assert world.mapping.protocol == "upnp"


def test_a_refusal_is_told_in_words_and_not_repeated_soon() -> None:
    """With the protocol and the reason; asked again when the gateway said that it may help."""
    world = World(FakeGateway("pcp"), start=False)
    world.gateway.result, world.gateway.failure_life = 8, 1800
    world.race.start(world.now)
    world.drain()
    world.run(0.5)
    assert world.race.state(world.now) == "refused"
    assert world.race.failures() == {"pcp": "no room"}
    world.run(10)
    asked = len([data for data in world.gateway.requests if data[:2] == b"\2\1"])
    world.run(1700)
    assert len([data for data in world.gateway.requests if data[:2] == b"\2\1"]) == asked
    world.gateway.result = 0
    world.run(800)
    assert world.race.state(world.now) == "mapped"


@pytest.mark.parametrize("external", ["192.168.0.7", "100.64.1.2", "127.0.0.1", "224.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("protocol", ["pcp", "nat-pmp", "upnp"])
def test_a_private_external_address_is_a_double_nat(protocol: str, external: str) -> None:
    """It is noted, and nobody is offered it: also a gateway that lies can't have us name such addresses."""
    world = World(FakeGateway(protocol, external=external))
    world.run(1)
    assert world.race.state(world.now) == "double-nat"
    assert world.mapping is not None
    assert not world.mapping.reachable


def test_another_external_address_is_noticed_by_nat_pmp() -> None:
    """It is in each answer to the look."""
    world = World(FakeGateway("nat-pmp"))
    world.run(10)
    world.gateway.external = "5.9.7.7"
    world.run(1.3 * limits.PORTMAP_LOOK)
    assert world.mapping is not None
    assert world.mapping.external == ("5.9.7.7", 4242)


def test_services_come_and_go() -> None:
    """One more is mapped at once, one that is not wanted any more is given back at once."""
    for protocol in ("pcp", "nat-pmp", "upnp"):
        world = World(FakeGateway(protocol))
        world.run(1)
        world.race.want((UDP, TCP), world.now)
        world.drain()
        world.run(0.2)
        assert set(world.gateway.table) == {("udp", 4242), ("tcp", 4242)}, protocol
        world.race.want((UDP,), world.now)
        world.drain()
        world.run(0.2)
        assert set(world.gateway.table) == {("udp", 4242)}, protocol


def test_only_searches_of_ours_are_answered() -> None:
    """An answer without a search is refused, and a second one changes nothing."""
    world = World(FakeGateway("upnp"), start=False)
    world.race.receive_ssdp(SSDP_ANSWER, world.now)
    assert world.counters == {"portmap-ssdp-unasked": 1}
    world.race.start(world.now)
    world.drain()
    world.run(0.3)
    other = SSDP_ANSWER.replace(b":5000", b":5001")
    world.race.receive_ssdp(other, world.now)
    world.run(2 * limits.PORTMAP_UPNP_RENEW)
    assert {one.location for one in world.orders} == {"http://192.168.1.1:5000/rootDesc.xml"}


def test_an_ipv6_gateway_is_asked_by_pcp_alone() -> None:
    """NAT-PMP and UPnP have no ports to map there."""
    from collections import Counter

    from meshcall.portmap.mapping import Gateway
    from meshcall.testing.clock import seeded_random

    gateway = Gateway("eth0", "fe80::1%eth0", "2a05:d002::7")
    race = Race(gateway, (UDP,), lifetime=60, secret=b"s", random=seeded_random(1), counters=Counter())
    race.start(0.0)
    assert [data[:2] for data in race.transmits()] == [b"\2\1"]
    assert race.searches() == []
    assert GATEWAY.version == 4
