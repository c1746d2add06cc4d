"""Each kind of NAT is what it is called, say two tools that know nothing of the lab, and two hosts."""

from __future__ import annotations

import asyncio
import itertools
import sys

import pytest

from netsim.errors import LabUnavailable
from netsim.lab import Lab
from netsim.namespaces import why_unavailable
from netsim.nat import NAT, Filtering, Impossible, Mapping, Ports, Unsolicited
from netsim.puncher import Puncher
from netsim.verify import KINDS, Proof, mapping_lives, prove_all, table


def grid() -> dict[str, NAT]:
    """Every mapping with every filtering and every way to choose ports that can be built."""
    kinds = {}
    for mapping, filtering, ports in itertools.product(Mapping, Filtering, Ports):
        try:
            kind = NAT(mapping=mapping, filtering=filtering, ports=ports, hairpin=mapping is Mapping.EIM)
        except Impossible:
            continue
        kinds[f"{mapping.name} {filtering.name} {ports.value}"] = kind
    return kinds


ALL = KINDS | grid()


@pytest.fixture(scope="module")
def proofs() -> dict[str, Proof]:
    """What the tools say about all kinds, looked at side by side: most of the time they wait for silence."""
    if reason := why_unavailable():
        pytest.skip(reason)

    async def prove() -> list[Proof]:
        async with Lab() as lab:
            return await prove_all(lab, ALL)

    try:
        found = asyncio.run(prove())
    except LabUnavailable as error:
        pytest.skip(str(error))
    print(table(found), file=sys.stderr)
    return {proof.name: proof for proof in found}


@pytest.mark.parametrize("name", ALL)
def test_a_kind_is_what_it_is_called(proofs: dict[str, Proof], name: str) -> None:
    """Mapping, filtering and hairpinning as the value says; both tools agree with it."""
    proof = proofs[name]
    print(f"{name}: natdiscovery {proof.found.natdiscovery!r}, stun {proof.found.stun!r}, {proof.found}")
    assert proof.found == proof.expected


async def test_a_mapping_ends_after_its_timeout(lab: Lab) -> None:
    """An idle mapping is there before its timeout, and gone after it."""
    server = await lab.server()
    short = await lab.site("short", NAT(timeout=2))
    alive = await lab.site("alive", NAT(timeout=30, filtering=Filtering.EIF))
    results = await asyncio.gather(
        mapping_lives(short.host, server, 1),
        mapping_lives(short.host, server, 4),
        mapping_lives(alive.host, server, 4),
    )
    assert list(results) == [True, False, True]


async def test_sequential_ports_are_one_apart(lab: Lab) -> None:
    """A peer that saw two mappings can foretell the third."""
    server = await lab.server()
    site = await lab.site("alice", "symmetric_sequential")
    ports = []
    for _ in range(3):
        async with Puncher(site.host, server.addresses[0]) as puncher:
            assert puncher.mapped is not None
            ports.append(puncher.mapped[1])
    assert [b - a for a, b in itertools.pairwise(ports)] == [1, 1]


@pytest.mark.parametrize("filtering", Filtering)
async def test_two_hosts_with_one_port_have_two_mappings(lab: Lab, filtering: Filtering) -> None:
    """No port overloading (RFC 4787 REQ-3): the second host gets one other port, for every destination."""
    server = await lab.server()
    site = await lab.site("home", NAT(filtering=filtering), hosts=["alice", "bob"])
    first, second = server.addresses
    async with (
        Puncher(site["alice"], first, port=4000) as alice,
        Puncher(site["bob"], second, port=4000) as bob,
    ):
        assert alice.mapped == (site.wan4, 4000)
        assert bob.mapped is not None
        assert bob.mapped[1] != 4000
    async with Puncher(site["bob"], first, port=4000) as again:
        assert again.mapped == bob.mapped


@pytest.mark.parametrize("unsolicited", Unsolicited)
async def test_what_a_router_accepts_itself_takes_the_port(lab: Lab, unsolicited: Unsolicited) -> None:
    """A datagram that came too early spoils the hole if the router took it for its own, and only then."""
    kind = NAT(unsolicited=unsolicited)
    server = await lab.server()
    alice, bob = [await lab.site(name, kind) for name in ("alice", "bob")]
    async with (
        Puncher(alice.host, server.addresses[0]) as one,
        Puncher(bob.host, server.addresses[0]) as other,
    ):
        assert one.mapped is not None
        assert other.mapped is not None
        assert await one.exchange([other.mapped]) == []  # Bob's router sees this before Bob has sent anything
        received = await asyncio.gather(one.exchange([other.mapped]), other.exchange([one.mapped]))
    if unsolicited is Unsolicited.DROP:
        assert list(received) == [[other.mapped], [one.mapped]]
    else:
        assert received[0] != [other.mapped]
