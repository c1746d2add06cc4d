"""Others' STUN clients against our nodes: each learns its address, and two nodes tell the NAT's mapping."""

from __future__ import annotations

import asyncio
import re

import pytest

from netsim.errors import LabUnavailable
from netsim.lab import Host, Lab
from netsim.peer import Peer
from netsim.tools import require_tools

PORT = 3478
"""The tools' default: ``stun`` can't be told another one by name."""


async def by_stun_client(host: Host, server: Host, port: int) -> str:
    """RFC 3489: what Debian's stun-client says that it is seen as, sending from ``port``."""
    done = await host.run(["stun", server.ipv4, "1", "-v", "-p", str(port)], timeout=20)
    found = re.search(r"mappedAddr=(\S+)", done.stdout + done.stderr)
    assert found is not None, done.stdout + done.stderr
    return found[1]


async def by_natdiscovery(host: Host, server: Host, port: int) -> str:
    """RFC 5780: what coturn's tool says. Of a server with one address it asks nothing more."""
    argv = ["turnutils_natdiscovery", "-m", "-f", "-L", host.ipv4, "-l", str(port), server.ipv4]
    done = await host.run(argv, timeout=20)
    found = re.findall(r"UDP reflexive addr: (\S+)", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()
    return str(found[0])


async def by_stunclient(host: Host, server: Host, port: int) -> str:
    """RFC 5389: coturn's plain client."""
    done = await host.run(["turnutils_stunclient", "-L", host.ipv4, server.ipv4], timeout=20)
    found = re.search(r"UDP reflexive addr: (\S+)", done.stdout + done.stderr)
    assert found is not None, done.stdout + done.stderr
    return found[1]


@pytest.mark.timeout(120)
async def test_tools_of_others_at_our_nodes(lab: Lab) -> None:
    """Two daemons and three clients behind two NATs: each is seen at its site's public address.

    Who sends from one port to both nodes is seen at one port where the mapping is independent of the
    endpoint, and at two where it is not.
    """
    try:
        require_tools("stun", "turnutils_natdiscovery", "turnutils_stunclient")
    except LabUnavailable as error:
        pytest.skip(str(error))
    nodes = [await lab.public_host(f"node{number}") for number in range(2)]
    cone = await lab.site("cone", "port_restricted")
    symmetric = await lab.site("symmetric", "symmetric_random")
    peers = [Peer(node) for node in nodes]
    await asyncio.gather(*(peer.start("--port", str(PORT), "--no-mdns") for peer in peers))
    ports = iter(range(20_000, 30_000, 16))
    for ask in (by_stun_client, by_natdiscovery, by_stunclient):
        for site in (cone, symmetric):
            port = next(ports)
            seen = [await ask(site.host, node, port) for node in nodes]
            print(f"{ask.__name__} behind {site.name}: {seen}")
            assert {one.partition(":")[0] for one in seen} == {site.public_ipv4}
            if ask is not by_stunclient:  # it can't be told a port
                assert len(set(seen)) == (1 if site is cone else 2)
    await asyncio.gather(*(peer.daemon.stop() for peer in peers if peer.daemon))
