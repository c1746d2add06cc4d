"""What a node learns of its NAT, and the pairs that plain ICE can't join."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from netsim.lab import Lab
from netsim.matrix import Plan, parse_pairs, run_matrix
from netsim.peer import start_testnet
from netsim.site import Site

SCRIPT = Path(__file__).with_name("nat_node.py")
SEQUENTIAL, RANDOM = "symmetric_sequential", "symmetric_random"
FIXED = ("port_restricted", "cgnat")
PAIRS = [
    f"{SEQUENTIAL}:{SEQUENTIAL}",
    *(f"{one}:{other}" for one in (SEQUENTIAL, RANDOM) for other in FIXED),
    *(f"{other}:{one}" for one in (SEQUENTIAL, RANDOM) for other in FIXED),
]
LEARNED = {
    "open": ("NONE", "PRESERVING", 0),
    "full_cone": ("EIM", "PRESERVING", 0),
    "port_restricted": ("EIM", "PRESERVING", 0),
    "cgnat": ("EIM", "PRESERVING", 0),
    SEQUENTIAL: ("APDM", "SEQUENTIAL", 1),
    RANDOM: ("APDM", "RANDOM", 0),
}
"""Mapping, ports and delta by kind of NAT."""


@pytest.mark.timeout(120)
async def test_a_node_learns_its_nat_from_the_nodes_of_the_dht(lab: Lab) -> None:
    """Each kind by the words of RFC 4787, within seconds of the join, without any server."""
    net = await lab.public_host("net", ipv6=False)
    flags = await start_testnet(net, 12)
    sites = {kind: await lab.site(f"s{number}", kind) for number, kind in enumerate(LEARNED)}

    async def learned(kind: str, site: Site) -> tuple[str, str, int]:
        home = str(site.host.directory / "home")
        node = await site.host.popen([sys.executable, SCRIPT, home, flags[1]])
        view: dict[str, Any] = {}
        for _ in range(120):
            view = next(iter(node.json_lines()[-1:]), {})
            found = (view.get("mapping", ""), view.get("ports", ""), view.get("delta", 0))
            if found == LEARNED[kind]:
                break
            await asyncio.sleep(0.25)
        await node.kill()
        return view["mapping"], view["ports"], view["delta"]

    found = await asyncio.gather(*(learned(kind, site) for kind, site in sites.items()))
    assert dict(zip(sites, found, strict=True)) == LEARNED


@pytest.mark.timeout(240)
async def test_nine_pairs_more_than_plain_ice_are_direct() -> None:
    """Ports predicted or probed, whoever calls; the routers know nothing of the other end before."""
    kinds = (*FIXED, SEQUENTIAL, RANDOM)
    grid = await run_matrix(Plan(kinds, parse_pairs(PAIRS, kinds), "meshcall", concurrency=2), print)
    print({pair: grid.median(pair) for pair in grid.attempts})
    assert {pair: grid.route(pair) for pair in grid.attempts} == dict.fromkeys(grid.attempts, "direct")
    assert len(grid.attempts) == len(PAIRS)
