"""`netcheck`: what the network lets this machine do, in words that say what it means for calls."""

from __future__ import annotations

from typing import Any

import typer

from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit_fields, emit_json, gateway_text, note
from meshcall.cli.session import session_of
from meshcall.cli.status import count

MAPPINGS = {
    "none": "others see this machine's own address",
    "endpoint-independent": "one outside port for all peers: direct paths are easy",
    "address-dependent": "another outside port for each host: direct paths are harder",
    "address-and-port-dependent": "another outside port for each peer (symmetric): direct paths are hard",
}
"""RFC 4787 section 4.1, and what it means."""

FILTERINGS = {
    "endpoint-independent": "anybody may send in",
    "address-dependent": "only hosts that were sent to may send in",
    "address-and-port-dependent": "only addresses and ports that were sent to may send in",
}
"""RFC 4787 section 5, and what it means."""

PORTS = {
    "preserving": "the outside port is the inside one",
    "sequential": "outside ports follow each other, so they can be predicted",
    "random": "outside ports can't be predicted",
}

_HAIRPIN = {
    "yes": "yes: what is sent to the outside address comes back in",
    "no": "no: two peers behind this NAT need their local addresses",
    "needless": "not needed",
    "unknown": "unknown",
}

_UDP = {
    "lan": "on this LAN only: no node beyond it is known",
    "no": "BLOCKED: none of {asked} nodes answers by UDP",
    "unknown": "unknown: no node is known that could be asked",
    "none": "no address",
}


def netcheck(context: typer.Context, as_json: JsonOption = False) -> None:
    """Measure what the network lets this machine do.

    UDP, public addresses, the NAT, the LAN, relays. Takes a few seconds.
    """
    session = session_of(context)
    found = session.client.get("netcheck")
    if as_json:
        emit_json(found)
        return
    emit_fields(fields_of(found))
    if not session.quiet and not session.verbose:
        note("`meshcall doctor` says what to do about it")


def fields_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and sentence of everything that was found."""
    fields: list[tuple[str, str]] = []
    for name, family in (("IPv4", found["ipv4"]), ("IPv6", found["ipv6"])):
        fields += _family_fields(name, family)
    fields += [
        ("UDP port", str(found["port"])),
        ("DHT", f"{count(found['dht_nodes'], 'node')} known"),
        ("port mapping", _mapping_text(found["port_mapping"])),
        ("LAN", _lan_text(found["lan"])),
        *(("relay", _relay_text(relay)) for relay in found["relays"]),
        *([] if found["relays"] else [("relay", "none known")]),
        ("TCP and TLS", _fallback_text(found["fallback"])),
        ("clock", _clock_text(found["clock_skew_s"])),
    ]
    return fields


def _family_fields(name: str, family: dict[str, Any]) -> list[tuple[str, str]]:
    word = family["udp"]
    if word == "yes":
        fastest = f", the fastest in {family['rtt_ms']:.1f} ms" if family["rtt_ms"] is not None else ""
        text = f"works: {family['answered']} of {count(family['asked'], 'node')} answered{fastest}"
    else:
        text = _UDP.get(word, word).format(asked=family["asked"])
    fields = [(f"{name} UDP", text)]
    if word == "none":
        return fields
    fields.append((f"{name} local", ", ".join(family["local"])))
    if family["public"]:
        fields.append((f"{name} seen as", family["public"]))
    if family["mapping"] != "unknown":
        fields.append((f"{name} mapping", glossed(family["mapping"], MAPPINGS)))
    if family["mapping"] not in ("unknown", "none"):
        fields += [
            (f"{name} filtering", glossed(family["filtering"], FILTERINGS)),
            (f"{name} ports", glossed(family["ports"], PORTS)),
            (f"{name} hairpin", _HAIRPIN.get(family["hairpin"], family["hairpin"])),
        ]
    return fields


def glossed(word: str, meanings: dict[str, str]) -> str:
    """A word of the RFC with what it means; one that is not known here as it is."""
    return f"{word}: {meanings[word]}" if word in meanings else word


def _mapping_text(mapping: dict[str, Any]) -> str:
    if mapping["state"] == "mapped":
        return f"{mapping['external']}, by {mapping['protocol']}"
    return str(mapping["reason"] or mapping["state"])


def _lan_text(lan: dict[str, Any]) -> str:
    if not lan["enabled"]:
        return "off (`--no-mdns`)"
    if lan["fault"]:
        return f"does not work: {lan['fault']}"
    heard = "our announcement is heard" if lan["heard_itself"] else "our own announcement is NOT heard"
    return f"{heard}; {count(lan['peers'], 'other daemon')} seen"


def _relay_text(relay: dict[str, Any]) -> str:
    answer = "no answer" if relay["rtt_ms"] is None else f"{relay['rtt_ms']:.1f} ms"
    ways = f", by {', '.join(relay['transports'])}" if relay["transports"] else ""
    lender = "lent by a contact" if relay["of_contact"] else "lent by a node"
    who = "configured" if relay["configured"] else lender
    return f"{relay['address']}, {who}: {answer}{ways}"


def _fallback_text(fallback: dict[str, Any]) -> str:
    if fallback["state"] == "used":
        return f"used in the place of UDP: {gateway_text(fallback['via'])}"
    return "not used" if fallback["state"] == "unused" else str(fallback["state"])


def _clock_text(skew: float | None) -> str:
    if skew is None:
        return "no peer has written lately that it could be compared with"
    if abs(skew) < 2:
        return "agrees with peers"
    return f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} peers (they may differ by 120 s)"
