"""Five daemons in five network namespaces on a bridge that leads nowhere meet, talk, part and meet again.

``make demo-meeting`` runs it. It needs Linux with user namespaces, or root, and iproute2; nothing leaves the
machine. Logs are in demo-meeting-out/, made anew each time. Exit status 1 when a pair lacks sound, pictures
or a layer, or when the members do not agree on who is there.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from netsim.errors import LabError  # noqa: E402 - the lab lies beside the package
from netsim.lab import Lab  # noqa: E402
from netsim.meeting import Attendee, agree, all_media, ask_for_tiles, others  # noqa: E402
from netsim.peer import Peer  # noqa: E402

OUT = Path("demo-meeting-out").resolve()
MARKER = OUT / "made-by-make-demo-meeting"
NAMES = ("ann", "bob", "cleo", "dan", "eve")
TONES = (330, 440, 550, 660, 880)
ROOM = "tea room"
TALK_S = 10.0
SHORT_TALK_S = 4.0
TILE_HEIGHT, TILE_FPS = 360, 15
"""What each asks of each, as a page does that shows five: they all share the cores of one machine."""
SOUND_ENOUGH = 0.9
"""Share of the time that everybody has to be heard by everybody."""
PICTURES_ENOUGH = 8.0
"""A second, at least."""


@dataclass(frozen=True, slots=True)
class Got:
    """What one member got of another while they talked."""

    pictures: int
    sound: float
    """Seconds."""
    height: int
    """Of the pictures: which layer came."""

    def since(self, before: Got) -> Got:
        """What came after ``before`` was looked at."""
        return Got(self.pictures - before.pictures, self.sound - before.sound, self.height)

    def lacks(self, seconds: float) -> str:
        """What is missing for so long a time, in words; empty: nothing."""
        if self.sound < SOUND_ENOUGH * seconds:
            return f"{self.sound:.1f} s of sound in {seconds:.1f} s"
        if self.pictures < PICTURES_ENOUGH * seconds:
            return f"{self.pictures} pictures in {seconds:.1f} s"
        return "" if self.height else "no layer"

    def __str__(self) -> str:
        return f"{self.pictures} f {self.sound:.1f} s {self.height}p"


Pairs = dict[tuple[str, str], Got]
"""By receiver and sender."""


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


async def totals(members: Sequence[Attendee]) -> tuple[Pairs, dict[str, float]]:
    """What each has of each until now, and when each said so, in seconds."""
    names = {one.peer.id: one.name for one in members}
    found: Pairs = {}
    moments: dict[str, float] = {}
    for one in members:
        view = await one.view()
        moments[one.name] = time.monotonic()
        for member in others(view):
            got = member["received"]
            if member["peer_id"] in names:
                found[one.name, names[member["peer_id"]]] = Got(
                    got["video_frames"], got["audio_seconds"], got["height"]
                )
    return found, moments


async def talk(members: Sequence[Attendee], seconds: float) -> list[str]:
    """Let them talk, print what every pair got, and return what any pair lacks."""
    before, begins = await totals(members)
    await asyncio.sleep(seconds)
    after, ends = await totals(members)
    names = [one.name for one in members]
    say(f"\n{seconds:.0f} s of talk: what each (row) got of each (column): pictures, sound, layer")
    say(" " * 6 + "".join(f"{name:<18}" for name in names).rstrip())
    lacking: list[str] = []
    for row in names:
        cells = []
        for column in names:
            if row == column:
                cells.append("-")
                continue
            pair = row, column
            if pair not in before or pair not in after:
                cells.append("nothing")
                lacking.append(f"{row} did not see {column} all the time")
                continue
            got = after[pair].since(before[pair])
            cells.append(str(got))
            lacks = got.lacks(ends[row] - begins[row])
            lacking += [f"{row} got of {column}: {lacks}"] if lacks else []
        say(f"{row:<6}" + "".join(f"{cell:<18}" for cell in cells).rstrip())
    return lacking


async def meet(lab: Lab) -> list[str]:
    """The whole meeting; what was off. Raises LabError, OSError."""
    lan = await lab.lan(NAMES)
    members = [Attendee(Peer(lan[name])) for name in NAMES]
    ann, *_, eve = members
    say(f"Starting {len(members)} daemons, each in a network namespace of its own, without any route out ...")
    await asyncio.gather(*(one.peer.start("--lan-only", "--name", one.name) for one in members))

    begin = time.monotonic()
    await ann.create(ROOM, source=f"testsrc:{TONES[0]}")
    say(f"{ann.name} makes the room {ROOM!r}; the others find it on the LAN and go in")
    for one, tone in zip(members[1:], TONES[1:], strict=True):
        await one.join(ROOM, source=f"testsrc:{tone}")
    await agree(members)
    say(f"all {len(members)} agree on who is there, {time.monotonic() - begin:.1f} s after the room was made")
    await all_media(members)
    say(f"everybody hears and sees everybody, {time.monotonic() - begin:.1f} s after it")
    await ask_for_tiles(members, TILE_HEIGHT, TILE_FPS)
    lacking = await talk(members, TALK_S)

    begin = time.monotonic()
    await eve.do("leave")
    await agree(members[:-1])
    say(f"\n{eve.name} leaves; the others agree on that after {time.monotonic() - begin:.2f} s")
    lacking += await talk(members[:-1], SHORT_TALK_S)

    code = (await ann.do("code"))["code"]
    begin = time.monotonic()
    await eve.join(code, source=f"testsrc:{TONES[-1]}")
    await agree(members)
    await all_media(members)
    say(
        f"\n{eve.name} comes again with the code {code} that {ann.name} told her;"
        f" everybody hears and sees everybody after {time.monotonic() - begin:.2f} s"
    )
    await ask_for_tiles(members, TILE_HEIGHT, TILE_FPS)
    return lacking + await talk(members, SHORT_TALK_S)


async def run() -> list[str]:
    """The lab around it."""
    async with Lab(directory=OUT / "lab") as lab:
        return await meet(lab)


def main() -> int:
    """Prepare the folder, meet, and say how it went."""
    if OUT.exists() and not MARKER.exists():
        say(f"demo failed: {OUT} was not made by this demo; move it away")
        return 1
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    MARKER.touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("demo failed: stopped"))
    try:
        lacking = asyncio.run(run())
    except (LabError, OSError) as error:
        say(f"\ndemo failed: {error}\nlogs: {OUT}/lab")
        return 1
    for line in lacking:
        say(f"lacking: {line}")
    say("" if lacking else "\nAll is well.")
    return 1 if lacking else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
