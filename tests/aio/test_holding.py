"""Pictures that are held."""

from __future__ import annotations

import asyncio

import av

from meshcall import limits
from meshcall.aio.rtc.holding import Frame, Holding


def picture(number: int) -> av.VideoFrame:
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.pts = number
    return frame


async def test_held_pictures_come_in_order_and_too_many_at_once() -> None:
    """A shorter hold does not overtake; nothing is held for ever, and after the end nothing comes."""
    shown: list[int | None] = []

    def show(frame: Frame) -> None:
        shown.append(frame.pts)

    holding = Holding(show)
    holding.put(picture(0), 0.0)
    assert shown == [0]
    holding.put(picture(1), 0.03)
    holding.put(picture(2), 0.0)
    assert shown == [0]
    await asyncio.sleep(0.05)
    assert shown == [0, 1, 2]
    for number in range(limits.PICTURES_HELD_MAX + 2):
        holding.put(picture(number), 10.0)
    assert shown[3:] == [0, 1]
    holding.close()
    holding.close()
    await asyncio.sleep(0)
    assert len(shown) == 5
