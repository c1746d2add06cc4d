"""How long it takes from ``meshcall call`` to the first media at both ends, and where the time goes.

Two daemons on two hosts call each other by ID, on one segment with mDNS (``lan``) or with a DHT of 50 nodes
on a third host and no mDNS (``dht``), with links of no delay and of 50 ms round trip. A phase that needs
N round trips takes about N x 50 ms longer on the slow link, so the difference of the two medians, divided
by 50 ms, is the number of round trips that it really costs.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
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
CALL_S = 1.0
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
        "deliver",
        "caller",
        ("presence", "offer-ready"),
        "delivered",
        {"lan": "1 (sent, acknowledged)", "dht": "1 (sent, acknowledged)"},
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
    Phase("DTLS", "caller", ("ice",), "dtls", _both("2 (DTLS 1.2)")),
    Phase("SCTP and channel", "caller", ("dtls",), "control", _both("2 (four-way handshake)")),
    Phase("confirm", "caller", ("dtls", "control"), "confirmed", _both("0.5-1 (signatures cross)")),
    Phase("first audio", "caller", ("confirmed",), "first-audio", _both("0.5-1 (gate opens there)")),
    Phase("first video", "caller", ("confirmed",), "first-video", _both("0.5-1 (gate opens there)")),
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
    def answer_to_media(self) -> float:
        """From the callee's answer until both ends have heard and seen something."""
        return max(*self.audio_ms.values(), *self.video_ms.values()) - self.answered_ms

    @property
    def answer_to_audio(self) -> float:
        """From the callee's answer until both ends have heard something."""
        return max(self.audio_ms.values()) - self.answered_ms


@dataclass(frozen=True, slots=True)
class Case:
    """All calls under one condition."""

    path: Path
    rtt_ms: float
    first: Measurement
    """The first call of these daemons, which loads the media libraries."""
    warm: tuple[Measurement, ...]
    failures: tuple[str, ...]


async def measure(options: Options) -> Report:
    """Run every case."""
    cases = {(path, rtt): await run_case(path, rtt, options) for path in PATHS for rtt in (0.0, RTT_MS)}
    return make_report(cases)


async def run_case(path: Path, rtt_ms: float, options: Options) -> Case:
    """Start a lab with its daemons and call again and again."""
    names = ["alice", "bob"] + (["net"] if path == "dht" else [])
    async with Lab() as lab:
        # Static neighbours: resolving link addresses would cost round trips that a routed path doesn't.
        lan = await lab.lan(names, delay_ms=rtt_ms / 2, emulated=True, neighbours="static")
        alice, bob = Peer(lan["alice"]), Peer(lan["bob"])
        flags = ["--no-mdns", *await start_testnet(lan["net"], DHT_NODES)] if path == "dht" else []
        await asyncio.gather(
            alice.start(*flags), bob.start(*flags, "--auto-answer", "anyone", "--source", "testsrc:880")
        )
        if path == "dht":
            await bob.wait_for_status("its leases", lambda status: status["dht"]["watches"] > 0)
        await asyncio.sleep(SETTLE_S)
        first = await call_once(alice, bob)
        warm: list[Measurement] = []
        failures: list[str] = []
        for count in range(1, options.repeat + 1):
            try:
                warm.append(await call_once(alice, bob))
            except LabError as error:
                failures.append(f"{path}, {rtt_ms:.0f} ms, call {count}: {str(error).splitlines()[0]}")
            else:
                options.log(f"{path}, {rtt_ms:.0f} ms, call {count}: {warm[-1].to_audio} ms to first audio")
        return Case(path, rtt_ms, first, tuple(warm), tuple(failures))


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


def make_report(cases: Mapping[tuple[Path, float], Case]) -> Report:
    """Figures with goals first, then where the time goes."""
    goals = {
        ("dht", RTT_MS, "to_audio"): GOAL_DHT_MS,
        ("lan", 0.0, "answer_to_audio"): GOAL_LAN_ANSWER_MS,
    }
    names = {
        "to_audio": "call to first audio at both ends",
        "to_media": "call to first audio and video at both ends",
        "answer_to_audio": "answer to first audio at both ends",
        "answer_to_media": "answer to first audio and video at both ends",
    }
    figures = [
        Figure(
            f"{label(case)}: {names[attribute]}",
            "ms",
            tuple(getattr(measurement, attribute) for measurement in case.warm),
            goals.get((case.path, case.rtt_ms, attribute)),
        )
        for case in cases.values()
        for attribute in names
    ]
    figures += [
        Figure(f"{label(case)}: the same for the first call of a daemon", "ms", (case.first.to_audio,))
        for case in cases.values()
    ]
    return Report(
        "Call set-up",
        tuple(figures),
        tuple(phase_table(path, cases) for path in PATHS),
        ("Round trips measured: (median at 50 ms - median at 0 ms) / 50 ms.",),
        tuple(line for case in cases.values() for line in case.failures),
    )


def label(case: Case) -> str:
    """For people."""
    where = "LAN" if case.path == "lan" else f"DHT of {DHT_NODES}"
    return f"{where}, {case.rtt_ms:.0f} ms RTT"


def phase_table(path: Path, cases: Mapping[tuple[Path, float], Case]) -> Table:
    """Each phase: time without delay, with delay, round trips needed and measured."""
    rows: list[tuple[str, ...]] = []
    for phase in PHASES:
        medians: list[float] = []
        for rtt in (0.0, RTT_MS):
            lengths = [phase.of(measurement.marks[phase.side]) for measurement in cases[path, rtt].warm]
            known = [length for length in lengths if length is not None]
            medians.append(statistics.median(known) if known else float("nan"))
        trips = (medians[1] - medians[0]) / RTT_MS
        rows.append(
            (
                phase.name,
                phase.side,
                *(number(value) for value in medians),
                phase.needed[path],
                f"{trips:.1f}",
            )
        )
    header = ("phase", "side", "0 ms RTT", f"{RTT_MS:.0f} ms RTT", "round trips needed", "measured")
    where = "LAN (mDNS)" if path == "lan" else f"DHT of {DHT_NODES} nodes"
    return Table(f"{where}: median ms per phase", header, tuple(rows))
