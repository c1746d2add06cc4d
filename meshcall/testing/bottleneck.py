"""A narrow link in virtual time, and the flows that share it: for judging rate control without a network.

The link is one queue, first in, first out, with a rate that a schedule changes; what doesn't fit into the
queue is lost. Flows are calls (sound, pictures, the real controllers of ``meshcall.media``) and a flow that
behaves like TCP.

Law: the same seed and the same schedule give the same run.

    world = World(seed=1)
    link = Bottleneck(world, [(0, 3e6), (20, 0.6e6), (40, 3e6)])
    call = CallFlow(world, link)
    world.run(60)
    print(call.longest_gap(0, 60), call.picture_rate(30, 40))
"""

from __future__ import annotations

import heapq
import random as _random
from collections.abc import Callable, Sequence
from itertools import pairwise

from meshcall import limits
from meshcall.media.arrivals import Arrivals
from meshcall.media.layers import Layer, Layers
from meshcall.media.rate import RateControl
from meshcall.media.uplink import Uplink

_HEADERS = 70
"""Octets around a payload: RTP, its extensions, SRTP, UDP, IP."""
_SOUND = 80
"""Octets of 20 ms of Opus at 32 kbit/s."""


class World:
    """Virtual time."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.random = _random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Have ``call`` called then."""
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, call))

    def run(self, until: float) -> None:
        """Let time pass until then."""
        while self._events and self._events[0][0] <= until:
            self.now, _, call = heapq.heappop(self._events)
            call()
        self.now = until


class Bottleneck:
    """One direction of a link."""

    def __init__(
        self,
        world: World,
        rates: Sequence[tuple[float, float]],
        *,
        delay: float = 0.025,
        queue: float = 0.2,
        jitter: float = 0.0,
        loss: float = 0.0,
    ) -> None:
        """``rates``: from when how many bits per second pass; ``delay``: one way, seconds.

        ``queue``: longest wait for a turn, seconds; ``jitter``: up to so much more delay, without overtaking;
        ``loss``: share lost whatever the rate is.
        """
        self._world = world
        self._rates = list(rates)
        self.delay = delay
        self._queue = queue
        self._jitter = jitter
        self._loss = loss
        self._free = 0.0
        self._last = 0.0

    def rate(self) -> float:
        """Bits per second now."""
        return next(rate for since, rate in reversed(self._rates) if since <= self._world.now)

    def wait(self) -> float:
        """Seconds that a packet would wait now."""
        return max(0.0, self._free - self._world.now)

    def send(self, octets: int, arrived: Callable[[], None]) -> bool:
        """Send a packet; ``arrived`` is called when it is there. False: lost (the sender doesn't know)."""
        world = self._world
        if world.random.random() < self._loss or self.wait() > self._queue:
            return False
        self._free = max(world.now, self._free) + 8 * octets / self.rate()
        due = max(self._last, self._free + self.delay + self._jitter * world.random.random())
        self._last = due
        world.after(due - world.now, arrived)
        return True


class CallFlow:
    """The sound and pictures that one member sends to another, and the reports that come back."""

    def __init__(
        self,
        world: World,
        link: Bottleneck,
        *,
        start: float = 0.0,
        most: int = 2_000_000,
        uplink: Uplink | None = None,
        pace: float = 2.5,
        fill: float = 1.0,
    ) -> None:
        """``most``: bits per second that the encoder makes at most; ``uplink``: shared by a member's flows.

        ``pace``: how many times faster than its mean a picture leaves at most; 0: all at once. ``fill``: the
        share of what it may that the encoder makes; of pictures without much in them it is less than 1.
        """
        self._world = world
        self._link = link
        self._most = most
        self._uplink = uplink
        self._pace = pace
        self._fill = fill
        self.control = RateControl(world.now)
        self.arrivals = Arrivals()
        if uplink is not None:
            uplink.add(self, self.control)
        self._layers = Layers()
        self._layers.add(self, "VP8")
        self.layer: Layer | None = None
        """Of the pictures that are sent."""
        self.switches: list[tuple[float, Layer | None]] = []
        """When it was changed."""
        self.sound: list[float] = []
        """When each packet of sound arrived."""
        self.delays: list[tuple[float, float]] = []
        """When packets of sound arrived, and how long they took."""
        self.pictures: list[tuple[float, int]] = []
        """When packets of pictures arrived, and their octets."""
        self.targets: list[tuple[float, int]] = []
        """What was allotted, by time."""
        self.sound_sent = 0
        self._shown = 0
        self._heard_next = 0
        self._shown_next = 0
        self._received = 0
        self._reported = (0, 0)
        self._keyframe = True
        self._free_at = 0.0
        world.after(start, self._begin)

    def _begin(self) -> None:
        self._speak()
        self._film()
        self._report()

    def _speak(self) -> None:
        self._world.after(0.02, self._speak)
        number = self.sound_sent
        self.sound_sent += 1
        sent = self._world.now

        def arrived() -> None:
            self._received += 1
            self._heard_next = number + 1
            self.sound.append(self._world.now)
            self.delays.append((self._world.now, self._world.now - sent))

        self._link.send(_SOUND + _HEADERS, arrived)

    def _film(self) -> None:
        world = self._world
        if self._uplink is not None:
            self._uplink.look(world.now)
        allotted = self.control.allotment(world.now).pictures
        self.targets.append((world.now, allotted))
        self._layers.rate(self, allotted)
        arranged = self._layers.arrange(world.now)
        layer = arranged.choices[self].layer
        world.after(1 / (30 if layer is None else layer.fps), self._film)
        self._keyframe |= layer != self.layer
        if layer != self.layer:
            self.layer = layer
            self.switches.append((world.now, layer))
        if layer is None:
            return
        rate = min(arranged.bits["VP8", layer], self._most)
        octets = self._fill * rate / layer.fps / 8 * world.random.uniform(0.7, 1.3)
        if self._keyframe:
            octets, self._keyframe = octets * 6, False
        packets = max(1, -(-round(octets) // limits.RTP_PAYLOAD_MAX))
        self.control.sent(packets, round(octets), world.now)
        size = round(octets / packets)
        pause = 8 * (size + _HEADERS) / (self._pace * rate) if self._pace else 0.0
        at = max(world.now, self._free_at)
        for number in range(packets):
            world.after(at + number * pause - world.now, lambda: self._show(size))
        self._free_at = at + packets * pause

    def _show(self, size: int) -> None:
        sent = self._world.now
        number = self._shown
        self._shown += 1

        def arrived() -> None:
            now, back = self._world.now, self._link.delay
            self._received += 1
            missing, self._shown_next = number - self._shown_next, number + 1
            self.pictures.append((now, size))
            told = self.arrivals.add_untrusted(round(sent * (1 << 18)), now, size)
            if told is not None:
                self._world.after(back, lambda: self.control.estimated(told, self._world.now))
            if missing > 0:
                self._world.after(back, lambda: self.control.requested(missing, self._world.now))

        self._link.send(size + _HEADERS, arrived)

    def _report(self) -> None:
        world = self._world
        world.after(world.random.uniform(0.5, 1.5), self._report)
        sent = self._heard_next + self._shown_next
        expected, received = sent - self._reported[0], self._received - self._reported[1]
        self._reported = sent, self._received
        lost = max(0.0, 1 - received / expected) if expected else 0.0
        rtt = 2 * self._link.delay + self._link.wait()

        def told() -> None:
            self.control.reported(lost, world.now)
            self.control.measured(rtt, world.now)

        world.after(self._link.delay, told)

    def picture_rate(self, since: float, until: float) -> float:
        """Bits per second of pictures that arrived."""
        return 8 * sum(size for when, size in self.pictures if since <= when < until) / (until - since)

    def longest_gap(self, since: float, until: float) -> float:
        """Longest time between two packets of sound."""
        times = [when for when in self.sound if since <= when <= until]
        return max((after - before for before, after in pairwise(times)), default=until - since)

    def worst_delay(self, since: float, until: float) -> float:
        """Longest way of a packet of sound."""
        return max((delay for when, delay in self.delays if since <= when < until), default=0.0)


class RenoFlow:
    """A bulk transfer that behaves like TCP Reno: slow start, congestion avoidance, fast recovery."""

    def __init__(self, world: World, link: Bottleneck, *, start: float = 0.0, octets: int = 1200) -> None:
        self._world = world
        self._link = link
        self._size = octets
        self._window = 2.0
        self._threshold = 64.0
        self._flying = 0
        self._recover_until = 0.0
        self.arrived: list[float] = []
        world.after(start, self._fill)

    def _fill(self) -> None:
        while self._flying < int(self._window):
            self._flying += 1
            if not self._link.send(self._size, self._arrived):
                # Three later acknowledgements tell of it, about a round trip from now.
                self._world.after(2 * self._link.delay + self._link.wait(), self._lost)

    def _arrived(self) -> None:
        self.arrived.append(self._world.now)
        self._world.after(self._link.delay, self._acknowledged)

    def _acknowledged(self) -> None:
        self._flying -= 1
        self._window += 1.0 if self._window < self._threshold else 1 / self._window
        self._fill()

    def _lost(self) -> None:
        self._flying -= 1
        if self._world.now >= self._recover_until:
            self._threshold = self._window = max(2.0, self._window / 2)
            self._recover_until = self._world.now + 2 * self._link.delay + self._link.wait()
        self._fill()

    def rate(self, since: float, until: float) -> float:
        """Bits per second that arrived."""
        return 8 * self._size * sum(since <= when < until for when in self.arrived) / (until - since)
