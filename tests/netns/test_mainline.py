"""The last rung of the bootstrap ladder, against a BitTorrent DHT of real libtorrent nodes."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

from netsim.lab import Host, Lab
from netsim.peer import Peer
from netsim.process import LabProcess

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtorrent") is None,
    reason="needs libtorrent: pip install 'meshcall[mainline]'",
)

HERE = Path(__file__).parent
BT_NODES = 10
BT_PORT = 6881
ROUTERS = 5
ROUTER_PORT = 4000
FOUND_WITHIN = 60.0
"""Seconds, from the start of a node that knows nobody."""


async def give_address(host: Host, *addresses: str) -> None:
    """These and no others: each in a network of its own, and all of them neighbours."""
    await host.run(["ip", "addr", "flush", "dev", "eth0"])
    for address in addresses:
        (await host.run(["ip", "addr", "add", f"{address}/8", "dev", "eth0"])).check()
    (await host.run(["ip", "route", "add", "default", "dev", "eth0"])).check()


async def start_bittorrent(host: Host) -> list[LabProcess]:
    """Ten nodes, each a process with an address in another /16."""
    addresses = [f"5.{100 + number}.1.1" for number in range(BT_NODES)]
    await give_address(host, *addresses)
    processes = []
    for number, address in enumerate(addresses):
        known = [f"{other}:{BT_PORT}" for other in addresses[max(0, number - 3) : number] or addresses[1:2]]
        program = HERE / "mainline_nodes.py"
        processes.append(await host.python(program, "run", address, str(BT_PORT), *known))
    for process in processes:
        await process.wait_for_line("ready", timeout=60)
    return processes


async def wait_for(process: LabProcess, what: str, test: Any, timeout: float) -> dict[str, Any]:
    """The first line of status that ``test`` accepts; an AssertionError says what the last one was."""
    end = time.monotonic() + timeout
    while True:
        lines = process.json_lines()
        for line in lines:
            if test(line):
                return line
        assert process.running, process.tail()
        assert time.monotonic() < end, f"not {what} after {timeout} s: {lines[-1:]}"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
@pytest.mark.slow
async def test_a_node_that_knows_nobody_finds_the_routers_through_mainline(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No saved table, no LAN, no hosts: joined within a minute, whatever liars announce; closed cleanly.

    Routers announce, others do not. Among the announced are ports where nobody is.
    """
    monkeypatch.delenv("MESHCALL_NO_MAINLINE")  # the lab has a Mainline of its own
    names = [f"r{number}" for number in range(ROUTERS)]
    lan = await lab.lan(["bt", "liar", *names, "fresh"], ipv6=False)
    await start_bittorrent(lan["bt"])
    boot = f"5.100.1.1:{BT_PORT}"
    await give_address(lan["liar"], "5.90.1.1")
    await give_address(lan["fresh"], "5.80.1.1")
    routers = []
    for number, name in enumerate(names):
        await give_address(lan[name], f"5.{number + 1}.1.1")
        join = [f"host=5.1.1.1:{ROUTER_PORT}"] if number else []
        where = (f"5.{number + 1}.1.1", str(ROUTER_PORT))
        routers.append(await lan[name].python(HERE / "router_node.py", *where, f"mainline={boot}", *join))
    began = time.monotonic()
    for router in routers:
        await wait_for(router, "announced", lambda line: line["announced"] and line["mainline_nodes"], 60)
    print(f"routers announced after {time.monotonic() - began:.1f} s")
    liar = await lan["liar"].python(HERE / "mainline_nodes.py", "announce", "5.90.1.1", boot, "9000", "20")
    await liar.wait_for_line("announced", timeout=60)

    peer = Peer(lan["fresh"])
    began = time.monotonic()
    await peer.start("--no-mdns", "--mainline-bootstrap", boot, "--source", "none")
    status = await peer.wait_for_status(
        "contacts", lambda status: status["dht"]["nodes"] >= 4, timeout=FOUND_WITHIN
    )
    joined = time.monotonic() - began
    status = await peer.wait_for_status(
        "an answer", lambda status: any(rung["answered"] for rung in status["dht"]["bootstrap"])
    )
    print(f"joined after {joined:.1f} s: {status['dht']}")
    (rung,) = status["dht"]["bootstrap"]
    assert rung["rung"] == "mainline"
    assert 1 <= rung["answered"] <= ROUTERS
    assert rung["asked"] <= 50
    assert not status["dht"]["announced"], "who is no router is not announced"
    await peer.wait_for_status("a watch", lambda status: status["dht"]["watches"] > 0)
    await asyncio.sleep(2)
    workers = await lan["fresh"].run(["pgrep", "-f", "mainline_worker 5.100"])
    assert len(workers.stdout.split()) == ROUTERS, "the worker ends when it has nothing more to do"
    assert peer.daemon is not None
    assert (await peer.daemon.stop()).returncode == 0
    assert "Traceback" not in peer.daemon.stderr()
    for router in routers:
        assert router.running, router.tail()
        await router.kill()
    await asyncio.sleep(1.5)
    assert (await lan["fresh"].run(["pgrep", "-f", "mainline_worker 5.100"])).stdout == ""
