"""What goes wrong while programs run: each fault does what it says, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from netsim import faults
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.nat import NAT, Filtering, Mapping, Ports
from netsim.puncher import Puncher
from netsim.servers import TurnServer
from netsim.site import Site
from tests.netns.reach import meet, meet_not


async def answers(server: TurnServer, site: Site) -> bool:
    """Whether the server answers a host of the site."""
    async with Puncher(site.host, server.addresses[0]) as puncher:
        return puncher.mapped is not None


async def test_a_cut_is_silent_and_heals(lab: Lab) -> None:
    """A site's uplink, a host's own wire, a server's: nothing passes, others are not touched."""
    server = await lab.server()
    alice, bob = await lab.site("alice"), await lab.site("bob")
    for target in (alice, alice.host, server.host):
        await faults.cut(target)
        assert not await answers(server, alice)
        assert await answers(server, bob) == (target is not server.host)
        await faults.heal(target)
        assert await answers(server, alice)


async def test_a_partition_divides_the_internet(lab: Lab) -> None:
    """Nothing passes between the groups, everything within them."""
    server = await lab.server()
    alice, bob, carol = [await lab.site(name, kind) for name, kind in KINDS_OF_PARTITION]
    await faults.partition([alice, bob], [carol])
    assert await answers(server, carol)
    assert all(await meet(alice.host, bob.host, server))
    assert await meet_not(alice.host, carol.host, server)
    assert await meet_not(bob.host, carol.host, server)
    await faults.unite(carol)
    assert all(await meet(bob.host, carol.host, server))
    with pytest.raises(LabError, match="name its site"):
        await faults.partition([alice.host], [carol])


KINDS_OF_PARTITION = (("alice", "full_cone"), ("bob", "cgnat"), ("carol", "open"))


async def mapped_ports(site: Site, server: TurnServer, fault: Callable[[], Awaitable[object]]) -> list[int]:
    """The external port of one internal port before and after a fault."""
    ports = []
    for act in (None, fault):
        if act is not None:
            await act()
        async with Puncher(site.host, server.addresses[0], port=4000) as puncher:
            assert puncher.mapped is not None
            ports.append(puncher.mapped[1])
    return ports


async def test_a_reboot_forgets_the_mappings(lab: Lab) -> None:
    """Who is let in is forgotten; a random port is drawn again, one that is preserved stays."""
    server = await lab.server()
    site = await lab.site("alice", "full_cone")
    async with (
        Puncher(site.host, server.addresses[0]) as inside,
        Puncher(server.host, None) as stranger,
    ):
        assert inside.mapped is not None
        for fault, heard in ((None, True), (faults.expire_mappings, False), (faults.reboot_nat, False)):
            if fault is not None:
                await fault(site)
            received = await asyncio.gather(inside.exchange([]), stranger.exchange([inside.mapped]))
            assert received[0] == ([stranger.local] if heard else [])
    random = await lab.site("bob", NAT(ports=Ports.RANDOM))
    assert len(set(await mapped_ports(random, server, lambda: faults.reboot_nat(random, seconds=0.1)))) == 2
    assert len(set(await mapped_ports(site, server, lambda: faults.reboot_nat(site)))) == 1


async def test_the_kind_changes_while_programs_run(lab: Lab) -> None:
    """The same socket behind another kind: what was refused is let in, and what can't change is refused."""
    server = await lab.server()
    site = await lab.site("alice", "port_restricted")
    for kind, heard in (("port_restricted", False), ("full_cone", True), ("symmetric_random", False)):
        await faults.set_nat(site, kind)
        async with (
            Puncher(site.host, server.addresses[0]) as inside,
            Puncher(server.host, None, local=server.addresses[1]) as stranger,
        ):
            assert inside.mapped is not None
            received = await asyncio.gather(inside.exchange([]), stranger.exchange([inside.mapped]))
            assert bool(received[0]) == heard, kind
    for impossible in ("open", "cgnat", "lan"):
        with pytest.raises(LabError):
            await faults.set_nat(site, impossible)


async def test_the_mapping_timeout_changes(lab: Lab) -> None:
    """A mapping that is idle for longer than the new timeout is gone."""
    server = await lab.server()
    site = await lab.site("alice", NAT(mapping=Mapping.EIM, filtering=Filtering.EIF))
    await faults.set_mapping_timeout(site, 1)
    async with (
        Puncher(site.host, server.addresses[0]) as inside,
        Puncher(server.host, None) as stranger,
    ):
        assert inside.mapped is not None
        await inside.exchange([], seconds=2.5)
        received = await asyncio.gather(inside.exchange([]), stranger.exchange([inside.mapped]))
        assert received[0] == []


async def test_the_provider_gives_another_address(lab: Lab) -> None:
    """A router's new address is the one that is seen from now on, at home and behind a carrier."""
    server = await lab.server()
    alice, bob = await lab.site("alice"), await lab.site("bob", "cgnat")
    for site in (alice, bob):
        before = site.wan4
        new = await faults.change_wan_address(site)
        assert new == site.wan4 != before
        assert await answers(server, site)
    async with Puncher(alice.host, server.addresses[0]) as puncher:
        assert puncher.mapped is not None
        assert puncher.mapped[0] == alice.wan4
    with pytest.raises(LabError, match="renumbered"):
        await faults.change_wan_address(await lab.site("carol", "open"))


async def test_an_interface_goes_and_comes_back(lab: Lab) -> None:
    """Without its interface a host has no address; afterwards it has the old one, and its routes."""
    server = await lab.server()
    site = await lab.site("alice", ipv6=True)
    flap = asyncio.create_task(faults.flap(site.host, seconds=0.6))
    await asyncio.sleep(0.3)
    shown = (await site.host.run(["ip", "addr", "show", "dev", "eth0"])).check().stdout
    assert site.host.ipv4 not in shown
    assert "state DOWN" in shown
    await flap
    assert await answers(server, site)
    site.host.ipv4 = ""
    async with Puncher(site.host, server.addresses6[0]) as puncher:
        assert puncher.mapped == puncher.local


async def test_a_host_roams(lab: Lab) -> None:
    """From Wi-Fi to a mobile network that it has not seen before, and back."""
    server = await lab.server()
    home = await lab.site("home", hosts=["phone", "laptop"])
    mobile = await lab.site("mobile", "symmetric_random", hosts=[])
    phone = home["phone"]
    for site in (mobile, home, mobile):
        await faults.roam(phone, site)
        assert phone.ipv4 in {item.ipv4 for item in phone.attachments if item.network == site.name}
        async with Puncher(phone, server.addresses[0]) as puncher:
            assert puncher.mapped is not None
            assert puncher.mapped[0] == site.wan4
    assert await answers(server, home)  # the laptop or the phone: the home is still there
