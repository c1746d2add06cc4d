"""`meshcall ping` between homes behind NATs: punched, relayed, and from the relay to direct."""

from __future__ import annotations

import asyncio

import pytest

from netsim import faults
from netsim.lab import Lab
from netsim.peer import Peer, start_testnet


@pytest.mark.timeout(120)
async def test_ping_across_two_nats_and_from_a_relay_to_direct(lab: Lab) -> None:
    """Two NATs that filter by port: direct, and nobody's phone rings. While the direct way is cut the relay's
    replies are told as such; `--until-direct` goes on, and ends at the first one that comes without it.
    """
    net = await lab.public_host("net", ipv6=False)
    server = await lab.server()
    sites = [await lab.site(name, "port_restricted") for name in ("home", "office")]
    alice, bob = (Peer(site.host) for site in sites)
    join = (
        "--no-mdns",
        *await start_testnet(net, 20),
        "--ice-server",
        f"{server.turn()},{server.user},{server.password}",
    )
    await asyncio.gather(alice.start(*join), bob.start(*join))
    for one, other in ((alice, bob), (bob, alice)):
        (await one.cli("contact", "add", other.id, "friend")).check()
        await one.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)

    done = (await alice.cli("ping", "friend", "--count", "3", "--interval", "200ms", "--json")).check()
    events = done.json_lines()
    print(events[-1])
    assert [event["seq"] for event in events if event["event"] == "reply"] == [1, 2, 3]
    assert events[-1]["path"] == "direct"
    assert not (await bob.get("calls"))["calls"]
    assert not (await bob.get("history"))["calls"]

    await faults.partition([sites[0]], [sites[1]])
    relayed = await alice.cli("ping", "friend", "--count", "2", "--interval", "200ms", "--until-direct")
    assert relayed.returncode == 6, relayed
    assert "no direct path" in relayed.stderr
    assert [line.split("\t")[2] for line in relayed.stdout.splitlines()] == ["relay", "relay"]

    ping = await alice.start_cli("ping", "friend", "--interval", "200ms", "--until-direct", "--json")
    first = await ping.wait_for_event(event="reply", timeout=20)
    assert first["path"] == "relay"
    await faults.unite(sites[0])
    last = (await ping.wait(30)).check().json_lines()
    print(last[-2], last[-1])
    assert (last[-1]["reason"], last[-2]["path"], last[-2]["before"]) == ("direct", "direct", "relay")
    assert last[-1]["direct_ms"] > last[-1]["first_reply_ms"]

    seen = (await alice.cli("netcheck", "--json")).check().json()
    print(seen["ipv4"])
    assert (seen["ipv4"]["udp"], seen["ipv6"]["udp"]) == ("yes", "none")
    assert seen["ipv4"]["public"].startswith(sites[0].public_ipv4)
