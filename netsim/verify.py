"""Proof that the lab's NATs are what they are called: by tools that know nothing of the lab.

coturn's ``turnutils_natdiscovery`` (RFC 5780) and Debian's ``stun`` (RFC 3489) look at each kind from a host
behind it; two hosts behind it try each other's external address. What they say is compared with the words of
the value.

Hairpinning is left to two hosts: both tools send to themselves, which conntrack takes for one flow, so they
see no hairpinning where hosts have it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass

from netsim.host import Host
from netsim.lab import Lab
from netsim.nat import NAT, PRESETS, Filtering, Mapping, Outbound, Ports
from netsim.puncher import Puncher, punch
from netsim.servers import TurnServer
from netsim.site import Site
from netsim.tools import require_tools

KINDS: dict[str, NAT] = {
    **PRESETS,
    "full_cone + hairpin": PRESETS["full_cone"].but(hairpin=True),
    "address_restricted + hairpin": PRESETS["address_restricted"].but(hairpin=True),
    "port_restricted + hairpin": PRESETS["port_restricted"].but(hairpin=True),
    "cgnat, carrier symmetric": NAT(carrier=PRESETS["symmetric_random"]),
    "EIM with random ports": NAT(ports=Ports.RANDOM),
    "EIM in a block of ports": NAT(ports=Ports.RANGE),
    "ADM, ADF": NAT(mapping=Mapping.ADM, filtering=Filtering.ADF, ports=Ports.RANDOM),
    "ADM, EIF": NAT(mapping=Mapping.ADM, filtering=Filtering.EIF, ports=Ports.SEQUENTIAL),
    "APDM, EIF": NAT(mapping=Mapping.APDM, filtering=Filtering.EIF, ports=Ports.SEQUENTIAL),
}
"""What ``python -m netsim verify`` proves: every preset and one of each other word."""

PATIENCE_S = 3.0
"""How long two hosts try each other's external addresses; most of that only where there is no way."""

_WORDS = {
    "EIM": "Endpoint Independent Mapping",
    "ADM": "Address Dependent Mapping",
    "APDM": "Address and Port Dependent Mapping",
    "EIF": "Endpoint Independent Filtering",
    "ADF": "Address Dependent Filtering",
    "APDF": "Address and Port Dependent Filtering",
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What was said about a kind, or what should have been."""

    natdiscovery: str
    """``EIM APDF``, ``no NAT EIF``, ``blocked``."""
    stun: str
    """The words of stun-client; ``-`` where it can't look (it knows no IPv6)."""
    hairpin: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """A kind, what it should look like and what it looked like."""

    name: str
    nat: NAT
    expected: Findings
    found: Findings

    @property
    def holds(self) -> bool:
        """Whether all tools confirm the kind."""
        return self.expected == self.found


def expectation(nat: NAT) -> Findings:
    """What the tools say about this kind if it is built as it is described."""
    if nat.outbound is not Outbound.ALL:
        return Findings("blocked", "Blocked or could not reach STUN server", False)
    inner = nat if nat.translates else None
    chain = [item for item in (inner, nat.carrier) if item is not None]
    if not chain:
        open_ = nat.filtering is Filtering.EIF
        stun = ("Open" if open_ else "Firewall") if nat.ipv4 else "-"
        return Findings(f"no NAT {nat.filtering.name}", stun, False)
    # The stricter of two NATs decides.
    mapping = max((item.mapping for item in chain), key=list(Mapping).index)
    filtering = max((item.filtering for item in chain), key=list(Filtering).index)
    preserves = all(item.ports is Ports.PRESERVE for item in chain)
    if mapping is Mapping.EIM:
        letter = {Filtering.EIF: "Independent", Filtering.ADF: "Address Dependent"}
        stun = f"Independent Mapping, {letter.get(filtering, 'Port Dependent')} Filter, "
        stun += "preserves ports" if preserves else "random port"
    else:
        stun = "Dependent Mapping, random port"
    # Two hosts of one home meet at the home's router only if it is the one that holds the external address.
    hairpin = nat.hairpin and nat.carrier is None
    return Findings(f"{mapping.name} {filtering.name}", stun, hairpin)


def parse_natdiscovery(text: str) -> str:
    """The verdicts of ``turnutils_natdiscovery -m -f``."""
    mapping = filtering = ""
    for name, phrase in _WORDS.items():
        if f"NAT with {phrase}!" in text:
            if phrase.endswith("Mapping"):
                mapping = name
            else:
                filtering = name
    if "No NAT!" in text:
        mapping = "no NAT"
    return f"{mapping} {filtering}".strip() or "blocked"


def parse_stun(text: str) -> str:
    """The verdict of stun-client without its opinion on hairpinning."""
    found = re.search(r"^Primary: (.*?)\s*$", text, re.M)
    return re.sub(r", (no|will) hairpin$", "", found[1]) if found else text.strip()


async def ask_natdiscovery(host: Host, server: TurnServer) -> str:
    """Look at the host's NAT with coturn's tool."""
    target = server.addresses[0] if host.ipv4 else server.addresses6[0]
    argv = ["turnutils_natdiscovery", "-m", "-f", "-L", host.ipv4 or host.ipv6, target]
    return await _not_by_chance(host, argv, parse_natdiscovery, "EIM")


async def ask_stun(host: Host, server: TurnServer) -> str:
    """Look at the host's NAT with Debian's stun-client."""
    if not host.ipv4:
        return "-"
    return await _not_by_chance(host, ["stun", server.addresses[0]], parse_stun, "Independent Mapping")


async def _not_by_chance(host: Host, argv: list[str], parse: Callable[[str], str], independent: str) -> str:
    """A mapping is independent of the destination if it looks so twice.

    A NAT that draws a port for each flow draws the same one twice now and then: once in 1024 from the lab's
    smallest block.
    """
    first = parse((await host.run(argv)).stdout)
    if not first.startswith(independent):
        return first
    second = parse((await host.run(argv)).stdout)
    return first if second.startswith(independent) else second


async def mapping_lives(host: Host, server: TurnServer, seconds: int) -> bool:
    """Whether an unused mapping is there after so many seconds.

    coturn's tool: a second socket asks the server to answer to the first one's port.
    """
    argv = ["turnutils_natdiscovery", "-t", "-T", str(seconds), "-L", host.ipv4, server.addresses[0]]
    done = await host.run(argv, timeout=seconds + 30)
    return "timeout" not in done.stdout


async def hairpins(site: Site, server: TurnServer) -> bool:
    """Whether two hosts of a site reach each other by their external addresses, seen as such (REQ-9)."""
    one, other, *_ = site
    target = server.addresses[0] if one.ipv4 else server.addresses6[0]
    async with Puncher(one, target) as first, Puncher(other, target) as second:
        if first.mapped is None or second.mapped is None or first.mapped == first.local:
            return False  # blocked, or no translation: nothing is hairpinned
        received = await punch(first, second, seconds=PATIENCE_S)
        return received == ([second.mapped], [first.mapped])


async def prove(lab: Lab, server: TurnServer, name: str, kind: NAT, number: int) -> Proof:
    """Build a site of this kind with two hosts and look at it from there. Raises LabError."""
    site = await lab.site(f"kind{number}", kind, hosts=[f"one{number}", f"two{number}"])
    natdiscovery, stun, hairpin = await asyncio.gather(
        ask_natdiscovery(site.host, server), ask_stun(site.host, server), hairpins(site, server)
    )
    return Proof(name, kind, expectation(kind), Findings(natdiscovery, stun, hairpin))


async def prove_all(lab: Lab, kinds: Dictionary[str, NAT] = KINDS) -> list[Proof]:
    """Look at every kind, all at the same time in one lab. Raises LabError, LabUnavailable."""
    require_tools("turnutils_natdiscovery", "stun")
    server = await lab.server()
    return await asyncio.gather(
        *(prove(lab, server, name, kind, number) for number, (name, kind) in enumerate(kinds.items(), 1))
    )


def table(proofs: list[Proof]) -> str:
    """A Markdown table: kind, its words, what each tool said."""
    rows = [("kind", "RFC 4787", "natdiscovery", "stun-client", "two hosts", "")]
    rows += [
        (
            proof.name,
            str(proof.nat),
            proof.found.natdiscovery,
            proof.found.stun,
            "hairpin" if proof.found.hairpin else "no hairpin",
            "proved" if proof.holds else f"NOT AS DESCRIBED: {proof.expected}",
        )
        for proof in proofs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


async def run() -> int:
    """Prove every kind and print the table; 1 when one is not what it is called."""
    async with Lab() as lab:
        proofs = await prove_all(lab)
    print(table(proofs))
    return 0 if all(proof.holds for proof in proofs) else 1
