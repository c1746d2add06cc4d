"""Discovery between hosts that have a switch and nothing else: no route out, no DNS, no server."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from meshcall.discovery.lan import hint
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from netsim.lab import ROOT, Host, Lab, Lan
from netsim.process import LabProcess

NODE = Path(__file__).with_name("lan_node.py")
GOAL_S = 0.050
ROUNDS = 9


def peer(seed: int) -> PeerId:
    return PeerId.from_key(SigningKey.from_seed(bytes([seed]) * 32).public)


class Node:
    """A LanService on a host, and the pipe that it is told things by."""

    def __init__(self, process: LabProcess, pipe: int, instance: str) -> None:
        self.process = process
        self.instance = instance
        self._pipe = pipe

    def tell(self, line: str) -> None:
        os.write(self._pipe, line.encode() + b"\n")

    async def status(self) -> dict[str, Any]:
        before = sum(line["event"] == "status" for line in self.process.json_lines())
        self.tell("status")
        await self.process.wait_for_event(event="status")
        while sum(line["event"] == "status" for line in self.process.json_lines()) == before:
            await self.process.wait_for_line('"status"')
        return [line for line in self.process.json_lines() if line["event"] == "status"][-1]

    def events(self, event: str, **fields: object) -> list[dict[str, Any]]:
        return [
            line
            for line in self.process.json_lines()
            if line["event"] == event and all(line[key] == value for key, value in fields.items())
        ]

    def close(self) -> None:
        os.close(self._pipe)


async def stay(host: Host, seed: int, *flags: str) -> Node:
    reader, writer = os.pipe()
    process = await host.popen(
        [sys.executable, NODE, "stay", str(seed), *flags], env={"PYTHONPATH": str(ROOT)}, stdin=reader
    )
    os.close(reader)
    ready = await process.wait_for_event(event="ready")
    return Node(process, writer, str(ready["instance"]))


@pytest.fixture
async def lan(lab: Lab) -> Lan:
    lan = await lab.lan(["alice", "bob", "carol"])
    for host in lan:
        for family in ("-4", "-6"):
            assert (await host.run(["ip", family, "route", "show", "default"])).check().stdout == ""
    return lan


async def test_a_new_service_is_seen_within_50_ms_and_its_goodbye_too(lan: Lan) -> None:
    """From the call of start() on one host to the callback on another; and from close() to gone."""
    bob = await stay(lan["bob"], 2)
    announcer = await lan["alice"].python(
        NODE, "announce", "1", str(ROUNDS), "0.6", env={"PYTHONPATH": str(ROOT)}
    )
    (await announcer.wait(60)).check()
    delays, goodbyes = [], []
    for start in announcer.json_lines():
        if start["event"] == "start":
            seen = await bob.process.wait_for_event(event="seen", instance=start["instance"])
            delays.append(seen["at"] - start["at"])
        if start["event"] == "close":
            gone = await bob.process.wait_for_event(event="gone", instance=start["instance"])
            goodbyes.append(gone["at"] - start["at"])
    for what, delay in (("seen", delays), ("gone", goodbyes)):
        print(
            f"{what}: median {statistics.median(delay) * 1e3:.1f} ms, max {max(delay) * 1e3:.1f}, n={ROUNDS}"
        )
    assert len(delays) == len(goodbyes) == ROUNDS
    assert statistics.median(delays) <= GOAL_S
    assert statistics.median(goodbyes) <= 1.5
    bob.close()


async def test_both_families_and_the_scope_of_link_local_addresses(lan: Lan) -> None:
    """IPv4, IPv6 and link-local IPv6 with its scope, all with the announced port."""
    bob = await stay(lan["bob"], 2)
    alice = await stay(lan["alice"], 1)
    host = lan["alice"]
    deadline = time.monotonic() + 10
    found: set[str] = set()
    while time.monotonic() < deadline and not any(ip.startswith("fe80::") for ip in found):
        seen = await bob.process.wait_for_event(event="seen", instance=alice.instance)
        seen = ([seen, *bob.events("seen", instance=alice.instance)])[-1]
        found = set(seen["addresses"])
    assert {host.ipv4, host.ipv6} <= found
    assert [ip for ip in found if ip.startswith("fe80::") and ip.endswith("%eth0")]
    assert seen["ports"] == [4001]
    assert seen["hint"] in {hint(peer(1), day).hex() for day in (_today() - 1, _today())}
    alice.close()
    bob.close()


def _today() -> int:
    return int(time.time()) // 86400


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
async def test_one_family_alone_is_enough(lab: Lab, family: str) -> None:
    """A LAN without IPv4, or without IPv6."""
    lan = await lab.lan(["alice", "bob"], ipv4=family == "ipv4", ipv6=family == "ipv6")
    bob = await stay(lan["bob"], 2)
    alice = await stay(lan["alice"], 1)
    seen = await bob.process.wait_for_event(event="seen", instance=alice.instance)
    wanted = getattr(lan["alice"], family)
    assert wanted in seen["addresses"]
    alice.close()
    bob.close()


async def test_who_was_there_first_is_seen_by_who_comes_later(lan: Lan) -> None:
    """A browser asks when it starts; a node never reports itself."""
    alice = await stay(lan["alice"], 1)
    bob = await stay(lan["bob"], 2)
    await bob.process.wait_for_event(event="seen", instance=alice.instance)
    await alice.process.wait_for_event(event="seen", instance=bob.instance)
    assert not bob.events("seen", instance=bob.instance)
    alice.close()
    bob.close()


async def test_nothing_on_the_wire_names_anybody(lan: Lan) -> None:
    """No ID, no name and no host name of the machine in any packet, unless visible."""
    for flags, shown in (((), False), (("visible",), True)):
        sniffer = await lan["carol"].python("-c", SNIFF)
        await sniffer.wait_for_line("ready")
        alice = await stay(lan["alice"], 1, *flags)
        bob = await stay(lan["bob"], 2)
        await bob.process.wait_for_event(event="seen", instance=alice.instance)
        alice.close()
        bob.close()
        await alice.process.wait(10)
        await bob.process.wait(10)
        heard = bytes.fromhex((await sniffer.stop()).stdout.split()[-1])
        lower = heard.lower()
        assert b"_meshcall" in lower, "the sniffer hears the LAN"
        assert hint(peer(1), _today()).hex().encode() in lower
        # As a DNS label, with its length: a short name's letters alone turn up in any octets
        machine = os.uname().nodename.lower().encode().partition(b".")[0]
        label = bytes([len(machine)]) + machine + b"\x05local"
        assert (peer(1).text.encode() in lower) == shown
        assert (b"robot" in lower) == shown
        assert label not in lower
        assert len(machine) < 6 or machine not in lower
        assert peer(1).key not in heard


SNIFF = """
import socket, signal, struct, sys
heard = []
def stop(*_):
    print(b"".join(heard).hex(), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
raw.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex("eth0"), 1, 0, b""))
print("ready", flush=True)
while True:
    heard.append(raw.recv(65536))
"""


async def test_a_new_day_has_a_new_hint_for_the_same_service(lan: Lan) -> None:
    """Announced at once, without a goodbye."""
    bob = await stay(lan["bob"], 2)
    alice = await stay(lan["alice"], 1)
    first = await bob.process.wait_for_event(event="seen", instance=alice.instance)
    day = next(d for d in (_today() - 1, _today(), _today() + 1) if hint(peer(1), d).hex() == first["hint"])
    alice.tell("tomorrow")
    await bob.process.wait_for_event(event="seen", instance=alice.instance, hint=hint(peer(1), day + 1).hex())
    assert not bob.events("gone")
    alice.close()
    bob.close()


async def test_interfaces_that_come_and_go_are_taken_up(lan: Lan) -> None:
    """Started without a link; it comes, an address more, the cable is pulled and plugged in again."""

    async def ip(command: str) -> None:
        (await lan["alice"].run(["ip", *command.split()])).check()

    await ip("link set eth0 down")
    await ip("link set lo down")
    alice = await stay(lan["alice"], 1)
    status = await alice.status()
    assert (status["interfaces"], status["fault"]) == ([], "no network")
    bob = await stay(lan["bob"], 2)
    await ip("link set eth0 up")
    seen = await bob.process.wait_for_event(event="seen", instance=alice.instance)
    await alice.process.wait_for_event(event="seen", instance=bob.instance)
    assert lan["alice"].ipv4 in seen["addresses"]
    await ip("addr add 192.168.1.78/24 dev eth0")
    while not any("192.168.1.78" in json.dumps(line) for line in bob.events("seen")):
        await bob.status()
    assert not bob.events("gone"), "a change of networks is no goodbye"
    assert not alice.events("gone")
    await ip("link set eth0 down")
    await alice.process.wait_for_event(event="gone", instance=bob.instance)
    await ip("link set eth0 up")
    while len(alice.events("seen", instance=bob.instance)) < 2:
        await alice.status()
    alice.close()
    bob.close()


async def test_every_interface_is_used_or_the_named_ones_only(lab: Lab) -> None:
    """A host on two LANs is seen on both; told to use one, on that one only."""
    one = await lab.lan(["alice", "bob"])
    two = await lab.lan(["dora"])
    for command in (
        "link add ve-a type veth peer name ve-d netns dora",
        "link set ve-a up",
        "addr add 10.9.0.1/24 dev ve-a",
    ):
        (await one["alice"].run(["ip", *command.split()])).check()
    for command in ("link set ve-d up", "addr add 10.9.0.2/24 dev ve-d"):
        (await two["dora"].run(["ip", *command.split()])).check()
    bob, dora = await stay(one["bob"], 2), await stay(two["dora"], 4)
    alice = await stay(one["alice"], 1)
    await bob.process.wait_for_event(event="seen", instance=alice.instance)
    await dora.process.wait_for_event(event="seen", instance=alice.instance)
    alice.close()
    await alice.process.wait(10)
    named = await stay(one["alice"], 1, "only=ve-a")
    assert (await named.status())["interfaces"] == ["ve-a"]
    seen = await dora.process.wait_for_event(event="seen", instance=named.instance)
    assert one["alice"].ipv4 not in seen["addresses"]
    assert not bob.events("seen", instance=named.instance)
    for node in (named, bob, dora):
        node.close()


async def test_a_flood_of_services_costs_little_and_drives_no_friend_out(lan: Lan) -> None:
    """10,000 announcements, half of them malformed: capped, counted, and friends are seen all the same."""
    bob = await stay(lan["bob"], 2)
    early = await stay(lan["alice"], 1)
    await bob.process.wait_for_event(event="seen", instance=early.instance)
    before = await bob.status()
    flood = await lan["carol"].python(
        NODE, "flood", "10000", lan["carol"].ipv4, env={"PYTHONPATH": str(ROOT)}
    )
    (await flood.wait(60)).check()
    late = await stay(lan["alice"], 1)
    await bob.process.wait_for_event(event="seen", instance=late.instance)
    after = await bob.status()
    counters = after["counters"]
    grown = after["rss_kb"] - before["rss_kb"]
    print(f"grown by {grown} KB; {counters}")
    assert after["services"] == 256
    assert counters["txt: version"] > 100
    assert counters["full: services"] > 100
    assert grown < 10_000
    assert not bob.events("gone", instance=early.instance)
    for node in (early, late, bob):
        node.close()
