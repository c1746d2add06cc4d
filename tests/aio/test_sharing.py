"""A screen that an endpoint without a browser shares beside its camera."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from meshcall.aio.media import studio
from meshcall.media.endpoint import FirstMedia, KindStats, ShareFailed, TransportLost
from tests.aio.test_rtc_endpoint import LOCAL, End, connect, ends, screens, until

CAMERA = replace(LOCAL, source="testsrc")


def screen(end: End) -> KindStats:
    """What one end counts of screens."""
    return end.endpoint.statistics().screen


def negotiated(end: End) -> dict[str, int]:
    """What its changes of the session met with."""
    counters = end.endpoint.statistics().counters
    return {name: count for name, count in counters.items() if "negotiate" in name}


async def gone(end: End) -> None:
    """Return when no pictures of a screen come any more."""
    await asyncio.sleep(0.4)
    before = screen(end).frames_received
    await asyncio.sleep(0.5)
    assert screen(end).frames_received == before


@pytest.mark.parametrize("caller", [True, False])
async def test_a_screen_is_shared_beside_the_camera(caller: bool) -> None:
    """By the caller and by the callee; it stops, and comes again in the same section, another source too."""
    async with ends(CAMERA, CAMERA) as (left, right):
        await (connect(left, right) if caller else connect(right, left))
        await right.wait_for(FirstMedia, 2)
        for source in ("testsrc", "testsrc:880", "testsrc"):
            left.endpoint.share(source)
            await screens(right, 15)
            camera = right.endpoint.statistics().video.frames_received
            left.endpoint.share("")
            await gone(right)
            assert right.endpoint.statistics().video.frames_received > camera, "the camera goes on"
        assert (screen(right).codec, screen(right).height) == ("VP8", 480)
        assert screen(left).frames_sent >= screen(right).frames_received > 40
        assert screen(left).frames_received == screen(right).frames_sent == 0
        assert left.endpoint._pc is not None
        assert len(left.endpoint._pc.getTransceivers()) == 3
        assert (negotiated(left), negotiated(right)) == ({}, {})


async def test_both_share_in_one_section() -> None:
    """One after the other, and each ends by itself."""
    async with ends(CAMERA, CAMERA) as (left, right):
        await connect(left, right)
        left.endpoint.share("testsrc")
        await screens(right, 5)
        right.endpoint.share("testsrc")
        await asyncio.gather(screens(left, 10), screens(right, 10))
        left.endpoint.share("")
        await gone(right)
        await screens(left, 10)
        left.endpoint.share("testsrc")
        await asyncio.gather(screens(left, 10), screens(right, 10))
        for end in (left, right):
            assert end.endpoint._pc is not None
            assert len(end.endpoint._pc.getTransceivers()) == 3


async def test_offers_cross() -> None:
    """Both share at the same moment, for the first time: the callee's offer gives way, and nobody waits."""
    async with ends(CAMERA, CAMERA) as (left, right):
        await connect(left, right)
        for _ in range(3):
            left.endpoint.share("testsrc")
            right.endpoint.share("testsrc")
            await asyncio.gather(screens(left, 5), screens(right, 5))
            left.endpoint.share("")
            right.endpoint.share("")
            await asyncio.gather(gone(left), gone(right))
        assert negotiated(left).keys() <= {"negotiate-crossed"}, "the caller's holds"
        assert negotiated(right) == {}
        assert left.of(TransportLost) == right.of(TransportLost) == []


async def test_what_a_peer_asks_for_is_sent() -> None:
    """Smaller, fewer, none, and all again; the camera is asked for apart."""
    async with ends(CAMERA, CAMERA) as (left, right):
        await connect(left, right)
        left.endpoint.set_layer("screen", 360, 15)  # before there is any
        left.endpoint.share("testsrc")
        await screens(right, 5)
        await until(lambda: screen(right).height == 360)
        assert screen(left).layer.startswith("360p15")
        assert right.endpoint.statistics().video.height == 480
        left.endpoint.set_layer("screen", 0, 0)
        await gone(right)
        assert screen(left).layer == "none asked"
        left.endpoint.set_layer("screen", 720, 0)
        await screens(right, 5)
        await until(lambda: screen(right).height == 480)


async def test_one_encoder_for_all_of_a_room() -> None:
    """Each of two peers gets the same pictures; who comes later, too; the last one closes the studio."""
    room = replace(CAMERA, room="r1")
    async with ends(room, CAMERA) as (one, first), ends(room, CAMERA) as (other, second):
        await connect(one, first)
        one.endpoint.share("testsrc:880")
        await screens(first, 5)
        other.endpoint.share("testsrc:880")  # wanted before it is connected
        await connect(other, second)
        await asyncio.gather(screens(first, 5), screens(second, 5))
        shared = await next(x for key, x in studio._shared.items() if "testsrc:880" in key).opening  # type: ignore[operator]
        assert len(shared._lines) == 1
        assert len(next(iter(shared._lines.values())).outlets) == 2
    assert studio._shared == {}


async def test_what_cant_be_opened_is_told(tmp_path: Path) -> None:
    """And ends nothing: another source is shared after it."""
    text = tmp_path / "notes.txt"
    text.write_text("no film")
    async with ends(CAMERA, CAMERA) as (left, right):
        await connect(left, right)
        left.endpoint.share(str(text))
        await left.wait_for(ShareFailed)
        left.endpoint.share("none")
        await left.wait_for(ShareFailed, 2)
        left.endpoint.share("testsrc")
        await screens(right, 5)
        assert len(left.of(ShareFailed)) == 2


async def test_sound_only_shares_nothing() -> None:
    """A call that began without pictures has no place for a screen, at either end."""
    for plans in ((CAMERA, replace(CAMERA, video=False)), (replace(CAMERA, video=False), CAMERA)):
        async with ends(*plans) as (left, right):
            await connect(left, right)
            await right.wait_for(FirstMedia)
            left.endpoint.share("testsrc")
            await asyncio.sleep(0.6)
            assert screen(right).frames_received == 0
            assert left.of(TransportLost) == right.of(TransportLost) == []


async def test_a_peer_that_answers_no_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is offered a few times, then left alone; the call goes on."""
    monkeypatch.setattr("meshcall.limits.CHANGE_PATIENCE", 0.2)
    async with ends(CAMERA, CAMERA) as (left, right):
        await connect(left, right)
        right.endpoint._changes.take = lambda data, **_: None  # type: ignore[method-assign]
        left.endpoint.share("testsrc")
        await until(lambda: negotiated(left).get("negotiate-unanswered") == 4)
        await asyncio.sleep(0.5)
        assert negotiated(left) == {"negotiate-unanswered": 4}
        assert screen(left).frames_sent == 0


async def test_the_recording_of_the_room_has_our_screen(tmp_path: Path) -> None:
    """A place of its own, for as long as it is shared."""
    room = replace(CAMERA, room="r2", mixed=tmp_path / "mixed.mkv")
    async with ends(room, CAMERA) as (left, right):
        await connect(left, right)
        await right.wait_for(FirstMedia, 2)
        mixer = left.endpoint._sending._mixer
        assert mixer is not None
        before = len(mixer._parts)
        left.endpoint.share("testsrc:880")
        await screens(right, 5)
        assert len(mixer._parts) == before + 1
        left.endpoint.share("")
        await gone(right)
        assert len(mixer._parts) == before
