"""The studio: one opened source, encoded once, whoever and how many are sent it.

Law 1: there is one encoder for each codec and layer that somebody is sent, whatever the number of peers.
Law 2: encoders run in threads of their own; what waits for one is bounded, and a late picture is left out.
The loop chooses what is encoded, and hears of what was made: nothing on the way there passes it.
Law 3: nothing is taken from the source before the first gate opens; then each peer gets what is encoded from
its own gate on, pictures from a keyframe on.
Law 4: endpoints with the same room share a studio, and what the room is recorded by; it closes with the last
of them.
Law 5: of ourselves what is sent to nobody is not recorded either.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import av
from av.video.reformatter import VideoReformatter

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.encoded import Encoded, Outlet
from meshcall.aio.media.encoders import (
    PictureEncoder,
    SoundEncoder,
    make_picture_encoder,
    make_sound_encoder,
)
from meshcall.aio.media.loudness import loudness
from meshcall.aio.media.mixer import Mixer, Part
from meshcall.aio.media.readers import AUDIO_BASE, FRAME_SAMPLES, VIDEO_BASE
from meshcall.aio.media.sources import OnEnded, PictureTrack, SoundTrack, Source, open_source
from meshcall.aio.media.threads import Lane, call_in_loop, wait_threads
from meshcall.errors import SourceUnusable
from meshcall.media import opus
from meshcall.media.keyframes import Keyframes
from meshcall.media.layers import Choice, Layer, Layers, Size, bits_middle
from meshcall.media.packing import frames_for, packets_of
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.media.speech import Silence, Speech
from meshcall.media.uplink import Uplink

_TICKS = 90_000
"""A second, in the time of pictures."""
_WARM_PTS = -3000
"""Of the picture that opens an encoder: just before the first one, which has time 0."""
_SOON = 0.02
"""Seconds that a change of rates or wishes waits for others."""
_OPUS = "opus"
"""As an SDP's rtpmap calls it."""
_EARLY = 0.75
"""Share of the time between two pictures of a layer from which on the next one is not too early."""


class PictureLine:
    """One layer in one codec: an encoder, and the outlets that get what it makes."""

    def __init__(self, codec: str, layer: Layer, counters: Counter[str], unscaled: threading.Lock) -> None:
        """``unscaled``: held while a frame is encoded that other lines encode as it is, too."""
        self.outlets: set[Outlet] = set()
        self.rate = 0
        """Bits a second."""
        self.fps = layer.fps
        """Pictures a second at most."""
        self.idle_since: float | None = None
        """When the last outlet went."""
        self._codec = codec
        self._layer = layer
        self._counters = counters
        self._unscaled = unscaled
        self._loop = asyncio.get_running_loop()
        self._keyframes = Keyframes()
        self._asking = threading.Lock()
        """Of ``_keyframes``: the loop asks, and who offers pictures asks whether it did."""
        self._last = float("-inf")
        self._handed = 0  # written by the encoder's thread only
        self._heard = 0  # written by the loop only
        self._encoder: PictureEncoder | None = None
        self._size: Size | None = None
        self._scaler = VideoReformatter()
        """Of this line's own: that of a frame is shared by all threads that scale it, and crashes."""
        self._lane: Lane[tuple[av.VideoFrame, int, bool, int]] = Lane(
            self._encode, limits.ENCODE_PICTURES_WAITING, f"encode-{codec}-{layer}"
        )

    @property
    def thread(self) -> threading.Thread:
        """Where it is encoded."""
        return self._lane.thread

    @property
    def failures(self) -> int:
        """How often an encoder refused a frame, or would not open."""
        return self._lane.failures

    def load(self) -> float:
        """The share of the time that its encoder worked since this was asked last, 0 to 1."""
        return self._lane.load()

    def want_keyframe(self) -> None:
        """An outlet can't go on without one."""
        with self._asking:
            self._keyframes.want()

    def warm(self, size: tuple[int, int]) -> None:
        """Open the encoder in advance, which takes libvpx 20 ms."""
        self._lane.put((readers.black(*size), _WARM_PTS, True, limits.PICTURES_RATE_START))

    # the side of the thread that has the pictures

    def wants(self, pts: int) -> bool:
        """Whether it is time for a picture, for somebody, and the loop has sent the ones before."""
        if not self.outlets or self._handed - self._heard >= limits.ENCODE_PICTURES_WAITING:
            return False
        return (pts - self._last) * self.fps >= _EARLY * _TICKS

    def offer(self, frame: av.VideoFrame, pts: int) -> None:
        """Encode a picture that is wanted, if not two are waiting already."""
        now = self._loop.time()
        with self._asking:
            key = self._keyframes.due(now)
            if not self._lane.put((frame, pts, key, self.rate)):
                self._counters["encoder-behind"] += 1
                return
            if key:
                self._keyframes.made(now)
        self._last = pts

    # the encoder's side

    def _encode(self, item: tuple[av.VideoFrame, int, bool, int]) -> None:
        """In the thread."""
        frame, pts, key, rate = item
        whole = Size(frame.width, frame.height)
        size = whole.fit(self._layer.height)
        if self._encoder is None or size != self._size:
            opened_with = bits_middle(size, self._layer.fps)
            self._encoder = make_picture_encoder(
                self._codec, size.width, size.height, opened_with, self._layer.fps
            )
            self._size = size
        if size == whole:
            with self._unscaled:
                data, is_key = self._encoder.encode(frame, pts, key=key, rate=rate)
        else:
            frame = self._scaler.reformat(
                frame, width=size.width, height=size.height, interpolation="FAST_BILINEAR", threads=1
            )
            data, is_key = self._encoder.encode(frame, pts, key=key, rate=rate)
        if data and pts >= 0:
            self._handed += 1
            call_in_loop(self._loop, self._made, Encoded(data, pts, VIDEO_BASE, is_key))

    def _made(self, encoded: Encoded) -> None:
        self._heard += 1
        for outlet in tuple(self.outlets):
            outlet.put(encoded, self)
            if outlet.origin is not self and outlet.wanted is not self:
                self.outlets.discard(outlet)  # it went over to another line

    def close(self) -> None:
        """End the thread."""
        self._lane.close()


@dataclass(frozen=True, slots=True)
class _Order:
    """What the loop wants of the sound."""

    number: int
    """Of who was there: higher with each that came."""
    codecs: frozenset[str]
    size: int
    """Frames in a packet of Opus; those of other codecs have one each."""
    loss: float
    """By who loses most, 0 to 1."""


class SoundLines:
    """Sound in each codec that somebody is sent: their encoders, in one thread, which paces itself."""

    def __init__(self, channels: int) -> None:
        """``channels``: of the source."""
        self.outlets: dict[Outlet, str] = {}
        """And the codec of each."""
        self.speaking = False
        """Whether somebody speaks."""
        self.on_speech: Callable[[], None] = lambda: None
        """Is called when that changes."""
        self.own: Part | None = None
        """Ourselves in the recording of the room."""
        self.failures = 0
        """How often an encoder refused a frame, or would not open."""
        self._loss: dict[Outlet, float] = {}
        self._since: dict[Outlet, int] = {}
        """The number of the first order that each was there for."""
        self._order = _Order(0, frozenset(), 1, 0.0)
        self._channels = channels
        self._loop = asyncio.get_running_loop()
        self._encoders: dict[str, SoundEncoder] = {}
        self._early: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        """Codecs whose encoders are opened before the start, which is None."""
        self._silence = Silence()
        self._speech = Speech()

    # the loop's side

    def connect(self, outlet: Outlet, codec: str) -> None:
        """Feed ``outlet`` from now on: what was said before is for the others."""
        self.outlets[outlet] = codec
        self._since[outlet] = self._order.number + 1
        self._arrange(self._since[outlet])

    def disconnect(self, outlet: Outlet) -> None:
        """Feed it no more. Idempotent."""
        for known in (self.outlets, self._since, self._loss):
            known.pop(outlet, None)
        self._arrange(self._order.number)

    def set_loss(self, outlet: Outlet, share: float) -> None:
        """So much of the sound to one peer does not arrive, 0 to 1."""
        self._loss[outlet] = share
        self._arrange(self._order.number)

    def _arrange(self, number: int) -> None:
        loss = max(self._loss.values(), default=0.0)
        self._order = _Order(
            number, frozenset(self.outlets.values()), frames_for(len(self.outlets), loss), loss
        )

    def warm(self, codec: str) -> None:
        """Open an encoder in advance, which takes FFmpeg 10 ms."""
        self._early.put(codec)

    def start(self) -> None:
        """Take sound from now on, or find that there will be none."""
        self._early.put(None)

    def _made(self, made: Mapping[str, list[Encoded]], number: int) -> None:
        for outlet, codec in self.outlets.items():
            if self._since[outlet] <= number:
                for encoded in made.get(codec, ()):
                    outlet.put(encoded)

    def _spoken(self, speaking: bool) -> None:
        self.speaking = speaking
        self.on_speech()

    # the thread's side

    def run(self, track: SoundTrack) -> None:
        """Encode what ``track`` gives, to its end."""
        while (codec := self._early.get()) is not None:
            self._try(partial(self._encoder, codec))
        while True:
            order, first = self._order, track.frames_sent
            frames = track.take(order.size)
            if frames is None:
                return
            self._try(partial(self.encode, frames, first * FRAME_SAMPLES, order))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - whatever FFmpeg raises for one frame; the next one may do
            self.failures += 1

    def _encoder(self, codec: str) -> SoundEncoder:
        encoder = self._encoders.get(codec)
        if encoder is None:
            encoder = self._encoders[codec] = make_sound_encoder(codec, self._channels)
        return encoder

    def encode(self, frames: Sequence[bytes], pts: int, order: _Order) -> None:
        """What is sent together, of 20 ms each, the first of them at ``pts``."""
        made: dict[str, list[Encoded]] = {codec: [] for codec in order.codecs}
        for octets in frames:
            level = loudness(octets, self._channels)
            if self._speech.heard(level):
                call_in_loop(self._loop, self._spoken, self._speech.speaking)
            silent = self._silence.skip(level)  # there is nothing to hear, which Opus can tell
            for codec, packets in made.items():
                encoder = self._encoder(codec)
                encoder.expect_loss(order.loss)
                encoded = encoder.encode(octets)
                if not (silent and codec == _OPUS):
                    packets += [
                        Encoded(data, pts + index * FRAME_SAMPLES, AUDIO_BASE, level=level)
                        for index, data in enumerate(encoded)
                    ]
            if order.codecs and (own := self.own) is not None:
                call_in_loop(self._loop, own.put, _heard(octets, self._channels, pts))
            pts += FRAME_SAMPLES
        if _OPUS in made:
            made[_OPUS] = [_joined(packet) for packet in packets_of(made[_OPUS], _follows)]
        if any(made.values()):
            call_in_loop(self._loop, self._made, made, order.number)


def _heard(octets: bytes, channels: int, pts: int) -> av.AudioFrame:
    """For a recording."""
    frame = readers.frame_of(octets, channels)
    frame.pts, frame.time_base = pts, AUDIO_BASE
    return frame


def _follows(one: Encoded, other: Encoded) -> bool:
    return other.pts == one.pts + FRAME_SAMPLES and opus.joins(one.data, other.data)


def _joined(frames: list[Encoded]) -> Encoded:
    """One packet, as loud as the loudest of its frames."""
    first = frames[0]
    if len(frames) == 1:
        return first
    level = max(frame.level for frame in frames if frame.level is not None)
    data = opus.join([frame.data for frame in frames])
    return replace(first, data=data, level=level, frames=len(frames))


class Ends:
    """What is told of the end of a source, once for each kind: to who listens, and who comes later."""

    def __init__(self) -> None:
        self._listeners: list[OnEnded] = []
        self._ended: list[MediaKind] = []

    def listen(self, listener: OnEnded) -> None:
        """Tell ``listener``."""
        self._listeners.append(listener)
        for kind in self._ended:
            listener(kind)

    def forget(self, listener: OnEnded) -> None:
        """Tell it no more. Idempotent."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def tell(self, kind: MediaKind) -> None:
        """There is no more of this kind."""
        self._ended.append(kind)
        for listener in tuple(self._listeners):
            listener(kind)


class Studio:
    """See the module. Made by :func:`enter`."""

    def __init__(self, source: Source, ends: Ends) -> None:
        """``source``: opened, and what it tells its end to."""
        self.source = source
        source.wanted = self._wanted
        self.ends = ends
        self.counters: Counter[str] = Counter()
        self.uplink = Uplink()
        """That all who are sent this share."""
        self._loop = asyncio.get_running_loop()
        self._sound = SoundLines(source.channels)
        self._sound.on_speech = self._tell_speech
        self._speech_listeners: list[Callable[[bool], None]] = []
        self._layers = Layers()
        self._lines: dict[tuple[str, Layer], PictureLine] = {}
        self._choices: Mapping[Hashable, Choice] = {}
        self._unscaled = threading.Lock()
        self._shown: tuple[int, int] | None = None
        """Width and height of the last picture."""
        self._recorded = float("-inf")
        """Time of the last picture for the recording of the room."""
        self.running = False
        """A gate was opened."""
        self._timer: asyncio.TimerHandle | None = None
        self._arranging: asyncio.TimerHandle | None = None
        self._mixer: Mixer | None = None
        self._own: Part | None = None
        """Ourselves in the recording of the room."""
        if source.sound is not None:
            source.start("encode-sound", partial(self._sound.run, source.sound))

    def kinds(self) -> frozenset[MediaKind]:
        """What the source has."""
        has: dict[MediaKind, bool] = {
            "audio": self.source.sound is not None,
            "video": self.source.pictures is not None,
        }
        return frozenset(kind for kind, there in has.items() if there)

    def counted(self) -> dict[str, int]:
        """What encoders left out or failed at, and how often a device was unplugged."""
        counts = Counter(self.counters)
        counts["encoder-failed"] = self._sound.failures + sum(x.failures for x in self._lines.values())
        for name, device in self.source.devices.items():
            counts[f"{name}-lost"] = device.lost
        if self._mixer is not None:
            counts.update(self._mixer.counters)
        return {reason: count for reason, count in counts.items() if count}

    async def warm(self, kind: MediaKind, codec: str, shown: tuple[int, int] | None = None) -> None:
        """Open the encoder in advance, unless it is in use already; ``shown``: height and pictures a second
        that are wanted, if not all.
        """
        if self.running:
            return
        if kind == "audio":
            self._sound.warm(codec)
            return
        size = None if self.source.pictures is None else await self.source.pictures.size()
        if size is not None and not self.running:
            self._layers.resize(Size(*size))
            self._line(codec, self._layers.highest(*(shown or ()))).warm(size)

    def connect(self, outlet: Outlet, codec: str) -> None:
        """Feed ``outlet`` from now on."""
        if outlet.kind == "audio":
            self._sound.connect(outlet, codec)
        else:
            self._layers.add(outlet, codec)
            self._arrange()

    def disconnect(self, outlet: Outlet) -> None:
        """Feed it no more. Idempotent."""
        self._sound.disconnect(outlet)
        self._layers.remove(outlet)
        for line in self._lines.values():
            line.outlets.discard(outlet)
        self._arrange()

    def listen(self, on_speech: Callable[[bool], None]) -> None:
        """Tell from now on whether somebody speaks: with each change, and now if somebody does."""
        self._speech_listeners.append(on_speech)
        if self._sound.speaking:
            on_speech(True)

    def forget(self, on_speech: Callable[[bool], None]) -> None:
        """Tell no more. Idempotent."""
        if on_speech in self._speech_listeners:
            self._speech_listeners.remove(on_speech)

    def _tell_speech(self) -> None:
        for listener in tuple(self._speech_listeners):
            listener(self._sound.speaking)

    def open_gate(self) -> None:
        """A gate is open: let the source run. Idempotent."""
        if self.running:
            return
        self.running = True
        self.source.open_gate()
        self._tick()
        self._sound.start()
        if self.source.pictures is not None:
            self.source.start("send-pictures", partial(self._show_all, self.source.pictures))

    def record(self, path: Path, *, pictures: bool) -> Mixer:
        """Record the room, from now on, to the file that was named first; ``pictures``: not sound alone."""
        if self._mixer is None:
            self._mixer = Mixer(path, pictures=pictures)
            self._own = self._sound.own = self._mixer.part(seen=self.source.pictures is not None)
        return self._mixer

    def record_by(self, mixer: Mixer) -> None:
        """What is sent of this, too, is recorded by ``mixer``, which is another studio's. Idempotent."""
        if self._own is None:
            self._own = mixer.part()

    def want_keyframe(self, outlet: Outlet) -> None:
        """The peer behind ``outlet`` can't go on without one."""
        for line in self._lines.values():
            if line in (outlet.origin, outlet.wanted):
                line.want_keyframe()

    def set_rate(self, outlet: Outlet, bits: int) -> None:
        """What may be sent to one peer: bits a second of pictures; 0: none."""
        if self._layers.rate(outlet, bits):
            self._arrange_soon()

    def set_layer(self, outlet: Outlet, height: int, fps: int) -> None:
        """What one peer can show: pixels (0: nothing), and pictures a second (0: any number)."""
        self._layers.ask(outlet, height, fps)
        self._arrange_soon()

    def set_loss(self, outlet: Outlet, share: float) -> None:
        """So much of the sound to one peer does not arrive, 0 to 1."""
        self._sound.set_loss(outlet, share)

    def useful(self, outlet: Outlet) -> int:
        """Bits a second of pictures beyond which more are no use to one peer."""
        return self._layers.useful(outlet)

    def choice(self, outlet: Outlet) -> Choice | None:
        """What one peer gets; None: it is not connected."""
        return self._choices.get(outlet)

    def _arrange_soon(self) -> None:
        """Each of many peers has news ten times a second, or as often as it likes."""
        if self._arranging is None:
            self._arranging = self._loop.call_later(_SOON, self._arrange)

    def _arrange(self) -> None:
        """Feed each outlet from the line of its layer."""
        if self._arranging is not None:
            self._arranging.cancel()
            self._arranging = None
        now = self._loop.time()
        arranged = self._layers.arrange(now)
        self._choices = arranged.choices
        for (codec, layer), bits in arranged.bits.items():
            line = self._line(codec, layer)
            line.rate, line.fps = bits, min(layer.fps, self._layers.load.fps)
        for outlet, choice in arranged.choices.items():
            assert isinstance(outlet, Outlet), "these are who was connected"
            codec, chosen = self._layers.codec(outlet), choice.layer
            self._feed(outlet, None if chosen is None else self._line(codec, chosen))
        self._close_idle(now)

    def _feed(self, outlet: Outlet, line: PictureLine | None) -> None:
        if outlet.wanted is line:
            return
        for one in self._lines.values():
            if one is not line and one is not outlet.origin:
                one.outlets.discard(outlet)
        outlet.feed_from(line)
        if line is None:
            for one in self._lines.values():
                one.outlets.discard(outlet)
        else:
            line.outlets.add(outlet)
            line.want_keyframe()

    def _close_idle(self, now: float) -> None:
        for key, line in tuple(self._lines.items()):
            if line.outlets:
                line.idle_since = None
            elif line.idle_since is None:
                line.idle_since = now
            elif self.running and now - line.idle_since > limits.LAYER_IDLE_MAX:
                line.close()
                del self._lines[key]

    def _line(self, codec: str, layer: Layer) -> PictureLine:
        key = codec, layer
        if key not in self._lines:
            self._lines[key] = PictureLine(codec, layer, self.counters, self._unscaled)
        return self._lines[key]

    def _tick(self) -> None:
        """Look whether this machine keeps up, and who can have more."""
        self._timer = self._loop.call_later(limits.LAYER_TICK, self._tick)
        busy = [line.load() for line in self._lines.values() if line.outlets]
        self._layers.load.measured(max(busy, default=0.0), self._loop.time())
        self._arrange()

    def _resized(self, size: Size) -> None:
        """Pictures come in another size."""
        if self._layers.resize(size):
            self._arrange()

    # the side of the thread that has the pictures

    def _show_all(self, track: PictureTrack) -> None:
        """Offer what ``track`` gives, to its end."""
        while (picture := track.next(self._wants)) is not None:
            self._show(*picture)

    def _lines_now(self) -> tuple[PictureLine, ...]:
        """The loop adds and takes away meanwhile; copying is one step of the interpreter."""
        return tuple(self._lines.values())

    def _wants(self, pts: int) -> bool:
        return self._records(pts) or any(line.wants(pts) for line in self._lines_now())

    def _wanted(self) -> int:
        """Pictures a second that somebody is sent, or that are recorded: never more than somebody is sent."""
        lines = self._lines_now()
        return max((line.fps for line in lines if line.outlets), default=limits.SOURCE_RATE_MAX)

    def _records(self, pts: int) -> bool:
        """Whether it is time for a picture in the recording, of what is sent to somebody."""
        early = (pts - self._recorded) * limits.MIX_FPS < _EARLY * _TICKS
        return self._own is not None and not early and bool(self._choices)

    def _show(self, frame: av.VideoFrame, pts: int) -> None:
        """A picture that is due."""
        if (frame.width, frame.height) != self._shown:
            self._shown = frame.width, frame.height
            call_in_loop(self._loop, self._resized, Size(*self._shown))
        for line in self._lines_now():
            if line.wants(pts):
                line.offer(frame, pts)
        if self._own is not None and self._records(pts):
            self._recorded = pts
            call_in_loop(self._loop, self._own.put, frame)

    # the end

    async def close(self) -> None:
        """End everything."""
        for timer in (self._timer, self._arranging):
            if timer is not None:
                timer.cancel()
        self._sound.start()  # what never began ends as well
        await self.source.close()
        if self._mixer is not None:
            await self._mixer.close()
        elif self._own is not None:
            self._own.leave()
        for line in self._lines.values():
            line.close()
        await wait_threads([line.thread for line in self._lines.values()], 1.0)


class _Shared:
    """A studio that the endpoints of one room have, or that is being opened for them."""

    def __init__(self, opening: asyncio.Task[Studio]) -> None:
        self.opening = opening
        self.users = 0


_shared: dict[Hashable, _Shared] = {}


async def enter(plan: MediaPlan, node: object) -> tuple[Studio, Callable[[], Awaitable[None]]]:
    """The studio for an endpoint with ``plan``, and what it calls when it needs it no more.

    ``node``: whose endpoint it is; studios are shared among those of one node. Raises
    :class:`SourceUnusable`.
    """
    if not plan.room:
        studio = await _open(plan)
        return studio, studio.close
    key = (asyncio.get_running_loop(), node, plan.room, plan.source, plan.audio, plan.video)
    shared = _shared.get(key)
    if shared is None:
        shared = _shared[key] = _Shared(asyncio.create_task(_open(plan), name="studio-open"))
    shared.users += 1
    leave = partial(_leave, key, shared)
    try:
        return await asyncio.shield(shared.opening), leave
    except BaseException:
        await leave()
        raise


async def _open(plan: MediaPlan) -> Studio:
    ends = Ends()
    return Studio(await open_source(plan, ends.tell), ends)


async def _leave(key: Hashable, shared: _Shared) -> None:
    shared.users -= 1
    if shared.users > 0:
        return
    if _shared.get(key) is shared:
        del _shared[key]
    try:
        studio = await shared.opening
    except SourceUnusable:
        return
    await studio.close()
