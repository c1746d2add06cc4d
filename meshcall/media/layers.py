"""Which layer of the pictures each peer is sent, and which ones must be encoded for that. Pure.

A layer is a size and a number of pictures a second. A peer gets the highest one that it can show, that its
way carries, and that this machine can encode.

Law 1: what is encoded is what somebody is sent, nothing else; nobody is sent what was not asked for.
Law 2: down at once, up after LAYER_UP_AFTER with bits to spare, and after twice as long each time that it did
not hold: a rate that wavers switches nothing.
Law 3: when the machine can't keep up, everybody gets fewer pictures a second, then smaller ones; it is tried
again after a while that doubles with each failure.
Law 4: the bits of a layer are those of the slowest way among those that get it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Literal

from meshcall import limits
from meshcall.media.degree import Degree, since

Why = Literal["", "asked", "rate", "cpu", "paused"]
"""Why a peer does not get the highest layer: it asked for less, its way or this machine is too slow, or there
is no room for pictures on its way at all. Empty: it gets it."""

_PIXELS: Final = 1280 * 720


@dataclass(frozen=True, slots=True)
class Layer:
    """A size and a rate of pictures."""

    height: int
    """Pixels at most; a source that has fewer stays as it is."""
    fps: int
    """Pictures a second at most."""

    def __str__(self) -> str:
        return f"{self.height}p{self.fps}"


CROWDED_FPS: Final = 15
"""Pictures a second up to which a layer is for a room of many: small tiles, one radio for all, and each
machine decodes what all the others encode."""
_CROWDED_HEIGHTS: Final = range(181, 361)
"""Those of 360p. 180p keeps its bits: no more is tried than one and a half of what arrives, and that is to be
enough for 360p."""

_MOST, _MOST_CROWDED = 3.5, 2.0
"""Times the least; libwebrtc gives pictures of 480x360 at 15 a second 2.3 times."""

LADDER: Final = (Layer(720, 30), Layer(360, 30), Layer(360, 15), Layer(180, 15))


@dataclass(frozen=True, slots=True)
class Size:
    """Of a picture."""

    width: int
    height: int

    def fit(self, height: int) -> Size:
        """Scaled down to ``height``, both even."""
        if height >= self.height:
            return self
        return Size(max(2, round(self.width * height / self.height) & ~1), max(2, height & ~1))


def bits_least(size: Size, fps: int) -> int:
    """Bits a second below which a smaller layer looks better: 700 kb/s at 720p30, 247 at 360p30.

    Fewer pixels and pictures need more bits each: the eye looks as long at any of them.
    """
    pixels, pictures = size.width * size.height / _PIXELS, fps / limits.SOURCE_RATE_MAX
    return round(700_000 * math.pow(pixels, 0.75) * math.pow(pictures, 0.6))


def bits_most(size: Size, fps: int) -> int:
    """Bits a second above which nobody sees a difference: 2,450 kb/s at 720p30, 326 at 360p15."""
    crowded = fps <= CROWDED_FPS and size.height in _CROWDED_HEIGHTS
    return round((_MOST_CROWDED if crowded else _MOST) * bits_least(size, fps))


def bits_middle(size: Size, fps: int) -> int:
    """What an encoder is opened with: its rate changes by half and twice of it."""
    return round(1.75 * bits_least(size, fps))


@dataclass(frozen=True, slots=True)
class Choice:
    """What one peer gets."""

    layer: Layer | None
    """None: no pictures."""
    why: Why


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What all get."""

    choices: dict[Hashable, Choice]
    """Peer to what it gets."""
    bits: dict[tuple[str, Layer], int]
    """Codec and layer to bits a second, of what must be encoded."""


@dataclass(slots=True)
class _Peer:
    codec: str
    rate: int = limits.PICTURES_RATE_START
    height: int | None = None
    """That it asked for; None: it did not ask."""
    fps: int = 0
    layer: Layer | None = None
    """That it gets."""
    spare_since: float | None = None
    """When its way began to carry a higher one."""
    raised_at: float = float("-inf")
    """When it was given a higher one last."""
    patience: dict[Layer, float] = field(default_factory=dict)
    """Seconds before it is given a layer that did not hold."""


class Load(Degree):
    """Whether this machine can encode what it is asked for: the share of the time that its encoder works.

    Degree 0: everything; 1: half of the pictures; 2: no more than 360p; 3: the lowest layer.
    """

    def __init__(self) -> None:
        super().__init__(high=limits.CPU_HIGH, high_after=limits.CPU_HIGH_AFTER, low=limits.CPU_LOW, most=3)

    @property
    def fps(self) -> int:
        """Pictures a second at most."""
        return 30 if self.degree == 0 else 15

    @property
    def height(self) -> int:
        """Of a picture at most."""
        return {0: 720, 1: 720, 2: 360, 3: 180}[self.degree]


def _ladder(size: Size) -> tuple[Layer, ...]:
    """For a source of this size: without what would be the same as the layer below it."""
    return tuple(
        layer
        for layer, below in zip(LADDER, [*LADDER[1:], None], strict=True)
        if below is None or layer.fps != below.fps or size.height > below.height
    )


class Layers:
    """Of one source of pictures."""

    def __init__(self) -> None:
        self.load = Load()
        self._peers: dict[Hashable, _Peer] = {}
        self._size = Size(0, 0)
        self._ladder: tuple[Layer, ...] = ()
        self._leasts: dict[Layer, int] = {}
        self.resize(Size(1280, 720))

    def add(self, peer: Hashable, codec: str) -> None:
        """A peer is to get pictures, in this codec."""
        self._peers.setdefault(peer, _Peer(codec)).codec = codec

    def remove(self, peer: Hashable) -> None:
        """It gets none any more. Idempotent."""
        self._peers.pop(peer, None)

    def resize(self, size: Size) -> bool:
        """Pictures come in this size; whether it is another one than before."""
        if size == self._size:
            return False
        self._size = size
        self._ladder = _ladder(size)
        self._leasts = {layer: bits_least(size.fit(layer.height), layer.fps) for layer in LADDER}
        return True

    def ask(self, peer: Hashable, height: int, fps: int) -> None:
        """It can show so much: pixels (0: no pictures), and pictures a second (0: any number)."""
        if peer in self._peers:
            one = self._peers[peer]
            one.height, one.fps = height, fps
            one.layer = one.spare_since = None  # no waiting for what was asked for

    def rate(self, peer: Hashable, bits: int) -> bool:
        """Its way carries so many bits a second of pictures; 0: none at all. Whether that is news."""
        one = self._peers.get(peer)
        if one is None or one.rate == bits:
            return False
        one.rate = bits
        return True

    def highest(self, height: int | None = None, fps: int = 0) -> Layer:
        """The highest layer of the source, or the highest that fits who can show so much."""
        return (self._fitting(height, fps) or self._ladder[-1:])[0]

    def size(self, layer: Layer) -> Size:
        """Of the pictures of a layer."""
        return self._size.fit(layer.height)

    def codec(self, peer: Hashable) -> str:
        """That a peer was added with."""
        return self._peers[peer].codec

    def useful(self, peer: Hashable) -> int:
        """Bits a second beyond which more are no use to it."""
        one = self._peers.get(peer)
        shown = () if one is None else self._shown(one)
        return bits_most(self.size(shown[0]), shown[0].fps) if shown else 0

    def arrange(self, now: float) -> Arrangement:
        """What each gets from now on."""
        choices = {peer: self._choose(one, now) for peer, one in self._peers.items()}
        bits: dict[tuple[str, Layer], int] = {}
        for one in self._peers.values():
            if one.layer is not None:
                size, fps = self.size(one.layer), min(one.layer.fps, self.load.fps)
                most = min(one.rate, bits_most(size, fps))
                key = (one.codec, one.layer)
                bits[key] = max(limits.PICTURES_RATE_MIN, min(most, bits.get(key, most)))
        return Arrangement(choices, bits)

    def _choose(self, one: _Peer, now: float) -> Choice:
        shown = self._shown(one)
        if not shown or not one.rate:
            one.layer = one.spare_since = None
            return Choice(None, "paused" if shown else "asked")
        able = self._able(shown)
        one.layer = self._carried(one, able, now)
        if one.layer != able[0]:
            return Choice(one.layer, "rate")
        if able[0] != shown[0] or self.load.fps < one.layer.fps:
            return Choice(one.layer, "cpu")
        return Choice(one.layer, "" if shown[0] == self.highest() else "asked")

    def _shown(self, one: _Peer) -> tuple[Layer, ...]:
        """The layers that it can show, the highest first."""
        return self._fitting(one.height, one.fps)

    def _fitting(self, height: int | None, fps: int) -> tuple[Layer, ...]:
        ladder = self._ladder
        if height is None:
            return ladder
        if height <= 0:
            return ()
        fps = fps or limits.SOURCE_RATE_MAX
        fits = [layer for layer in ladder if self.size(layer).height <= height and layer.fps <= fps]
        return tuple(fits) or ladder[-1:]

    def _able(self, shown: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Those of ``shown`` that this machine can encode, each at its rate of pictures once."""
        height, fps = self.load.height, self.load.fps
        able = (layer for layer in shown if layer.height <= height)
        return tuple(x for x in able if x.fps <= fps or Layer(x.height, fps) not in shown) or shown[-1:]

    def _carried(self, one: _Peer, able: tuple[Layer, ...], now: float) -> Layer:
        """The highest of ``able`` that its way carries."""

        def highest(share: float) -> Layer:
            carried = (layer for layer in able if one.rate >= share * self._least(layer))
            return next(carried, lowest)

        lowest, current = able[-1], one.layer
        if current is None or current not in able:
            one.spare_since = None
            return highest(1.0)
        kept = current == lowest or one.rate >= limits.LAYER_KEEP * self._least(current)
        above = highest(limits.LAYER_SPARE)
        spare = self._order(above) < self._order(current)
        one.spare_since = since(one.spare_since, spare, now)
        held = now - one.raised_at >= limits.LAYER_HELD
        if not kept:
            patience = one.patience.pop(current, limits.LAYER_UP_AFTER)
            if not held:
                one.patience[current] = min(2 * patience, limits.LAYER_UP_AFTER_MAX)
            return highest(1.0)
        patience = one.patience.get(above, limits.LAYER_UP_AFTER)
        if one.spare_since is not None and now - one.spare_since >= patience:
            one.spare_since, one.raised_at = None, now
            return above
        return current

    def _order(self, layer: Layer) -> int:
        return LADDER.index(layer)

    def _least(self, layer: Layer) -> int:
        return self._leasts[layer]
