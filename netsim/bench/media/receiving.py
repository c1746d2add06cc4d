"""What is heard and seen across a link that loses packets: ours and stock aiortc over the same link.

Sound and pictures of 640x360 at 30 a second go one way over 50 ms of round trip; each direction loses frames
at random. Sound is heard when its own pitch comes out, so what is made up for it does not count.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

from netsim.bench.figure import Figure, Report
from netsim.bench.media import heard
from netsim.bench.media.marks import PITCHES
from netsim.bench.media.trial import EngineName, Records, Troubles, connect, pair
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.link import LinkConditions

ONE_WAY_MS = 25.0
WARM_S = 3.0
"""Until the first keyframe has come and rates have settled."""
WINDOW_S = 20.0
QUICK_WINDOW_S = 10.0
TAIL_S = 1.0
"""After the window: what was sent in it may still come out."""
FLAGS = ("--pictures", "640x360@30")
GLASS_FLAGS = ("--pictures", "1280x720@30")
LOSSES = {0.0: 99.5, 0.01: 99.0, 0.05: 97.0, 0.10: 93.0}
"""Percent of the sound that is to be played, by loss."""
LAG_MS = 80.0
LAG_AFTER_BURST_MS = 60.0
BURST_S, BURST_DELAY_MS = 0.5, 250.0
AFTER_BURST_S = 2.0
FREEZE_MS, FROZEN = 400.0, 2.0
GLASS_MS = 30.0
SYNC_MS = 40.0
VIDEO_LOSS = 0.05
REPEAT_MAX = 5
ENGINES: tuple[EngineName, ...] = ("ours", "stock")


@dataclass(slots=True)
class Run:
    """One call over one link."""

    played: float
    """Percent of the sound."""
    lag: float
    """Median in ms, the way itself left out."""
    longest_freeze: float
    """In ms."""
    frozen: float
    """Percent of the time."""
    glass: float
    """Median lag of pictures in ms, the way left out."""
    skew: float
    """Of sound against pictures, the worst half second, in ms."""


@dataclass(slots=True)
class Found:
    """By loss, or what was done to the link."""

    runs: dict[float, list[Run]] = field(default_factory=dict)
    bursts: list[float] = field(default_factory=list)
    """Median lag of sound from 2 s after a burst on, in ms."""
    glass: list[float] = field(default_factory=list)


async def run_link(engine: EngineName, loss: float, window: float, seed: int) -> Run:
    """A call over a lossy link. Raises LabError."""
    async with Lab() as lab:
        lan = await lab.lan(["a", "b"], delay_ms=ONE_WAY_MS, emulated=True, neighbours="static", seed=seed)
        async with pair(lan["a"], lan["b"], engine, FLAGS) as (sender, receiver):
            name = await connect(sender, receiver)
            await asyncio.sleep(WARM_S)
            await lan.set_conditions(LinkConditions(delay_ms=ONE_WAY_MS, loss=loss))
            begin = time.monotonic()
            await asyncio.sleep(window + TAIL_S)
            records = Records.of(await sender.report(), await receiver.report(), name)
    return judge(records, begin, begin + window, ONE_WAY_MS)


def judge(records: Records, begin: float, end: float, one_way_ms: float) -> Run:
    """What was heard and seen of a stretch of time. Raises LabError."""
    sound = heard.sounds(records.sounds_sent, records.sounds, PITCHES)
    seen = heard.pictures(records.pictures_sent, records.pictures)
    sound_lags, picture_lags = heard.lags(sound, begin, end), heard.lags(seen, begin, end)
    if not sound_lags or not picture_lags:
        raise LabError("nothing was heard, or nothing was seen")
    stills = heard.freezes(seen, begin, end)
    skews = heard.skew(sound, seen, begin, end)
    return Run(
        heard.share_played(records.sounds_sent, sound, begin, end),
        statistics.median(sound_lags) - one_way_ms,
        1000 * stills.longest,
        100 * stills.share,
        statistics.median(picture_lags) - one_way_ms,
        max(skews, key=abs, default=0.0),
    )


async def run_burst(engine: EngineName, seed: int) -> float:
    """The lag of sound, from 2 s after a link stood still for a moment on. Raises LabError."""
    async with Lab() as lab:
        lan = await lab.lan(["a", "b"], delay_ms=ONE_WAY_MS, emulated=True, neighbours="static", seed=seed)
        async with pair(lan["a"], lan["b"], engine, FLAGS) as (sender, receiver):
            name = await connect(sender, receiver)
            await asyncio.sleep(WARM_S)
            slow = LinkConditions(delay_ms=ONE_WAY_MS + BURST_DELAY_MS, loss=VIDEO_LOSS)
            await lan.set_conditions(slow)
            await asyncio.sleep(BURST_S)
            await lan.set_conditions(LinkConditions(delay_ms=ONE_WAY_MS))
            over = time.monotonic() + BURST_DELAY_MS / 1000
            await asyncio.sleep(BURST_DELAY_MS / 1000 + AFTER_BURST_S + 1.0)
            records = Records.of(await sender.report(), await receiver.report(), name)
    sound = heard.sounds(records.sounds_sent, records.sounds, PITCHES)
    found = heard.lags(sound, over + AFTER_BURST_S, over + AFTER_BURST_S + 1.0)
    if not found:
        raise LabError("nothing was heard after the burst")
    return statistics.median(found) - ONE_WAY_MS


async def run_glass(engine: EngineName, window: float) -> float:
    """The median lag of 720p30 without a link between. Raises LabError."""
    async with Lab() as lab:
        lan = await lab.lan(["a", "b"])
        async with pair(lan["a"], lan["b"], engine, GLASS_FLAGS) as (sender, receiver):
            name = await connect(sender, receiver)
            await asyncio.sleep(WARM_S)
            begin = time.monotonic()
            await asyncio.sleep(window)
            records = Records.of(await sender.report(), await receiver.report(), name)
    seen = heard.pictures(records.pictures_sent, records.pictures)
    found = heard.lags(seen, begin, begin + window)
    if not found:
        raise LabError("nothing was seen")
    return statistics.median(found)


async def measure(options: Options) -> Report:
    """Both engines in turns."""
    window = QUICK_WINDOW_S if options.quick else WINDOW_S
    found: dict[EngineName, Found] = {engine: Found() for engine in ENGINES}
    troubles = Troubles()
    for turn in range(1 if options.quick else min(options.repeat, REPEAT_MAX)):
        for engine, record in found.items():
            for loss in LOSSES:
                try:
                    run = await run_link(engine, loss, window, turn)
                except LabError as error:
                    troubles.add(engine, f"loss {100 * loss:.0f} %", error)
                    continue
                record.runs.setdefault(loss, []).append(run)
                options.log(
                    f"{engine}, loss {100 * loss:.0f} %, {turn + 1}: {run.played:.1f} % played,"
                    f" lag {run.lag:.0f} ms, longest freeze {run.longest_freeze:.0f} ms,"
                    f" frozen {run.frozen:.1f} %, skew {run.skew:.0f} ms"
                )
            try:
                record.bursts.append(await run_burst(engine, turn))
                record.glass.append(await run_glass(engine, window / 2))
            except LabError as error:
                troubles.add(engine, "burst, glass", error)
                continue
            options.log(
                f"{engine}, {turn + 1}: lag {record.bursts[-1]:.0f} ms after a burst,"
                f" glass to glass {record.glass[-1]:.0f} ms"
            )
    figures = [figure for engine, record in found.items() for figure in make_figures(engine, record)]
    return Report("Receiving", tuple(figures), (), tuple(troubles.notes), tuple(troubles.failures))


def make_figures(engine: EngineName, found: Found) -> list[Figure]:
    """Goals are for ours; of stock aiortc the same is shown."""
    ours = engine == "ours"
    prefix = "" if ours else "stock aiortc: "

    def goal(value: float) -> float | None:
        return value if ours else None

    figures = [
        Figure(
            f"{prefix}sound played at {100 * loss:.0f} % loss",
            "%",
            tuple(run.played for run in found.runs.get(loss, [])),
            goal(least),
            at_least=True,
        )
        for loss, least in LOSSES.items()
    ]
    figures += [
        Figure(
            f"{prefix}lag of sound at {100 * loss:.0f} % loss",
            "ms",
            tuple(run.lag for run in found.runs.get(loss, [])),
            goal(LAG_MS),
        )
        for loss in LOSSES
    ]
    lossy = found.runs.get(VIDEO_LOSS, [])
    clean = found.runs.get(0.0, [])
    return [
        *figures,
        Figure(
            f"{prefix}lag of sound 2 s after a burst", "ms", tuple(found.bursts), goal(LAG_AFTER_BURST_MS)
        ),
        Figure(
            f"{prefix}longest freeze at 5 % loss",
            "ms",
            tuple(r.longest_freeze for r in lossy),
            goal(FREEZE_MS),
        ),
        Figure(f"{prefix}time frozen at 5 % loss", "%", tuple(r.frozen for r in lossy), goal(FROZEN)),
        Figure(f"{prefix}glass to glass, 720p30", "ms", tuple(found.glass), goal(GLASS_MS)),
        Figure(
            f"{prefix}sound against pictures, worst half second",
            "ms",
            tuple(abs(run.skew) for run in (*clean, *lossy)),
            goal(SYNC_MS),
        ),
    ]
