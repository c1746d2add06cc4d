"""What `doctor` makes of facts, and what `netcheck` says in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from meshcall.cli.findings import CHECKS, Facts, Finding, examine
from meshcall.cli.netcheck import fields_of
from meshcall.netcheck_views import (
    FallbackCheck,
    FamilyCheck,
    LanCheck,
    NetcheckView,
)
from meshcall.views import PortMappingView, RelayView

HOME = "/home/ann/mc"


def family(udp: str = "yes", **more: Any) -> dict[str, Any]:
    """IPv4 or IPv6, as the API tells it."""
    view = FamilyCheck(udp="unknown", local=["192.168.1.7"], asked=6, answered=6, rtt_ms=12.5)
    return msgspec.to_builtins(view) | {"udp": udp} | more  # type: ignore[no-any-return]


def net(**changes: Any) -> dict[str, Any]:
    """A check of a good network, with changes."""
    view = NetcheckView(
        port=4242,
        ipv4=FamilyCheck(udp="unknown", local=[]),
        ipv6=FamilyCheck(udp="unknown", local=[]),
        dht_nodes=20,
        port_mapping=PortMappingView(state="mapped", protocol="pcp", external="203.0.113.5:4242"),
        lan=LanCheck(enabled=True, heard_itself=True, peers=2),
        relays=[
            RelayView(address="203.0.113.9:3478", of_contact=True, rtt_ms=31.0, transports=["udp", "tls"])
        ],
        fallback=FallbackCheck(state="unused"),
        clock_skew_s=0.1,
        took_ms=500.0,
    )
    good = {"ipv4": family(mapping="endpoint-independent"), "ipv6": family(mapping="none")}
    return msgspec.to_builtins(view) | good | changes  # type: ignore[no-any-return]


def facts(**changes: Any) -> Facts:
    """A machine on which all is well, with changes."""
    good = Facts(
        home=HOME,
        home_mode=0o700,
        key_mode=0o600,
        free_octets=10**10,
        python="3.11.2",
        media_fault="",
        version="1.0",
        status={
            "version": "1.0",
            "port": 4242,
            "warnings": [],
            "dht": {"enabled": True, "nodes": 20, "watches": 8},
        },
        netcheck=net(),
        files_ahead_s=-3.0,
        open_files=1024,
        cameras={"/dev/video0": True},
        microphones={"/dev/snd/pcmC0D0c": True},
        service="enabled",
    )
    return replace(good, **changes)


def finding(check: str, changed: Facts) -> Finding:
    """What one check says."""
    (found,) = examine(changed, [check])
    return found


def test_a_good_machine_has_nothing_to_mend() -> None:
    """Every check is OK, none has a fix, each name is there once and in order."""
    findings = examine(facts())
    assert [one.status for one in findings] == ["OK"] * len(CHECKS)
    assert [one.check for one in findings] == [check.name for check in CHECKS]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert not any(one.fix for one in findings)


BAD: list[tuple[str, str, dict[str, Any]]] = [
    ("home", "FAIL", {"home_mode": None}),
    ("home", "FAIL", {"home_mode": 0o755}),
    ("home", "FAIL", {"home_ours": False}),
    ("key", "FAIL", {"key_mode": None}),
    ("key", "FAIL", {"key_mode": 0o644}),
    ("disk", "FAIL", {"free_octets": 10**6}),
    ("disk", "WARN", {"free_octets": 10**8}),
    ("media", "FAIL", {"media_fault": "No module named 'av'"}),
    ("files", "FAIL", {"open_files": 64}),
    ("files", "WARN", {"open_files": 512}),
    ("camera", "WARN", {"cameras": {"/dev/video0": False}}),
    ("microphone", "WARN", {"microphones": {"/dev/snd/pcmC0D0c": False}}),
    ("service", "WARN", {"service": "disabled"}),
    ("daemon", "FAIL", {"status": None}),
    ("daemon", "WARN", {"version": "1.1"}),
    ("udp", "FAIL", {"netcheck": net(ipv4=family("no"), ipv6=family("no"))}),
    ("udp", "FAIL", {"netcheck": net(ipv4=family("none"), ipv6=family("none"))}),
    ("udp", "WARN", {"netcheck": net(ipv4=family("unknown"), ipv6=family("none"))}),
    (
        "udp",
        "WARN",
        {
            "netcheck": net(
                ipv4=family("no"),
                ipv6=family("none"),
                fallback={"state": "used", "via": "tls:203.0.113.9:443"},
            )
        },
    ),
    ("nat", "WARN", {"netcheck": net(ipv4=family(mapping="address-and-port-dependent"))}),
    ("carrier", "WARN", {"netcheck": net(ipv4=family(local=["100.72.3.4"]))}),
    (
        "port-mapping",
        "WARN",
        {"netcheck": net(port_mapping={"state": "silent", "reason": "no router answers"})},
    ),
    ("ipv6", "WARN", {"netcheck": net(ipv6=family("none"))}),
    ("ipv6", "WARN", {"netcheck": net(ipv6=family("no"))}),
    ("relays", "WARN", {"netcheck": net(relays=[])}),
    ("relays", "WARN", {"netcheck": net(relays=[{"rtt_ms": None}])}),
    ("clock", "FAIL", {"netcheck": net(clock_skew_s=-500.0)}),
    ("clock", "WARN", {"netcheck": net(clock_skew_s=40.0)}),
    ("clock", "WARN", {"netcheck": None, "files_ahead_s": 4000.0}),
]


@pytest.mark.parametrize(
    ("check", "status", "changes"), BAD, ids=[f"{c}-{s}-{n}" for n, (c, s, _) in enumerate(BAD)]
)
def test_what_is_wrong_is_told_with_its_fix(check: str, status: str, changes: dict[str, Any]) -> None:
    """Whatever is not right says what to do."""
    found = finding(check, facts(**changes))
    assert found.status == status
    assert found.found
    assert found.fix


def status_of(**dht: Any) -> dict[str, Any]:
    """A daemon whose DHT is as given."""
    return {"version": "1.0", "port": 4242, "warnings": [], "dht": {"enabled": True} | dht}


@pytest.mark.parametrize(
    ("nodes", "watches", "expected"), [(0, 0, "FAIL"), (20, 0, "WARN"), (2, 2, "WARN"), (4, 4, "OK")]
)
def test_the_dht_is_joined_or_not(nodes: int, watches: int, expected: str) -> None:
    """Nobody, nobody who watches for us, too few."""
    assert finding("dht", facts(status=status_of(nodes=nodes, watches=watches))).status == expected


def test_the_daemons_own_warnings_are_shown() -> None:
    """As they are."""
    warned = facts(status=status_of() | {"warnings": ["the disk is full", "no mDNS"]})
    assert finding("warnings", warned).found == "the disk is full; no mDNS"


@pytest.mark.parametrize(
    ("lan", "status", "word"),
    [
        ({"enabled": False}, "SKIP", "--no-mdns"),
        ({"fault": "no network"}, "WARN", "no network"),
        ({"heard_itself": False}, "WARN", "filtered on this machine"),
        ({"peers": 0}, "OK", "no other daemon"),
    ],
)
def test_multicast(lan: dict[str, Any], status: str, word: str) -> None:
    """A switch that filters can't be told from a LAN without daemons: then it is said what it may be."""
    found = finding("lan", facts(netcheck=net(lan=net()["lan"] | lan)))
    assert found.status == status
    assert word in found.found
    if lan == {"peers": 0}:
        assert "filter multicast" in found.fix


def test_without_a_daemon_what_needs_it_is_skipped() -> None:
    """With the reason; the machine itself is looked at all the same, and only the daemon fails."""
    findings = examine(
        facts(status=None, netcheck=None, daemon_fault="the socket is gone", daemon_hint="start it")
    )
    by_name = {one.check: one for one in findings}
    assert [one.check for one in findings if one.status == "FAIL"] == ["daemon"]
    assert (by_name["daemon"].found, by_name["daemon"].fix) == ("the socket is gone", "start it")
    for name in ("warnings", "port", "udp", "dht", "nat", "carrier", "port-mapping", "ipv6", "relays", "lan"):
        assert (by_name[name].status, by_name[name].found) == ("SKIP", "the daemon does not run")
    assert by_name["home"].status == "OK"
    assert by_name["clock"].status == "SKIP"


def test_a_check_that_failed_skips_what_it_would_have_told() -> None:
    """An older daemon has no netcheck."""
    found = finding("udp", facts(netcheck=None, netcheck_fault="there is no such address"))
    assert found == Finding("udp", "SKIP", "the network could not be measured: there is no such address")


def test_unknown_is_never_ok() -> None:
    """What could not be looked at is skipped."""
    blank = Facts(home=HOME, status=status_of(nodes=0), netcheck=net())
    for name in ("disk", "media", "files", "camera", "microphone", "service"):
        assert finding(name, blank).status == "SKIP"
    assert finding("nat", facts(netcheck=net(ipv4=family()))).status == "SKIP"
    near = net(ipv4=family("lan"), ipv6=family("none"), port_mapping={"state": "silent", "reason": "x"})
    assert finding("port-mapping", facts(netcheck=near)).status == "SKIP"
    assert (
        finding("relays", facts(netcheck=net(ipv4=family("lan"), ipv6=family("none"), relays=[]))).status
        == "SKIP"
    )


def test_netcheck_in_words() -> None:
    """Each word of the RFC with what it means, and nothing about a NAT that is not there."""
    symmetric = family(
        mapping="address-and-port-dependent",
        filtering="address-and-port-dependent",
        ports="sequential",
        hairpin="no",
        public="203.0.113.5:61000",
    )
    shown = dict(fields_of(net(ipv4=symmetric, ipv6=family("none"), clock_skew_s=-30.0)))
    assert shown["IPv4 UDP"] == "works: 6 of 6 nodes answered, the fastest in 12.5 ms"
    assert shown["IPv4 seen as"] == "203.0.113.5:61000"
    assert shown["IPv4 mapping"].startswith("address-and-port-dependent: another outside port for each peer")
    assert shown["IPv4 ports"] == "sequential: outside ports follow each other, so they can be predicted"
    assert shown["IPv4 hairpin"].startswith("no")
    assert shown["IPv6 UDP"] == "no address"
    assert shown["port mapping"] == "203.0.113.5:4242, by pcp"
    assert shown["relay"] == "203.0.113.9:3478, lent by a contact: 31.0 ms, by udp, tls"
    assert shown["clock"].startswith("30 s behind peers")
    assert not [name for name in shown if name.startswith("IPv6") and name != "IPv6 UDP"]
    open_net = dict(fields_of(net(ipv4=family(mapping="none", hairpin="needless"), clock_skew_s=None)))
    assert open_net["IPv4 mapping"].startswith("none: others see")
    assert "IPv4 filtering" not in open_net
    assert open_net["clock"].startswith("no peer has written")
