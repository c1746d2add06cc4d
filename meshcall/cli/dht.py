"""`dht ...`: how our node of the DHT is, what lies under a key, whether a node answers."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from meshcall.cli.durations import format_age
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit, emit_fields, emit_json, emit_table, note
from meshcall.cli.session import session_of
from meshcall.cli.status import count

COUNTERS_SHOWN = 8
"""Refusals that are shown without ``-v`` or ``--json``, the most frequent."""
_EXPECTED = ("sent-", "received-", "admitted", "store-stored", "store-unchanged", "notified", "queued")
"""Counters that tell of work, not of refusals."""
_SHORT = 8
"""Digits of a node id that are shown to people."""

dht_commands = typer.Typer(help="Look at the DHT.", rich_markup_mode=None, add_completion=False)


@dht_commands.command("status")
def dht_status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show our node of the DHT.

    Its role, its table, what it keeps, what it refused.
    """
    session = session_of(context)
    found = session.client.get("dht")
    if as_json:
        emit_json(found)
        return
    stored, limiter = found["stored"], found["limiter"]
    held = sum(bool(watch["holders"]) for watch in found["own_watches"])
    sources = [*found["bootstrap"], *([f"saved table ({found['restored']})"] if found["restored"] else [])]
    saved = found["saved_ms"]
    fields = [
        ("node", found["node_id"]),
        ("role", f"{found['role']}: {found['why']}" if found["enabled"] else "none: in no DHT"),
        ("addresses", ", ".join(found["addresses"]) or "(nobody has told us)"),
        ("nodes", f"{found['nodes4']} IPv4, {found['nodes6']} IPv6, in {count(found['buckets'], 'bucket')}"),
        ("stored", f"{count(stored['records'], 'record')}, {stored['octets']} octets, "
                   f"{count(stored['keys'], 'key')}, from {count(stored['sources'], 'host')}"),
        ("own watches", f"{held} of {len(found['own_watches'])} held"),
        *((f"watch {watch['key'][:_SHORT]}", ", ".join(watch["holders"]) or "(no holder)")
          for watch in found["own_watches"]),
        ("others' watches", str(found["watches_held"])),
        ("limiter", f"{limiter['senders']} of {limiter['senders_max']} senders, "
                    f"room for {limiter['reads_left']} reads and {limiter['writes_left']} writes"),
        ("bootstrap", ", ".join(sources) or "(none)"),
        ("table saved", "not yet" if saved is None else format_age(saved, time.time_ns() // 1_000_000)),
    ]  # fmt: skip
    counters = sorted(found["counters"].items(), key=lambda entry: (-entry[1], entry[0]))
    if not session.verbose:
        counters = [entry for entry in counters if not entry[0].startswith(_EXPECTED)][:COUNTERS_SHOWN]
    emit_fields([*fields, *((f"count {name}", str(number)) for name, number in counters)])


@dht_commands.command("lookup")
def dht_lookup(
    context: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A contact's name, an ID, a link, or 40 hex digits.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Search a key, and show who was asked and what was found."""
    session = session_of(context)
    found = session.client.get("dht", "lookup", key)
    if as_json:
        emit_json(found)
        return
    rows = [
        (
            node["node_id"][:_SHORT] or "?",
            node["address"],
            "-" if node["rtt_ms"] is None else f"{node['rtt_ms']:.1f} ms",
            str(node["hop"]),
            _what(node),
        )
        for node in found["asked"]
    ]
    emit_table(("node", "address", "rtt", "hop", "what"), rows, empty="nobody could be asked")
    for value in found["values"]:
        emit(_value_text(value))
    answered = sum(node["answered"] for node in found["asked"])
    first = found["first_ms"]
    if not session.quiet:
        note(f"key {found['key']}")
        note(
            f"{count(found['requests'], 'request')}, {answered} answered, {count(found['hops'], 'hop')}; "
            f"{'no value' if first is None else f'first value after {first:.1f} ms'}, "
            f"all in {found['total_ms']:.1f} ms"
        )
        if found["values"]:
            keep = [node["values"] > 0 for node in found["asked"] if node["closest"]]
            note(f"kept by {sum(keep)} of the {count(len(keep), 'closest node')}")
        if found["holders"]:
            note(f"our watch of it is held by {', '.join(found['holders'])}")
        if found["watchers_here"]:
            note(f"{count(found['watchers_here'], 'watch', 'es')} of it kept at our node")
        if not found["values"]:
            note("nothing is stored there")


def _what(node: dict[str, Any]) -> str:
    """What became of the question; the search does not wait for those that it does not need."""
    if node["answered"]:
        return "closest" if node["closest"] else "answered"
    return "silent" if node["silent"] else "not awaited"


def _value_text(value: dict[str, Any]) -> str:
    where = value["source"] or "our own node"
    text = (
        f"{value['type']}: {value['octets']} octets, {value['age_s']} of {value['ttl_s']} s old, "
        f"number {value['seq']}, from {where} after {value['at_ms']:.1f} ms"
    )
    return text + (f", NOT the peer's ({value['problem']})" if value["problem"] else "")


@dht_commands.command("ping")
def dht_ping(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the node is.")],
    as_json: JsonOption = False,
) -> None:
    """Ask a node whether it is there, and to prove who it is."""
    found = session_of(context).client.get("dht", "ping", address)
    if as_json:
        emit_json(found)
        return
    fields = [
        ("address", found["address"]),
        ("rtt", f"{found['rtt_ms']:.1f} ms"),
        ("node", found["node_id"]),
        ("id", "proven" if found["proven"] else f"NOT proven ({found['proof']})"),
        ("role", found["role"]),
        ("sees us at", found["observed"]),
    ]
    emit_fields(fields)
