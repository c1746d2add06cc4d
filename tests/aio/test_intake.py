"""What comes out of a decoder's thread, and what of it the loop hears."""

from __future__ import annotations

import asyncio
import threading

import av

from meshcall.aio.rtc.intake import Frame, Intake


async def test_the_loop_hears_of_the_first_and_of_what_is_taken() -> None:
    """All is counted; frames come on the loop, in order, from the moment on that somebody takes them."""
    heard: list[object] = []
    loop_thread = threading.get_ident()

    def first() -> None:
        heard.append(("first", threading.get_ident() == loop_thread))

    def take(frame: Frame) -> None:
        heard.append((frame.pts, threading.get_ident() == loop_thread))

    intake = Intake(first, take)

    def decode(*numbers: int) -> None:
        for number in numbers:
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts = number
            intake.count(0.02)
            intake.put(frame)

    await asyncio.to_thread(decode, 0, 1, 2)
    assert heard == [("first", True)]
    intake.taken = True
    await asyncio.to_thread(decode, 3, 4)
    assert heard[1:] == [(3, True), (4, True)]
    intake.taken = False
    await asyncio.to_thread(decode, 5)
    assert len(heard) == 3
    assert (intake.frames, round(intake.seconds, 3)) == (6, 0.12)


def test_a_loop_that_is_over_ends_no_thread() -> None:
    """A decoder that comes to its end after the loop did has nobody to tell."""

    async def make() -> Intake:
        return Intake(lambda: None, lambda frame: None)

    intake = asyncio.run(make())
    intake.count()
    assert intake.frames == 1
