"""Finds the benches, runs one, prints what it found."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from netsim.bench.figure import Report
from netsim.errors import LabError

MIN_REPEAT = 15
"""Fewer measurements make no 95th percentile."""
QUICK_REPEAT = 5


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of a bench."""

    repeat: int
    quick: bool
    only: tuple[str, ...] = ()
    """Parts of a bench that has parts; empty: all of them."""

    def log(self, text: str) -> None:
        """Say how far it is, beside the result."""
        print(text, file=sys.stderr, flush=True)


Measure = Callable[[Options], Coroutine[Any, Any, Report] | Report]
"""A bench's function; a plain one waits for nothing."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench that can be run by name."""

    name: str
    summary: str
    module: str
    needs_lab: bool = True
    """Whether it runs programs in network namespaces."""

    def measure(self) -> Measure:
        """Its function; its module is loaded now."""
        function: Measure = importlib.import_module(self.module).measure
        return function

    def parts(self) -> tuple[str, ...]:
        """What ``--only`` can name; empty: it is one piece."""
        return tuple(getattr(importlib.import_module(self.module), "PARTS", ()))


BENCHES = {
    bench.name: bench
    for bench in (
        Bench(
            "call-setup",
            "time from `call` to first media, on LAN and DHT paths, at 0 and 50 ms round trip, by phase",
            "netsim.bench.call_setup",
        ),
        Bench(
            "rendezvous",
            "put, get and push among dead, hostile and sybil nodes, in virtual time; what a node costs",
            "netsim.bench.rendezvous",
            needs_lab=False,
        ),
        Bench(
            "relay",
            "720p calls that one core relays, ours and coturn side by side",
            "netsim.bench.relay",
            needs_lab=False,
        ),
        Bench(
            "connectivity",
            "who reaches whom, how soon, and what is heard when the network changes",
            "netsim.bench.connectivity.parts",
        ),
        Bench(
            "media",
            "what media costs, how it sounds and looks across bad links; stock aiortc beside it",
            "netsim.bench.media.parts",
        ),
    )
}


def run(
    names: list[str], *, repeat: int | None, quick: bool, as_json: bool, only: tuple[str, ...] = ()
) -> int:
    """Run benches and print their reports; the exit status is 1 when a goal is missed."""
    options = Options(repeat or (QUICK_REPEAT if quick else MIN_REPEAT), quick, only)
    reports: dict[str, Report] = {}
    for name in names:
        try:
            reports[name] = _measure(BENCHES[name], options)
        except LabError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
    if as_json:
        print(json.dumps({name: report.to_json() for name, report in reports.items()}, indent=2))
    else:
        print("\n\n".join(report.to_markdown() for report in reports.values()))
    return 0 if all(report.met for report in reports.values()) else 1


def _measure(bench: Bench, options: Options) -> Report:
    measured = bench.measure()(options)
    return measured if isinstance(measured, Report) else asyncio.run(measured)
