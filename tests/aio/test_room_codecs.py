"""A member of a room that has other codecs than the others, or sends another one than was agreed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from meshcall import node as node_module
from meshcall.aio.media import encoders, studio
from meshcall.aio.rtc.endpoint import RtcEndpoint
from meshcall.media.endpoint import MediaEndpoint
from meshcall.media.plan import MediaPlan
from meshcall.node import Node
from meshcall.signaling import description
from meshcall.signaling.codecs import G722, H264, OPUS, Codec, CodecType
from meshcall.signaling.description import Description, decode_description_untrusted
from meshcall.views import MemberView
from tests.aio.test_rooms import StartNode, agree, names, start, until

__all__ = ["start"]

VP9 = CodecType(30, "VP9", "video", 90_000)
"""Of a stack that has what ours has not."""

Change = Callable[[Description], Description]


def only(*types: CodecType) -> Change:
    """It has these and nothing else."""

    def change(described: Description) -> Description:
        sections = (
            replace(section, codecs=tuple(one for one in section.codecs if one.type in types))
            for section in described.sections
        )
        return replace(described, sections=tuple(sections))

    return change


def vp9(described: Description) -> Description:
    """Its pictures are VP9 and nothing else."""
    return replace(
        described,
        sections=tuple(
            replace(section, codecs=(Codec(VP9, 98),)) if section.kind == "video" else section
            for section in described.sections
        ),
    )


class Other:
    """An endpoint whose descriptions have other codecs."""

    def __init__(self, endpoint: MediaEndpoint, change: Change) -> None:
        self._endpoint = endpoint
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    def _changed(self, data: bytes) -> bytes:
        # not Description.encode(), which refuses what no profile has
        return description._encode(self._change(decode_description_untrusted(data)))

    async def offer(self) -> bytes:
        return self._changed(await self._endpoint.offer())

    async def answer(self, offer: bytes) -> bytes:
        if self._change is not vp9:  # its own stack then answers with what it has
            return await self._endpoint.answer(self._changed(offer))
        return self._changed(await self._endpoint.answer(offer))


def give(monkeypatch: pytest.MonkeyPatch, node: Node, change: Change) -> None:
    """From now on ``node`` has other codecs than the others."""
    make: Callable[..., Any] = vars(node_module)["make_endpoint"]

    async def made(plan: MediaPlan, port: Any = None, resolve: Any = None) -> Any:
        endpoint = await make(plan, port, resolve)
        assert isinstance(endpoint, RtcEndpoint)
        return Other(endpoint, change) if port is node._ice else endpoint

    monkeypatch.setattr(node_module, "make_endpoint", made)


def others(node: Node) -> dict[str, MemberView]:
    return {one.name: one for one in node.rooms.view("-").members if not one.me}


def hears_and_sees(node: Node, *whom: str) -> bool:
    """Whether sound and pictures of all of them come."""
    there = others(node)
    return all(
        who in there and there[who].received.video_frames > 3 and there[who].received.audio_seconds > 0.5
        for who in whom
    )


async def test_a_member_with_other_codecs_is_heard_and_seen(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H.264 and G.722 with that one, VP8 and Opus among the others, all at once from one source."""
    ann, ben, cem = [
        await start(who, source=f"testsrc:{440 + 100 * len(who)}") for who in ("ann", "ben", "cem")
    ]
    give(monkeypatch, cem, only(H264, G722))
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("-").uri
    await ben.rooms.join(link)
    await cem.rooms.join(link)
    await agree(ann, ben, cem)
    await until(lambda: hears_and_sees(ann, "ben", "cem"), 30)
    await until(lambda: hears_and_sees(ben, "ann", "cem") and hears_and_sees(cem, "ann", "ben"), 30)
    links = {call.peer: call.driver.statistics() for call in next(iter(ann.rooms._sessions.values())).links}
    assert (links[cem.peer_id].video.codec, links[cem.peer_id].audio.codec) == ("H264", "G722")
    assert (links[ben.peer_id].video.codec, links[ben.peer_id].audio.codec) == ("VP8", "opus")


async def test_a_member_that_has_no_codec_of_ours_is_refused_and_the_room_goes_on(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told why, and go on with each other."""
    ann, ben, cem = [await start(who, source="testsrc") for who in ("ann", "ben", "cem")]
    give(monkeypatch, cem, vp9)
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("-").uri
    await ben.rooms.join(link)
    await agree(ann, ben)
    await cem.rooms.join(link)
    await until(lambda: "no call in common" in ann.rooms.view("-").trouble, 30)
    assert cem.peer_id.short in ann.rooms.view("-").trouble
    before = others(ann)["ben"]
    await until(lambda: others(ann)["ben"].received.video_frames > before.received.video_frames + 10, 30)
    assert others(ann)["ben"].call == before.call
    assert names(ann) == names(ben) == ["ann", "ben"]


class Junk:
    """An encoder of something else than was agreed."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def encode(self, frame: object, pts: int, *, key: bool, rate: int) -> tuple[bytes, bool]:
        return self._random.randbytes(700), key


async def test_a_member_that_sends_another_codec_than_was_agreed_is_heard_all_the_same(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures do not decode; its sound, the link, and the pictures of the others do."""
    monkeypatch.setattr(studio, "make_picture_encoder", lambda codec, *size: _encoder(codec, *size))
    ann, ben, eve = [await start(who, source="testsrc") for who in ("ann", "ben", "eve")]
    give(monkeypatch, eve, only(H264, OPUS))
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("-").uri
    await ben.rooms.join(link)
    await eve.rooms.join(link)
    await agree(ann, ben, eve)
    await until(lambda: hears_and_sees(ann, "ben") and hears_and_sees(ben, "ann"), 30)
    await until(lambda: others(ann)["eve"].received.audio_seconds > 3, 30)
    assert others(ann)["eve"].received.video_frames == 0
    assert names(ann) == names(ben) == names(eve) == ["ann", "ben", "eve"]


def _encoder(codec: str, width: int, height: int, rate: int, fps: int) -> Any:
    """What goes to and comes from eve, who alone has H.264, is junk."""
    return Junk() if codec == "H264" else encoders.make_picture_encoder(codec, width, height, rate, fps)
