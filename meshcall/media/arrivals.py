"""The receiver's half of rate control: how much a peer may send, from when its packets arrive. Pure.

Each packet tells when it was sent (abs-send-time), so its delay is known but for a constant: the clocks'
difference. The least delay of the last seconds stands for an empty queue; what a packet took longer than that
it has waited in one: its *lateness*.

Law 1: the link is full when every packet of a window is late; the packet of the window that is least so
decides, so neither jitter nor the burst that one picture is counts.
Law 2: a full link shows what it carries: what arrives. A cut is a share of that, never of a guess.
Law 3: when the queue did not empty after a cut, it is not ours alone: more lateness is borne from then on,
less again when it empties; so a flow that fills every queue does not starve us.
Law 4: while lateness falls no further cut is made: the last one is at work.
Law 5: what this machine itself read late is no lateness of the link (``held_up``), and tells nothing of what
it carries: that a machine is busy is no reason to send it less.
Law 6: growth is an amount a second, doubled each second that goes well, from the point where the link was
full last; and never beyond one and a half of what really arrives, nor beyond what the way carries by what
the packets of one picture show (``meshcall.media.trains``). That may be wrong, so an estimate that is higher
sinks slowly, and never below what arrives.
Law 7: an estimate that is older than a pause of the pictures forbids no try: what comes next tells.

Background: draft-ietf-rmcat-gcc-02, whose delay gradient is quiet once a queue stands full; the estimate is
told as draft-alvestrand-rmcat-remb-03 says.
"""

from __future__ import annotations

from collections import deque

from meshcall import limits
from meshcall.media.lowest import Lowest
from meshcall.media.trains import Trains

_WRAP = 1 << 24
_TICKS = 1 << 18
"""abs-send-time: seconds in 6.18 fixed point."""
_FIRST_RATE = 1.0
"""Growth in the beginning, as a share a second: nothing is known yet."""


class Arrivals:
    """All pictures that arrive from one peer."""

    def __init__(self) -> None:
        self._estimate = float(limits.RATE_START)
        self._full: float | None = None
        """What the link carried when it was full last."""
        self._good = 0.0
        """Seconds of growth beyond that."""
        self._tolerance = limits.ARRIVALS_LATE
        self._cut_at: float | None = None
        self._cut_late = 0.0
        self._empty_since = 0.0
        self._held = 0.0
        self._held_until = 0.0
        self._least_since = 0.0
        """Least lateness of a window since the cut."""
        self._told_at: float | None = None
        self._told = 0
        self._packets: deque[tuple[float, int, float]] = deque(maxlen=limits.ARRIVALS_PACKETS_MAX)
        """When, octets, lateness; of the last second."""
        self._octets = 0
        self._base = Lowest(limits.RATE_RTT_WINDOW)
        self._trains = Trains()
        self._sent = 0.0
        self._sent_ticks: int | None = None
        self._delay = 0.0
        self._last = 0.0
        self._stamp = -1
        """Abs-send-time of the last packet."""

    @property
    def estimate(self) -> int:
        """Bits per second that the peer may send, sound included."""
        return round(self._estimate) + limits.RATE_AUDIO

    @property
    def lateness(self) -> float:
        """Seconds that packets wait in queues now."""
        return self._least(self._last)

    def add_untrusted(self, sent: int, arrived: float, octets: int) -> int | None:
        """A packet came; returns bits per second to tell the peer now, or None: nothing new.

        ``sent``: its abs-send-time, 24 bits; ``arrived``: monotonic seconds; ``octets``: its payload.
        Whatever a peer writes into its packets decides about what it is told to send, and nothing else.
        """
        if self._waited_here(arrived) < limits.ARRIVALS_EMPTY:
            self._trains.add_untrusted(sent, arrived, octets)
        if sent == self._stamp and 0 <= arrived - self._last < limits.ARRIVALS_TOGETHER and self._packets:
            self._remember(arrived, octets, self._packets[-1][2])
            return None
        self._stamp = sent
        since = (
            min(max(0.0, arrived - self._last), limits.ARRIVALS_WINDOW) if self._told_at is not None else 0.0
        )
        if arrived - self._last >= limits.ARRIVALS_PAUSE:
            self._estimate = max(self._estimate, float(limits.RATE_FLOOR))
        delay = arrived - self._unwrapped(sent % _WRAP)
        if self._packets and abs(delay - self._delay) > limits.ARRIVALS_JUMP:
            self._base = Lowest(limits.RATE_RTT_WINDOW)
            self._forget()
        self._delay, self._last = delay, arrived
        lateness = max(0.0, delay - self._base.add(delay, arrived))
        self._remember(arrived, octets, lateness)
        if self._told_at is None:
            self._told_at = arrived
        least = self._least(arrived)
        cut = self._look(least, since, arrived)
        calm = max(self._tolerance / 2, self._tolerance - limits.ARRIVALS_LATE)
        if not cut and least < calm + self._waited_here(arrived):
            self._grow(since, arrived)
        if cut or self._has_news(arrived - self._told_at):
            self._told_at, self._told = arrived, self.estimate
            return self._told
        return None

    def _has_news(self, since: float) -> bool:
        """Whether the peer is to be told, so many seconds after it was: of a change soon, or now and then."""
        if since < limits.ARRIVALS_REPORT:
            return False
        change = abs(self.estimate - self._told)
        return change > limits.ARRIVALS_REPORT_CHANGE * self._told or since >= limits.ARRIVALS_REPORT_SAME

    def held_up(self, seconds: float, now: float) -> None:
        """This machine was busy for so long just now: packets may have waited here."""
        if seconds >= self._held or now >= self._held_until:
            self._held, self._held_until = seconds, now + limits.ARRIVALS_HELD

    def add_repair(self, arrived: float, octets: int) -> None:
        """A packet came that was sent again: it takes room on the link, and tells nothing of delay."""
        if self._packets:
            self._remember(arrived, octets, self._packets[-1][2])

    def _unwrapped(self, ticks: int) -> float:
        if self._sent_ticks is not None:
            step = (ticks - self._sent_ticks) % _WRAP
            self._sent += (step - _WRAP if step >= _WRAP // 2 else step) / _TICKS
        self._sent_ticks = ticks
        return self._sent

    def _forget(self) -> None:
        self._packets.clear()
        self._octets = 0

    def _remember(self, arrived: float, octets: int, lateness: float) -> None:
        packets = self._packets
        if len(packets) == packets.maxlen:
            self._octets -= packets.popleft()[1]
        packets.append((arrived, octets, lateness))
        self._octets += octets
        while packets[0][0] < arrived - 1.0:
            self._octets -= packets.popleft()[1]

    def _least(self, now: float) -> float:
        """The least lateness of the window; 0: too few packets to tell.

        It reaches back over a pause: what comes in one heap after it was held up by this machine, or by a
        radio, and is late for no full queue.
        """
        least, count, since = float("inf"), 0, now
        for arrived, _, lateness in reversed(self._packets):
            long = arrived < now - limits.ARRIVALS_WINDOW and now - since >= limits.ARRIVALS_WINDOW / 2
            if long and count >= limits.ARRIVALS_PACKETS_MIN:
                break
            least, count, since = min(least, lateness), count + 1, arrived
        return least if count >= limits.ARRIVALS_PACKETS_MIN else 0.0

    def _waited_here(self, now: float) -> float:
        return self._held if now < self._held_until else 0.0

    def _look(self, least: float, seconds: float, now: float) -> bool:
        """Whether the link is full, and the estimate was cut for it."""
        self._least_since = min(self._least_since, least)
        if least > limits.ARRIVALS_EMPTY:
            self._empty_since = now
        empty = now - self._empty_since > limits.ARRIVALS_ALONE
        forget = 1.0 if empty else limits.ARRIVALS_FORGET
        self._tolerance = max(limits.ARRIVALS_LATE, self._tolerance * (1 - forget * seconds))
        if least <= self._tolerance + self._waited_here(now):
            return False
        if self._cut_at is not None:
            since = now - self._cut_at
            if since < limits.ARRIVALS_DROP_PAUSE:
                return False
            if since < 3 * limits.ARRIVALS_DROP_PAUSE and least < 0.9 * self._cut_late:
                return False
            full = self._least_since > max(limits.ARRIVALS_EMPTY, 0.4 * self._cut_late)
            factor = 1.3 if full else 0.8
            tolerance = max(limits.ARRIVALS_LATE, factor * self._tolerance)
            self._tolerance = min(tolerance, limits.ARRIVALS_LATE_MAX)
        carried = self._carried(now)
        self._full = carried
        self._good = 0.0
        # The later they are, the more waits; it is to be gone in half a second.
        drain = max(0.5, 1.0 - 2 * (least - (self._tolerance - limits.ARRIVALS_LATE)))
        beside = self._tolerance > 2 * limits.ARRIVALS_LATE
        floor = limits.ARRIVALS_BESIDE if beside or least < limits.ARRIVALS_HARM else 1
        self._estimate = min(self._estimate, max(floor, carried * limits.ARRIVALS_GIVE_WAY * drain))
        self._cut_at, self._cut_late, self._least_since = now, least, least
        return True

    def _carried(self, now: float) -> float:
        """Bits per second that arrive while packets are late."""
        octets, first, since, count = 0, 0, now, 0
        for arrived, size, lateness in reversed(self._packets):
            if count >= limits.ARRIVALS_PACKETS_MIN and (
                lateness <= limits.ARRIVALS_LATE / 2 or arrived < now - 3 * limits.ARRIVALS_WINDOW
            ):
                break
            octets, first, since, count = octets + size, size, arrived, count + 1
        # The first packet of the stretch only marks its beginning.
        return 8 * (octets - first) / max(now - since, 0.001)

    def _grow(self, seconds: float, now: float) -> None:
        before = self._estimate
        if self._full is None:
            grown = before * (1 + _FIRST_RATE * seconds)
        elif before < limits.ARRIVALS_GIVE_WAY * self._full:
            grown = before + (self._full - before) * min(1.0, seconds / limits.ARRIVALS_SETTLE)
        else:
            # Beside a flow that fills the queue, lateness tells little: no haste.
            haste = 0.0 if self._tolerance > 1.5 * limits.ARRIVALS_LATE else self._good
            step = min(limits.ARRIVALS_STEP * 2.0**haste, limits.ARRIVALS_STEP_MAX)
            self._good += seconds
            grown = before + step * seconds
        arriving = 8 * self._octets / max(0.2, min(1.0, now - self._packets[0][0]))
        allowed, kept = 1.5 * arriving + 20_000, before
        carries = self._trains.carries(now)
        if carries is not None:
            allowed = min(allowed, max(carries, limits.ARRIVALS_MORE * arriving))
            kept = before * (1 - limits.ARRIVALS_SINK * seconds)
        self._estimate = min(grown, max(kept, allowed), float(limits.RATE_MAX))
