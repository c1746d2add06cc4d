"""A link that is cut from 3 to 0.6 Mbit/s and back, in the middle of a call with 720p30 and sound.

Law 1: pictures fit with the first second in which the sender offers no more than the link carries, and
pictures come out in time.
Law 2: they have recovered with the first second in which the sender offers most of what it did before the
cut, and most of the pictures come out in time, as large as before.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netsim.bench.figure import Figure, Report
from netsim.bench.media import heard
from netsim.bench.media.marks import PITCHES
from netsim.bench.media.trial import EngineName, Records, Troubles, connect, pair
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.link import LinkConditions

FLAGS = ("--pictures", "1280x720@30")
ONE_WAY_MS = 25.0
WIDE_MBIT, NARROW_MBIT = 3.0, 0.6
WARM_S = 12.0
"""Until the sender has found out what the link carries."""
NARROW_S, WIDE_S = 10.0, 10.0
BEFORE_SECONDS = 3
SECOND = 1.0
STEP_S = 0.1
MOST = 0.8
"""Of the rate before the cut, and of the pictures."""
FIT_PICTURES = 10
"""A second: fewer are no moving picture."""
IN_TIME_MS = 500.0
"""The way, a full queue of the link, and a frame that was sent again."""
GAP_MS = 100.0
FIT_S, RECOVER_S = 2.0, 5.0
REPEAT_MAX = 5
ENGINES: tuple[EngineName, ...] = ("ours", "stock")


@dataclass(frozen=True, slots=True)
class Course:
    """How one call took it."""

    gap: float
    """Longest gap in the sound from the cut on, in ms."""
    fits: float
    """Seconds from the cut to Law 1; the whole stretch if it never did."""
    recovers: float
    """Seconds from the widening to Law 2; the whole stretch if it never did."""
    before: float
    """Mbit/s offered before the cut."""
    frozen: float
    """Percent of the narrow stretch, from 2 s after the cut on, in which pictures stood still."""
    played: float
    """Percent of the sound that was sent in the narrow stretch."""


async def run(engine: EngineName, seed: int) -> Course:
    """One call. Raises LabError."""
    wide = LinkConditions(delay_ms=ONE_WAY_MS, rate_mbit=WIDE_MBIT)
    narrow = LinkConditions(delay_ms=ONE_WAY_MS, rate_mbit=NARROW_MBIT)
    async with Lab() as lab:
        lan = await lab.lan(["a", "b"], delay_ms=ONE_WAY_MS, emulated=True, neighbours="static", seed=seed)
        await lan.set_conditions(wide, host="a")
        async with pair(lan["a"], lan["b"], engine, FLAGS) as (sender, receiver):
            name = await connect(sender, receiver)
            await asyncio.sleep(WARM_S)
            await lan.set_conditions(narrow, host="a")
            cut = time.monotonic()
            await asyncio.sleep(NARROW_S)
            await lan.set_conditions(wide, host="a")
            widened = time.monotonic()
            await asyncio.sleep(WIDE_S)
            end = time.monotonic()
            records = Records.of(await sender.report(), await receiver.report(), name)
    return judge(records, cut, widened, end)


def judge(records: Records, cut: float, widened: float, end: float) -> Course:
    """From what both ends noted down. Raises LabError."""
    sound = heard.sounds(records.sounds_sent, records.sounds, PITCHES)
    seen = heard.pictures(records.pictures_sent, records.pictures)
    if not sound or not seen:
        raise LabError("nothing was heard, or nothing was seen")
    sizes = [(at, height) for at, _, height in records.pictures]

    def offered(at: float) -> float:
        return heard.rate(records.wire_sent, at, at + SECOND)

    def in_time(at: float) -> int:
        return sum(lag <= IN_TIME_MS for lag in heard.lags(seen, at, at + SECOND))

    def height(at: float) -> int:
        return max((height for shown, height in sizes if at <= shown < at + SECOND), default=0)

    moments = [cut - (number + 1) * SECOND for number in range(BEFORE_SECONDS)]
    before = statistics.median(map(offered, moments))
    pictures = statistics.median(map(in_time, moments))
    large = max(map(height, moments))
    return Course(
        heard.longest_gap(sound, cut - SECOND, end),
        _first(cut, widened, lambda at: offered(at) <= NARROW_MBIT and in_time(at) >= FIT_PICTURES),
        _first(
            widened,
            end,
            lambda at: (
                offered(at) >= MOST * before and in_time(at) >= MOST * pictures and height(at) >= large
            ),
        ),
        before,
        100 * heard.freezes(seen, cut + FIT_S, widened).share,
        heard.share_played(records.sounds_sent, sound, cut, widened - SECOND),
    )


def _first(begin: float, end: float, test: Callable[[float], bool]) -> float:
    """When the first second that passes ``test`` begins, in seconds from ``begin``."""
    at = begin
    while at + SECOND <= end:
        if test(at):
            return at - begin
        at += STEP_S
    return end - begin


async def measure(options: Options) -> Report:
    """Both engines in turns."""
    courses: dict[EngineName, list[Course]] = {engine: [] for engine in ENGINES}
    troubles = Troubles()
    for turn in range(1 if options.quick else min(options.repeat, REPEAT_MAX)):
        for engine, record in courses.items():
            try:
                course = await run(engine, turn)
            except LabError as error:
                troubles.add(engine, "cut link", error)
                continue
            record.append(course)
            options.log(
                f"{engine}, {turn + 1}: {course.before:.1f} Mbit/s before; gap {course.gap:.0f} ms,"
                f" fits after {course.fits:.1f} s, recovers after {course.recovers:.1f} s,"
                f" frozen {course.frozen:.0f} %, sound {course.played:.0f} %"
            )
    figures = [figure for engine, record in courses.items() for figure in make_figures(engine, record)]
    return Report("Rate", tuple(figures), (), tuple(troubles.notes), tuple(troubles.failures))


def make_figures(engine: EngineName, courses: Sequence[Course]) -> list[Figure]:
    """Goals are for ours; of stock aiortc the same is shown."""
    ours = engine == "ours"
    prefix = "" if ours else "stock aiortc: "
    cut = f"{prefix}link cut from {WIDE_MBIT:g} to {NARROW_MBIT:g} Mbit/s"
    return [
        Figure(
            f"{cut}: longest gap in the sound", "ms", tuple(c.gap for c in courses), GAP_MS if ours else None
        ),
        Figure(f"{cut}: pictures fit after", "s", tuple(c.fits for c in courses), FIT_S if ours else None),
        Figure(
            f"{prefix}and back: pictures recover after",
            "s",
            tuple(c.recovers for c in courses),
            RECOVER_S if ours else None,
        ),
        Figure(f"{cut}: time frozen, 2 s after the cut on", "%", tuple(c.frozen for c in courses)),
        Figure(f"{cut}: sound played", "%", tuple(c.played for c in courses)),
        Figure(f"{prefix}rate before the cut", "Mbit/s", tuple(c.before for c in courses)),
    ]
