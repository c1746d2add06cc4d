"""`status` and `version`: what runs."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

import meshcall
from meshcall.cli.durations import format_duration, parse_duration
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit, emit_fields, emit_json, gateway_text, note
from meshcall.cli.session import Session, session_of


def status(
    context: typer.Context,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again.")] = False,
    interval: Annotated[
        str, typer.Option(metavar="TIME", help="Time between two looks, with --watch.")
    ] = "1s",
) -> None:
    """Show the daemon, the LAN, the DHT and the calls."""
    session = session_of(context)
    pause = parse_duration(interval, "--interval")
    _show_status(session, session.client.get("status"), as_json=as_json, line=watch)
    while watch:
        time.sleep(pause)
        document = session.client.get("status")
        if not as_json and sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")  # home, clear: a fresh page on each look
        elif not as_json:
            emit("")
        _show_status(session, document, as_json=as_json, line=True)


def _show_status(session: Session, document: dict[str, Any], *, as_json: bool, line: bool) -> None:
    if as_json:
        emit_json(document, line=line)
        return
    lan, dht = document["lan"], document["dht"]
    fields = [
        ("id", document["peer_id"]),
        ("name", document["name"] or "(none)"),
        ("port", f"{document['port']} (UDP)"),
        ("addresses", ", ".join(document["addresses"]) or "(none)"),
        ("lan", f"{count(lan['peers'], 'peer')} seen" if lan["enabled"] else "off"),
        ("dht", _dht_text(dht) if dht["enabled"] else "off"),
        *([("tunnel", _tunnel_text(dht["tunnel"]))] if dht.get("tunnel") else []),
        *_port_mapping_fields(document.get("port_mapping")),
        *([("relay", _relay_text(document["relay"]))] if document["relay"]["enabled"] else []),
        ("calls", str(document["calls"])),
        *([("rooms", count(document["rooms"], "room"))] if document.get("rooms") else []),
        *([("missed", _missed_text(document["missed"]))] if document.get("missed") else []),
        ("uptime", format_duration(document["uptime_s"])),
        ("version", document["version"]),
    ]
    fields += [("warning", text) for text in document["warnings"]]
    if session.verbose:
        fields += [(f"count {name}", str(count)) for name, count in sorted(document["counters"].items())]
    emit_fields(fields)
    if document["version"] != meshcall.__version__ and not session.quiet:
        note(f"note: the daemon runs {document['version']}, this command is {meshcall.__version__}")


def _dht_text(dht: dict[str, Any]) -> str:
    return ", ".join(
        (
            dht["role"],
            count(dht["nodes"], "node"),
            count(dht["watches"], "watch", "es") + " held by others",
            f"{dht['stored']} stored",
        )
    )


def _tunnel_text(gateway: str) -> str:
    return f"UDP is blocked here: {gateway_text(gateway)}"


def _port_mapping_fields(mapping: dict[str, Any] | None) -> list[tuple[str, str]]:
    if mapping is None or mapping["state"] in ("off", "needless"):
        return []
    if mapping["state"] == "mapped":
        return [("port mapping", f"{mapping['external']} by {mapping['protocol']} at {mapping['gateway']}")]
    return [("port mapping", mapping["reason"])]


def _relay_text(relay: dict[str, Any]) -> str:
    octets = (relay["to_peers"] + relay["to_clients"]) / 1e6
    return f"port {relay['port']}, {count(relay['allocations'], 'allocation')}, {octets:.1f} MB relayed"


def _missed_text(missed: int) -> str:
    return f"{count(missed, 'missed call')}: meshcall history --missed"


def count(number: int, word: str, plural: str = "s") -> str:
    """A number and its word."""
    return f"{number} {word}{'' if number == 1 else plural}"


def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    if as_json:
        emit_json({"schema": 1, "version": meshcall.__version__})
    else:
        emit(f"meshcall {meshcall.__version__}")
