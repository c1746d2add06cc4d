"""What `doctor` makes of what it has seen: facts in, findings out. Pure.

Law 1: each check says one thing: what was found, and in a plain sentence what to do about it.
Law 2: a check whose facts are not there is SKIP with the reason, never OK.
Law 3: FAIL is what keeps calls from working, WARN what makes them worse or may do so later.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from meshcall.cli.output import gateway_text

Status = Literal["OK", "WARN", "FAIL", "SKIP"]

DISK_LEAST: Final = 16 << 20
DISK_LOW: Final = 200 << 20
"""Octets free: below the first the state can't be kept, below the second a recording will not end well."""

FILES_LEAST: Final = 256
FILES_LOW: Final = 1024
"""Open files allowed: a call needs about 20, a relay one for each address that it lends."""

CLOCK_MOST: Final = 120.0
CLOCK_FAR: Final = 10.0
"""Seconds that two clocks may differ (messages are refused beyond), and what is no matter of travel."""

NODES_FEW: Final = 4

_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says."""

    check: str
    status: Status
    found: str
    fix: str = ""
    """What to do; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. None: it could not be looked at, or is not there."""

    home: str
    home_mode: int | None = None
    """Permission bits."""
    home_ours: bool = True
    key_mode: int | None = None
    free_octets: int | None = None
    python: str = ""
    media_fault: str | None = None
    """Why aiortc and av can't be loaded; empty: they can."""
    version: str = ""
    """Of this command."""
    status: dict[str, Any] | None = None
    """What the daemon says of itself."""
    daemon_fault: str = ""
    """Why there is no status."""
    daemon_hint: str = ""
    netcheck: dict[str, Any] | None = None
    netcheck_fault: str = ""
    files_ahead_s: float | None = None
    """How far in the future the newest file of the home was written, by our clock."""
    open_files: int | None = None
    """How many this user's programs may have open."""
    cameras: dict[str, bool] | None = None
    """Devices, and whether we may read them."""
    microphones: dict[str, bool] | None = None
    service: str | None = None
    """What systemd says of the user unit: enabled, disabled, not-found, …"""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    name: str
    look: Callable[[Facts], Finding]
    needs: Literal["", "status", "netcheck"] = ""
    """What the daemon must have told."""


def examine(facts: Facts, names: Iterable[str] = ()) -> list[Finding]:
    """The findings of the checks called ``names`` (empty: of all), in the order of the table."""
    wanted = set(names)
    return [_examine(check, facts) for check in CHECKS if not wanted or check.name in wanted]


def _examine(check: Check, facts: Facts) -> Finding:
    if check.needs and facts.status is None:
        return Finding(check.name, "SKIP", "the daemon does not run")
    if check.needs == "netcheck" and facts.netcheck is None:
        return Finding(check.name, "SKIP", f"the network could not be measured: {facts.netcheck_fault}")
    return check.look(facts)


# --- this machine ---------------------------------------------------------------------------------


def _home(facts: Facts) -> Finding:
    if facts.home_mode is None:
        return Finding(
            "home", "FAIL", f"there is no {facts.home}", "make it and your identity: `meshcall init`"
        )
    if not facts.home_ours:
        return Finding("home", "FAIL", f"{facts.home} belongs to another user", "use your own: `--home DIR`")
    if facts.home_mode & 0o077:
        return Finding("home", "FAIL", f"other users can read {facts.home}", f"chmod 700 {facts.home}")
    return Finding("home", "OK", facts.home)


def _key(facts: Facts) -> Finding:
    if facts.key_mode is None:
        return Finding("key", "FAIL", "there is no identity here", "make one: `meshcall init`")
    if facts.key_mode & 0o077:
        fix = f"chmod 600 {facts.home}/identity.key, and think about who may have copied it"
        return Finding("key", "FAIL", "other users can read the identity's key", fix)
    return Finding("key", "OK", "only you can read it")


def _disk(facts: Facts) -> Finding:
    if facts.free_octets is None:
        return Finding("disk", "SKIP", "the free space can't be told")
    text = f"{facts.free_octets / 1e9:.1f} GB free"
    if facts.free_octets < DISK_LOW:
        text = f"{facts.free_octets / 1e6:.0f} MB free"
    if facts.free_octets < DISK_LEAST:
        return Finding("disk", "FAIL", text, "free some space: without it no call can be taken")
    if facts.free_octets < DISK_LOW:
        return Finding("disk", "WARN", text, "free some space before you record")
    return Finding("disk", "OK", text)


def _media(facts: Facts) -> Finding:
    if facts.media_fault is None:
        return Finding("media", "SKIP", "it was not tried")
    if facts.media_fault:
        fix = "install meshcall again: `pip install --force-reinstall meshcall`"
        return Finding("media", "FAIL", f"aiortc and av can't be loaded: {facts.media_fault}", fix)
    return Finding("media", "OK", f"aiortc and av load in Python {facts.python}")


def _files(facts: Facts) -> Finding:
    if facts.open_files is None:
        return Finding("files", "SKIP", "this system does not tell the limit of open files")
    text = f"{facts.open_files} open files allowed"
    fix = "raise it: `ulimit -n 4096` before the daemon, or LimitNOFILE=4096 in its unit"
    if facts.open_files < FILES_LOW:
        return Finding("files", "FAIL" if facts.open_files < FILES_LEAST else "WARN", text, fix)
    return Finding("files", "OK", text)


def _devices(name: str, devices: dict[str, bool] | None, group: str, without: str) -> Finding:
    if devices is None:
        return Finding(name, "SKIP", "devices are not looked for on this system")
    if not devices:
        return Finding(name, "SKIP", f"none is attached: {without}")
    usable = [path for path, may in devices.items() if may]
    if not usable:
        found = f"{', '.join(devices)} can't be opened by you"
        return Finding(name, "WARN", found, f"`sudo usermod -aG {group} $USER`, then log in again")
    return Finding(name, "OK", ", ".join(usable))


def _camera(facts: Facts) -> Finding:
    return _devices("camera", facts.cameras, "video", "calls send a file or the test picture")


def _microphone(facts: Facts) -> Finding:
    return _devices("microphone", facts.microphones, "audio", "calls send a file or the test tone")


def _service(facts: Facts) -> Finding:
    match facts.service:
        case None:
            return Finding("service", "SKIP", "there is no systemd for this user")
        case "enabled" | "enabled-runtime" | "static" | "linked":
            return Finding("service", "OK", f"the unit meshcall.service is {facts.service}")
        case "not-found" | "":
            return Finding("service", "SKIP", "no unit meshcall.service: the daemon is started by hand")
        case state:
            fix = "`systemctl --user enable --now meshcall`"
            return Finding("service", "WARN", f"the unit meshcall.service is {state}", fix)


# --- the daemon -----------------------------------------------------------------------------------


def _daemon(facts: Facts) -> Finding:
    if facts.status is None:
        fix = facts.daemon_hint or "start it: `meshcall daemon`"
        return Finding("daemon", "FAIL", facts.daemon_fault or "it does not run", fix)
    running = str(facts.status["version"])
    if running != facts.version:
        found = f"it runs {running}, this command is {facts.version}"
        return Finding("daemon", "WARN", found, "start it again, so that both are of one release")
    return Finding("daemon", "OK", f"runs, version {running}")


def _warnings(facts: Facts) -> Finding:
    warnings = [str(one) for one in (facts.status or {}).get("warnings", [])]
    if warnings:
        return Finding("warnings", "WARN", "; ".join(warnings), "the daemon's log has more")
    return Finding("warnings", "OK", "the daemon complains of nothing")


def _port(facts: Facts) -> Finding:
    port = (facts.status or {}).get("port")
    if not port:
        return Finding("port", "FAIL", "no UDP port is open", "look at the daemon's log")
    return Finding("port", "OK", f"UDP port {port} is open")


# --- the network ----------------------------------------------------------------------------------


def _udp(facts: Facts) -> Finding:
    found = _net(facts)
    words = {family: found[family]["udp"] for family in ("ipv4", "ipv6")}
    names = {"ipv4": "IPv4", "ipv6": "IPv6"}
    works = [names[family] for family, word in words.items() if word == "yes"]
    if works:
        return Finding("udp", "OK", f"nodes answer over {' and '.join(works)}")
    if "lan" in words.values():
        return Finding("udp", "OK", "nodes on this LAN answer; none beyond it is known")
    if "no" in words.values():
        asked = sum(found[family]["asked"] for family in words)
        text = f"blocked: none of {asked} nodes answers by UDP"
        if found["fallback"]["state"] == "used":
            fix = "calls work by TCP and TLS; with UDP they would be better: let it out in the firewall"
            return Finding("udp", "WARN", f"{text}; all goes {gateway_text(found['fallback']['via'])}", fix)
        fix = "let UDP out in the firewall, or try another network; is this machine online at all?"
        return Finding("udp", "FAIL", text, fix)
    if all(word == "none" for word in words.values()):
        return Finding("udp", "FAIL", "this machine has no network address", "connect it to a network")
    fix = "name one: `meshcall daemon --bootstrap HOST:PORT`, or accept an invite"
    return Finding("udp", "WARN", "no node is known that could be asked", fix)


def _dht(facts: Facts) -> Finding:
    dht = (facts.status or {}).get("dht", {})
    if not dht.get("enabled"):
        return Finding("dht", "SKIP", "switched off")
    nodes, watches = dht.get("nodes", 0), dht.get("watches", 0)
    fix = "name a node: `meshcall daemon --bootstrap HOST:PORT`, or accept an invite"
    if not nodes:
        return Finding("dht", "FAIL", "joined to nobody: only peers on this LAN can call", fix)
    text = f"{nodes} {'node' if nodes == 1 else 'nodes'} known"
    if not watches:
        fix = "wait half a minute; if it stays so, look at `meshcall dht status`"
        return Finding("dht", "WARN", f"{text}, but none holds our watches: nobody can ring here", fix)
    if nodes < NODES_FEW:
        return Finding("dht", "WARN", f"{text}: when they are gone we are alone", fix)
    return Finding("dht", "OK", f"{text}, {watches} watches held for us")


def _nat(facts: Facts) -> Finding:
    mapping = _net(facts)["ipv4"]["mapping"]
    match mapping:
        case "none":
            return Finding("nat", "OK", "none: others see this machine's own IPv4 address")
        case "endpoint-independent":
            return Finding("nat", "OK", "endpoint-independent mapping: direct paths are easy")
        case "address-dependent" | "address-and-port-dependent":
            found = f"{mapping} mapping (symmetric): with another such NAT calls may need a relay"
            fix = "switch on UPnP or PCP in the router, or use IPv6; calls work by relays meanwhile"
            return Finding("nat", "WARN", found, fix)
        case _:
            return Finding("nat", "SKIP", "too few nodes have told how they see us")


def _carrier(facts: Facts) -> Finding:
    found = _net(facts)
    fix = "ask the provider for a public IPv4 address or IPv6, or put the inner router into bridge mode"
    if found["port_mapping"]["state"] == "double-nat":
        return Finding(
            "carrier", "WARN", "the router itself is behind a NAT (a provider's, or a second one)", fix
        )
    if any(_is_shared(host) for host in found["ipv4"]["local"]):
        return Finding(
            "carrier", "WARN", "this machine has an address of a provider's NAT (100.64.0.0/10)", fix
        )
    if found["port_mapping"]["state"] in ("mapped", "needless"):
        return Finding("carrier", "OK", "one NAT at most")
    return Finding("carrier", "SKIP", "no router tells whether it is behind another NAT")


def _is_shared(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.version == 4 and address in _SHARED


def _mapping(facts: Facts) -> Finding:
    found = _net(facts)
    mapping = found["port_mapping"]
    match mapping["state"]:
        case "mapped":
            return Finding("port-mapping", "OK", f"{mapping['external']} by {mapping['protocol']}")
        case "needless":
            return Finding("port-mapping", "OK", "not needed: this machine has a public address")
        case "asking":
            return Finding("port-mapping", "SKIP", "a router is being asked")
        case "off":
            return Finding("port-mapping", "SKIP", "switched off")
        case _ if not _is_outside(found):
            return Finding("port-mapping", "SKIP", "not needed within a LAN, and nobody beyond it is known")
        case state:
            fix = (
                "switch on UPnP, NAT-PMP or PCP in the router, or forward UDP port "
                f"{found['port']} there; calls work without, but fewer of them are direct"
            )
            return Finding("port-mapping", "WARN", mapping["reason"] or state, fix)


def _ipv6(facts: Facts) -> Finding:
    family = _net(facts)["ipv6"]
    match family["udp"]:
        case "yes":
            return Finding("ipv6", "OK", "works")
        case "lan":
            return Finding("ipv6", "OK", "works on this LAN")
        case "none":
            fix = "switch it on in the router if the provider has it: paths are direct more often"
            return Finding("ipv6", "WARN", "this machine has no IPv6 address", fix)
        case "no":
            found = f"there is an address, but none of {family['asked']} nodes answers over IPv6"
            return Finding("ipv6", "WARN", found, "look at the IPv6 settings of router and firewall")
        case _:
            return Finding("ipv6", "SKIP", "no node with IPv6 is known that could be asked")


def _relays(facts: Facts) -> Finding:
    found = _net(facts)
    relays = found["relays"]
    usable = [relay for relay in relays if relay["rtt_ms"] is not None]
    if usable:
        fastest = min(relay["rtt_ms"] for relay in usable)
        return Finding("relays", "OK", f"{len(usable)} answer, the nearest in {fastest:.0f} ms")
    if not _is_outside(found):
        return Finding("relays", "SKIP", "not needed within a LAN, and nobody beyond it is known")
    fix = "a contact with a public address can lend one: `meshcall daemon --relay` there"
    if relays:
        return Finding("relays", "WARN", f"none of {len(relays)} answers", fix)
    return Finding("relays", "WARN", "none is known: a call without a direct path fails", fix)


_WITHOUT_MULTICAST: Final = "meanwhile `meshcall room join NAME --at HOST`, or a room's link, finds a meeting"


def _lan(facts: Facts) -> Finding:
    lan = _net(facts)["lan"]
    if not lan["enabled"]:
        return Finding("lan", "SKIP", "switched off: `--no-mdns`")
    if lan["fault"]:
        fix = f"let UDP port 5353 through the firewall; {_WITHOUT_MULTICAST}"
        return Finding("lan", "WARN", f"mDNS does not work: {lan['fault']}", fix)
    if not lan["heard_itself"]:
        found = "our own mDNS announcement does not come back: multicast is filtered on this machine"
        fix = f"let UDP port 5353 (to 224.0.0.251 and ff02::fb) through the firewall; {_WITHOUT_MULTICAST}"
        return Finding("lan", "WARN", found, fix)
    if not lan["peers"]:
        found = "mDNS works on this machine; no other daemon is seen"
        fix = (
            "if one should be: the switch or access point may filter multicast; switch off client "
            f"isolation and IGMP snooping there; {_WITHOUT_MULTICAST}"
        )
        return Finding("lan", "OK", found, fix)
    peers = f"{lan['peers']} other {'daemon' if lan['peers'] == 1 else 'daemons'}"
    return Finding("lan", "OK", f"mDNS works: {peers} seen")


def _clock(facts: Facts) -> Finding:
    skew = None if facts.netcheck is None else facts.netcheck["clock_skew_s"]
    fix = "switch on time synchronisation: `sudo timedatectl set-ntp true`"
    if skew is not None:
        ahead = "ahead of" if skew > 0 else "behind"
        text = f"{abs(skew):.0f} s {ahead} the clocks of peers"
        if abs(skew) > CLOCK_MOST:
            return Finding("clock", "FAIL", f"{text}: messages are refused", fix)
        if abs(skew) > CLOCK_FAR:
            return Finding("clock", "WARN", text, fix)
        return Finding("clock", "OK", "agrees with peers")
    if facts.files_ahead_s is not None and facts.files_ahead_s > CLOCK_FAR:
        found = f"files of the home were written {facts.files_ahead_s:.0f} s in the future: it was set back"
        return Finding("clock", "WARN", found, fix)
    return Finding("clock", "SKIP", "no peer has written lately that it could be compared with")


def _is_outside(found: dict[str, Any]) -> bool:
    """Whether anybody beyond the LAN is known, answering or not."""
    return bool({found[family]["udp"] for family in ("ipv4", "ipv6")} & {"yes", "no"})


def _net(facts: Facts) -> dict[str, Any]:
    assert facts.netcheck is not None, "the table says that it is needed"
    return facts.netcheck


CHECKS: Final = (
    Check("home", _home),
    Check("key", _key),
    Check("disk", _disk),
    Check("media", _media),
    Check("files", _files),
    Check("camera", _camera),
    Check("microphone", _microphone),
    Check("service", _service),
    Check("daemon", _daemon),
    Check("warnings", _warnings, "status"),
    Check("port", _port, "status"),
    Check("udp", _udp, "netcheck"),
    Check("dht", _dht, "status"),
    Check("nat", _nat, "netcheck"),
    Check("carrier", _carrier, "netcheck"),
    Check("port-mapping", _mapping, "netcheck"),
    Check("ipv6", _ipv6, "netcheck"),
    Check("relays", _relays, "netcheck"),
    Check("lan", _lan, "netcheck"),
    Check("clock", _clock),
)
"""All checks, in the order in which they are shown: what others depend on comes first."""
