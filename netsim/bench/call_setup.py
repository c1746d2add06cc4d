"""How long it takes from ``meshcall call`` to the first media at both ends, and where the time goes.

Daemons on two hosts call each other by ID, on one segment with mDNS (``lan``) or with a DHT of 50 nodes on
another host and no mDNS (``dht``), with links of no delay and of 50 ms round trip. A phase that needs N
round trips takes about N x 50 ms longer on the slow link, so the difference of the two medians, divided by
50 ms, is the number of round trips that it really costs.

All daemons are warm: they have joined and had a call before. A peer that is called for the first time has
to be looked up; when it is called again, its presence record is known. Each of the two is measured N times:
there are as many callees, each of which had its first call from somebody else.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from netsim.bench.figure import Figure, Report, Table, number
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.peer import EventLog, Peer, start_testnet

Path = Literal["lan", "dht"]

RTT_MS = 50.0
PATHS: tuple[Path, ...] = ("lan", "dht")
DHT_NODES = 50
WHERE: Mapping[Path, str] = {"lan": "LAN", "dht": f"DHT of {DHT_NODES}"}
CALL_S = 0.5
BATCH = 5
"""Callees that run at a time: each is a daemon that has loaded its media libraries."""
SETTLE_S = 3.0
"""From the daemons' start to the first call: what a warm daemon has done already (joining, leases)."""
GOAL_DHT_MS = 600.0
GOAL_LAN_ANSWER_MS = 150.0

Side = Literal["caller", "callee"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of one side's timeline."""

    name: str
    side: Side
    start: tuple[str, ...]
    """Marks; the latest of those that were reached counts. Empty: the call's start."""
    end: str
    needed: Mapping[Path, str]
    """Round trips that the phase needs, and for what."""

    def of(self, marks: Mapping[str, float]) -> float | None:
        """Its length in ms, or None if its end was not reached."""
        if self.end not in marks:
            return None
        begin = max((marks[mark] for mark in self.start if mark in marks), default=0.0)
        return max(0.0, marks[self.end] - begin)


def _both(text: str) -> Mapping[Path, str]:
    return {"lan": text, "dht": text}


PHASES = (
    Phase(
        "lookup",
        "caller",
        (),
        "presence",
        {"lan": "1 (ask the peer itself)", "dht": "1-2 (nodes near the key)"},
    ),
    Phase("gather (beside the lookup)", "caller", (), "offer-ready", _both("0")),
    Phase(
        "deliver (beside the answer)",
        "caller",
        ("presence", "offer-ready"),
        "delivered",
        {"lan": "1 (sent, acknowledged)", "dht": "1-3 (every close node has acknowledged)"},
    ),
    Phase("gather and answer", "callee", ("offer",), "answer", _both("0")),
    Phase(
        "answer comes back",
        "caller",
        ("presence", "offer-ready"),
        "answer",
        {"lan": "1 (offer there, answer back)", "dht": "2 (each by way of a node)"},
    ),
    Phase("ICE", "caller", ("answer",), "ice", _both("1 (one check)")),
    Phase("DTLS", "caller", ("ice",), "dtls", _both("2 (DTLS 1.2; begins beside ICE)")),
    Phase("SCTP and channel", "caller", ("dtls",), "control", _both("2 (four-way handshake)")),
    Phase("confirm", "caller", ("dtls", "control"), "confirmed", _both("0.5-1 (signatures cross)")),
    Phase("first audio", "caller", ("confirmed",), "first-audio", _both("0-1 (media may be here already)")),
    Phase("first video", "caller", ("confirmed",), "first-video", _both("0-1 (media may be here already)")),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One call."""

    marks: Mapping[Side, Mapping[str, float]]
    """Timelines, ms since the dial and since the offer's arrival."""
    dialled_ms: int
    """Unix milliseconds, as all below."""
    answered_ms: int
    audio_ms: Mapping[Side, int]
    video_ms: Mapping[Side, int]

    @property
    def to_audio(self) -> float:
        """From the dial until both ends have heard something."""
        return max(self.audio_ms.values()) - self.dialled_ms

    @property
    def to_media(self) -> float:
        """From the dial until both ends have heard and seen something."""
        return max(*self.audio_ms.values(), *self.video_ms.values()) - self.dialled_ms

    @property
    def answer_to_audio(self) -> float:
        """From the callee's answer until both ends have heard something."""
        return max(self.audio_ms.values()) - self.answered_ms


@dataclass(slots=True)
class Case:
    """All calls under one condition."""

    path: Path
    rtt_ms: float
    cold: list[Measurement] = field(default_factory=list)
    """Calls between daemons that had none before: both load the media libraries first."""
    new: list[Measurement] = field(default_factory=list)
    """First calls to a peer."""
    again: list[Measurement] = field(default_factory=list)
    """Second calls to the same peer."""
    failures: list[str] = field(default_factory=list)


async def measure(options: Options) -> Report:
    """Run every case."""
    cases = {(path, rtt): await run_case(path, rtt, options) for path in PATHS for rtt in (0.0, RTT_MS)}
    return make_report(cases)


async def run_case(path: Path, rtt_ms: float, options: Options) -> Case:
    """Start a lab with its daemons; call ever new callees twice each."""
    case = Case(path, rtt_ms)
    names = ["alice", "bob", "carol"] + (["net"] if path == "dht" else [])
    async with Lab() as lab:
        # Static neighbours: resolving link addresses would cost round trips that a routed path doesn't.
        lan = await lab.lan(names, delay_ms=rtt_ms / 2, emulated=True, neighbours="static")
        join = ["--no-mdns", *await start_testnet(lan["net"], DHT_NODES)] if path == "dht" else []
        flags = [*join, "--auto-answer", "anyone", "--source", "testsrc:880"]
        alice, carol = Peer(lan["alice"]), Peer(lan["carol"])
        await start_all([alice, carol], flags)
        await asyncio.sleep(SETTLE_S)
        case.cold.append(await call_once(carol, alice))
        for start in range(0, options.repeat, BATCH):
            numbers = range(start, min(start + BATCH, options.repeat))
            callees = [Peer(lan["bob"], home=lan["bob"].directory / f"home-{number}") for number in numbers]
            await start_all(callees, flags)
            await asyncio.sleep(SETTLE_S)
            for callee in callees:
                await measure_callee(case, options, alice, carol, callee)
            await lan["bob"].stop_all()
    return case


async def start_all(peers: list[Peer], flags: list[str]) -> None:
    """Start daemons and wait until those of a DHT can be called."""
    await asyncio.gather(*(peer.start(*flags) for peer in peers))
    if "--bootstrap" in flags:
        for peer in peers:
            await peer.wait_for_status("its leases", lambda status: status["dht"]["watches"] > 0)


async def measure_callee(case: Case, options: Options, alice: Peer, carol: Peer, callee: Peer) -> None:
    """Carol's call makes the callee warm; then Alice calls it for the first and the second time."""
    where = f"{case.path}, {case.rtt_ms:.0f} ms, callee {len(case.new) + 1}"
    try:
        await call_once(carol, callee)
        case.new.append(await call_once(alice, callee))
        case.again.append(await call_once(alice, callee))
    except LabError as error:
        case.failures.append(f"{where}: {str(error).splitlines()[0]}")
    else:
        options.log(f"{where}: {case.new[-1].to_audio} ms to first audio, again {case.again[-1].to_audio} ms")


async def call_once(caller: Peer, callee: Peer) -> Measurement:
    """One call from dial to hang-up. Raises LabError."""
    async with EventLog(callee) as callee_log:
        call = await caller.start_cli(
            "call", callee.id, "--source", "testsrc:440", "--duration", str(CALL_S), "--json"
        )
        done = (await call.wait(60)).check()
        ended_there = await callee_log.wait_for(event="ended")
        there = callee_log.events
    here = done.json_lines()
    return Measurement(
        marks={"caller": find(here, event="ended")["timeline"], "callee": ended_there["timeline"]},
        dialled_ms=find(here, event="looking-up")["at_ms"],
        answered_ms=find(there, event="connecting")["at_ms"],
        audio_ms=when_media(here, there, "audio"),
        video_ms=when_media(here, there, "video"),
    )


def find(events: list[dict[str, Any]], **fields: object) -> dict[str, Any]:
    """The first event with these fields. Raises LabError."""
    for event in events:
        if all(event.get(name) == value for name, value in fields.items()):
            return event
    raise LabError(f"no event with {fields} in {[event.get('event') for event in events]}")


def when_media(here: list[dict[str, Any]], there: list[dict[str, Any]], kind: str) -> dict[Side, int]:
    """When each side had its first media of a kind."""
    return {
        "caller": find(here, event="media", kind=kind)["at_ms"],
        "callee": find(there, event="media", kind=kind)["at_ms"],
    }


GOALS: Mapping[tuple[Path, float, str], float] = {
    ("dht", RTT_MS, "to_audio"): GOAL_DHT_MS,
    ("lan", 0.0, "answer_to_audio"): GOAL_LAN_ANSWER_MS,
}
NAMES = {
    "to_audio": "call to first audio at both ends",
    "to_media": "call to first audio and video",
    "answer_to_audio": "answer to first audio at both ends",
}


def make_report(cases: Mapping[tuple[Path, float], Case]) -> Report:
    """Figures by case, then where the time goes."""
    figures: list[Figure] = []
    for case in cases.values():
        where = f"{WHERE[case.path]}, {case.rtt_ms:.0f} ms RTT"
        for attribute, name in NAMES.items():
            goal = GOALS.get((case.path, case.rtt_ms, attribute))
            figures.append(Figure(f"{where}: {name}", "ms", values_of(case.new, attribute), goal))
        figures.append(
            Figure(f"{where}: again, {NAMES['to_audio']}", "ms", values_of(case.again, "to_audio"))
        )
        figures.append(Figure(f"{where}: cold, {NAMES['to_audio']}", "ms", values_of(case.cold, "to_audio")))
    return Report(
        "Call set-up",
        tuple(figures),
        tuple(phase_table(path, cases) for path in PATHS),
        (
            "Each callee is called for the first time, so it is looked up; `again`: its presence is known; "
            "`cold`: the daemons' first call, which loads the media libraries.",
            f"Round trips measured: (median at {RTT_MS:.0f} ms - median at 0 ms) / {RTT_MS:.0f} ms.",
        ),
        tuple(line for case in cases.values() for line in case.failures),
    )


def values_of(measurements: list[Measurement], attribute: str) -> tuple[float, ...]:
    """One quantity of each call."""
    return tuple(float(getattr(measurement, attribute)) for measurement in measurements)


def phase_table(path: Path, cases: Mapping[tuple[Path, float], Case]) -> Table:
    """Each phase: time without delay, with delay, round trips needed and measured."""
    rows: list[tuple[str, ...]] = []
    for phase in PHASES:
        medians: list[float] = []
        for rtt in (0.0, RTT_MS):
            lengths = [phase.of(measurement.marks[phase.side]) for measurement in cases[path, rtt].new]
            known = [length for length in lengths if length is not None]
            medians.append(statistics.median(known) if known else math.nan)
        trips = (medians[1] - medians[0]) / RTT_MS
        rows.append(
            (
                phase.name,
                phase.side,
                *(number(value) for value in medians),
                phase.needed[path],
                "-" if math.isnan(trips) else f"{trips:z.1f}",
            )
        )
    header = ("phase", "side", "0 ms RTT", f"{RTT_MS:.0f} ms RTT", "round trips needed", "measured")
    return Table(f"{WHERE[path]}: median ms per phase of a first call to a peer", header, tuple(rows))
