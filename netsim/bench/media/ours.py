"""meshcall's media endpoint as one end of a measured call.

What it sends and what becomes of what arrives are replaced where the endpoint opens its source and its
recording: a source like a camera, whose frames have numbers, and a recorder that notes what it is given.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import av

from meshcall.aio.media import studio as studio_module
from meshcall.aio.media.readers import Picture, octets_of
from meshcall.aio.media.sources import OnEnded, PictureTrack, SoundTrack, Source, Tone
from meshcall.aio.media.threads import Feed
from meshcall.aio.rtc import endpoint as endpoint_module
from meshcall.media.endpoint import ControlOpen, Failed, MediaEndpoint, TransportLost
from meshcall.media.plan import MediaKind, MediaPlan
from netsim.bench.media.log import PlayedLog, SentLog
from netsim.bench.media.sources import Numbers, PictureForm


class _NumberedTone(Tone):
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def next(self) -> bytes:
        self._numbers.next_sound_due()
        stereo = octets_of(self._numbers.sound())
        return array("h", stereo)[::2].tobytes()


class _NumberedSource(Source):
    """A camera and a microphone that number what they see and hear."""

    def __init__(self, on_ended: OnEnded, sent: SentLog, form: PictureForm | None, *, sound: bool) -> None:
        super().__init__(on_ended)
        numbers = Numbers(sent, form)
        if sound:
            self.sound = SoundTrack(self.pace, on_ended, None, _NumberedTone(numbers))
        if form:
            feed: Feed[Picture] = Feed(1, newest=True)
            self.pictures = PictureTrack(self.pace, on_ended, feed, live=True)
            self._feeds.append(feed)
            thread = threading.Thread(target=_film, args=(numbers, feed), name="bench-camera", daemon=True)
            self._threads.append(thread)
            thread.start()


def _film(numbers: Numbers, feed: Feed[Picture]) -> None:
    while True:
        wait = numbers.next_picture_due() - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        if not feed.put((numbers.seconds, numbers.picture())):
            return


class _Tap:
    """In place of the recorder; the name of its file is the name of the call."""

    def __init__(self, played: PlayedLog) -> None:
        self.played = played
        self.start = asyncio.get_running_loop().time()
        self.dropped: Counter[MediaKind] = Counter()
        self.frames: dict[str, int] = {}
        self.path = None

    def put(self, kind: MediaKind, frame: av.AudioFrame | av.VideoFrame) -> None:
        self.played.take(frame)

    async def close(self) -> None:
        pass


class OurEngine:
    """Any number of calls that send the same."""

    def __init__(self, sent: SentLog, form: PictureForm | None, *, sound: bool, sends: bool) -> None:
        async def open_source(plan: MediaPlan, on_ended: OnEnded) -> Source:
            if not sends:
                return Source(on_ended)
            return _NumberedSource(on_ended, sent, form, sound=sound)

        def record(path: Path, *_: object, **__: object) -> _Tap:
            return _Tap(self._played[path.stem])

        _replace(studio_module, "open_source", open_source)
        _replace(endpoint_module, "Recorder", record)
        self._plan = MediaPlan("testsrc", room="bench", audio=sound, video=form is not None)
        self._calls: dict[str, MediaEndpoint] = {}
        self._played: dict[str, PlayedLog] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _make(self, name: str, played: PlayedLog) -> MediaEndpoint:
        self._played[name] = played
        plan = replace(self._plan, record=Path(f"{name}.mkv"))
        end = self._calls[name] = endpoint_module.make_endpoint(plan)
        task = asyncio.create_task(_open_gate(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return end

    async def offer(self, name: str, played: PlayedLog) -> str:
        """Our offer."""
        return base64.b64encode(await self._make(name, played).offer()).decode()

    async def answer(self, name: str, offer: str, played: PlayedLog) -> str:
        """Our answer."""
        answer = await self._make(name, played).answer(base64.b64decode(offer))
        return base64.b64encode(answer).decode()

    async def accept(self, name: str, answer: str) -> None:
        """Take the answer."""
        await self._calls[name].accept(base64.b64decode(answer))

    async def close(self) -> None:
        """End all calls."""
        await asyncio.gather(*(end.close() for end in self._calls.values()))


def _replace(module: ModuleType, name: str, value: Callable[..., Any]) -> None:
    assert hasattr(module, name), f"{module.__name__} has no {name}"
    setattr(module, name, value)


async def _open_gate(end: MediaEndpoint) -> None:
    async for event in end.events():
        if isinstance(event, ControlOpen):
            await end.open_gate()
        elif isinstance(event, Failed | TransportLost):
            raise RuntimeError(f"the call failed: {event}")
