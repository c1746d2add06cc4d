"""The sender's half of rate control: how many bits of pictures one peer gets. Pure.

Three estimates, of which the smallest counts:
the peer's own (REMB), from the delay of what arrives there (``meshcall.media.arrivals``);
ours from loss, as its reports and its requests for retransmission tell it;
ours from the round trip, where the peer sends no estimate.

Law 1: sound comes first: its bits are taken off before pictures get any, and it is never slowed down.
Law 2: when there is no room for pictures worth looking at they are paused, and tried again after a while that
doubles with each failure. What is known of the link then is from before the pause, and does not end the try.
Law 3: loss that stays when we give way is the link's own, and no reason to send less.
Law 4: a peer from which nothing is heard gets less and less.
Law 5: when the link became much narrower, its queue is full by the time we hear of it: half is sent until it
has drained.
Law 6: what a peer says can make us send less, or as much as a link carries without loss; never more than
``RATE_MAX``.

Background: draft-ietf-rmcat-gcc-02 section 6 (loss), RFC 8083 (silence).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from meshcall import limits
from meshcall.media.lowest import Lowest


@dataclass(frozen=True, slots=True)
class Allotment:
    """What one peer gets now."""

    pictures: int
    """Bits per second of all pictures together; 0: they are paused."""
    reason: str = ""
    """What holds it down: ``delay``, ``loss``, ``silence``, ``share``; empty: nothing."""


class RateControl:
    """One peer, one link."""

    def __init__(self, now: float, start: int = limits.RATE_START) -> None:
        """``start``: bits per second to begin with."""
        self._by_loss = float(start)
        self._by_peer: float | None = None
        self._by_peer_at = now
        self._heard_at = now
        self._halved_at = now
        self._share: int | None = None
        self._losses = _Losses()
        self._traffic = _Traffic()
        self._cut_at = float("-inf")
        self._lossy = 0.0
        """Rate at the last cut."""
        self._waits = 0.0
        self._rtt = 0.1
        self._lost = 0.0
        """Smoothed."""
        self._shortest = Lowest(limits.RATE_RTT_WINDOW)
        self._slow = 0
        self._pause = _Pause()
        self._silent = False
        self._was_cut = False
        self._full_at = self._deep_at = float("-inf")
        self._settled, self._rose_at = 0.0, now

    # --- what is told ---

    def estimated(self, bits: int, now: float) -> None:
        """The peer's estimate came: bits per second (REMB)."""
        told = float(min(max(0, bits), limits.RATE_MAX))
        if self._by_peer is not None and told < 0.95 * self._by_peer:
            self._was_cut, self._full_at = True, now
        if self._by_peer is not None and told < limits.RATE_DEEP * self._by_peer:
            self._deep_at = now
        if told > limits.RATE_SETTLED * self._settled:
            self._settled, self._rose_at = told, now
        self._settled = min(self._settled, told)
        self._by_peer, self._by_peer_at = told, now
        self._hear(now)

    def reported(self, lost: float, now: float) -> None:
        """A receiver report came: ``lost``, the share of packets lost since the last one."""
        self._hear(now)
        lost = min(max(0.0, lost), 1.0)
        self._pause.reported(lost)
        self._lost += 0.3 * (lost - self._lost)
        given = self._losses.given_in_vain(lost, self._by_loss, now)
        if given is not None:
            self._by_loss = max(self._by_loss, 0.9 * given)
        loss = max(0.0, lost - self._losses.own)
        if loss > limits.RATE_LOSS_HIGH:
            self._losses.gave_way(lost, self._of_link()[0])
            self._cut(1 - 0.5 * loss, now, least=self._like_tcp())
        elif loss >= limits.RATE_LOSS_LOW and self._waits > limits.ARRIVALS_LATE:
            # A queue that is full and loses.
            if self._by_loss > self._like_tcp():
                self._cut(limits.RATE_OVERFLOW, now, least=self._like_tcp())
            else:
                self._grow(1.1, now)
        elif loss < limits.RATE_LOSS_LOW:
            near = self._by_loss < 1.2 * self._lossy and now - self._cut_at < limits.RATE_LOSS_NEAR
            self._grow(1.05 if near else 1.5, now)
        elif self._waits < limits.ARRIVALS_LATE and self._estimate_is_fresh(now):
            self._grow(1.1, now)  # there is no queue: it need not be congestion

    def requested(self, packets: int, now: float) -> None:
        """The peer asked for so many packets again (NACK)."""
        self._hear(now)
        share = self._traffic.again(packets, now)
        if share > limits.RATE_NACK_SHARE + self._losses.own:
            self._losses.gave_way(share, self._of_link()[0])
            self._cut(1 - 0.5 * share, now)

    def sent(self, packets: int, octets: int, now: float) -> None:
        """A picture went out."""
        self._traffic.sent(packets, octets, now)

    def measured(self, rtt: float, now: float) -> None:
        """Something was answered after ``rtt`` seconds: a consent check, or a sender report."""
        self._rtt = rtt
        waits = rtt - self._shortest.add(rtt, now)
        self._waits = waits
        self._pause.waited(waits)
        if self._estimate_is_fresh(now):
            return
        self._slow = self._slow + 1 if waits > limits.RATE_QUEUE_RTT else 0
        if self._slow >= 2:
            self._cut(0.8, now)

    def share(self, bits: int | None) -> None:
        """This peer's part of what our uplink carries, sound included; None: nothing is shared."""
        self._share = bits

    # --- what follows ---

    @property
    def wish(self) -> int:
        """Bits per second that the link carries, sound included, whatever our uplink leaves."""
        return round(self._of_link()[0])

    def take_cut(self) -> bool:
        """Whether the link was found full since this was asked last."""
        was, self._was_cut = self._was_cut, False
        return was

    def narrow(self, now: float) -> bool:
        """Whether the link was found full of late: what is sent at once fills its queue."""
        return now - self._full_at < limits.PACE_LIFE

    def close(self, useful: int, now: float) -> bool:
        """Whether the link is not full, but carries hardly more than so many bits per second of pictures."""
        if self.narrow(now) or self._by_peer is None or now - self._rose_at < limits.RATE_SETTLED_AFTER:
            return False
        return 0 < self._by_peer - limits.RATE_AUDIO < limits.BEATS_BELOW * useful

    def allotment(self, now: float) -> Allotment:
        """What it gets now. To be asked at least every 0.1 s."""
        self._listen(now)
        if self._pause.ends(now):
            self._by_loss = max(self._by_loss, float(limits.RATE_RESUME + limits.RATE_AUDIO))
            self._by_peer = None
        bits, reason = self._of_link()
        if self._share is not None:
            # Less than its part is chance: what was cut by all at once is not cut for this peer's way.
            bits, reason = min(float(self._share), limits.RATE_SHARE_RAISE * bits), "share"
        pictures = round(max(0.0, bits - limits.RATE_AUDIO))
        if self._share is None and now - self._deep_at < limits.RATE_DRAIN:
            pictures = max(min(pictures, limits.RATE_FLOOR), pictures // 2)
        return Allotment(self._pause.look(pictures, now), "silence" if self._silent else reason)

    def _of_link(self) -> tuple[float, str]:
        if self._by_peer is not None and self._by_peer < self._by_loss:
            return self._by_peer, "delay" if self._by_peer < limits.RATE_START else ""
        return self._by_loss, "loss" if self._by_loss < limits.RATE_START else ""

    def _hear(self, now: float) -> None:
        self._heard_at, self._silent = now, False

    def _listen(self, now: float) -> None:
        """Law 4."""
        if now - max(self._heard_at, self._halved_at) >= limits.RATE_REPORT_LIFE or (
            self._silent and now - self._halved_at >= limits.RATE_SILENCE_STEP
        ):
            self._silent, self._halved_at = True, now
            self._by_loss = max(float(limits.RATE_FLOOR + limits.RATE_AUDIO), self._of_link()[0] / 2)
        if not self._estimate_is_fresh(now) and self._by_peer is not None:
            # Pictures are paused, or all reports are lost: loss and round trips go on from there.
            again = float(limits.RATE_RESUME + limits.RATE_AUDIO)
            self._by_loss, self._by_peer = max(again, min(self._by_loss, self._by_peer)), None

    def _estimate_is_fresh(self, now: float) -> bool:
        return self._by_peer is not None and now - self._by_peer_at < limits.RATE_REPORT_LIFE

    def _like_tcp(self) -> float:
        """What TCP Reno would send here (Mathis et al. 1997): who sends no more is fair to it.

        0: so much is lost that it would hardly send at all.
        """
        if self._lost > limits.RATE_LOSS_OWN_MAX:
            return 0.0
        rtt, lost = max(self._rtt, 0.01), max(self._lost, 0.001)
        return min(1.22 * 8 * limits.RTP_PAYLOAD_MAX / (rtt * math.sqrt(lost)), float(limits.RATE_MAX))

    def _cut(self, factor: float, now: float, least: float = 0.0) -> None:
        if now - self._cut_at < limits.ARRIVALS_DROP_PAUSE:
            return
        self._cut_at, self._lossy, self._was_cut = now, self._of_link()[0], True
        self._full_at = now
        of_link = self._of_link()[0]
        self._by_loss = max(float(limits.RATE_FLOOR), of_link * factor, min(of_link, least))

    def _grow(self, factor: float, now: float) -> None:
        # Beyond what the peer allows it means nothing; it is at hand when the peer allows more.
        sent = self._by_peer if self._by_peer is not None else self._traffic.rate(now)
        grown = min(factor * self._by_loss, 1.5 * sent + 100_000, float(limits.RATE_MAX))
        self._by_loss = max(self._by_loss, grown)


class _Losses:
    """Tells our own loss from the link's (law 3)."""

    def __init__(self) -> None:
        self.own = 0.0
        """The link's own."""
        self._until = 0.0
        self._before: tuple[float, float] | None = None
        """Loss and rate before we gave way; None: we did not."""

    def gave_way(self, lost: float, rate: float) -> None:
        """Less is sent from now on, because so much was lost at that rate."""
        if self._before is None:
            self._before = lost, rate

    def given_in_vain(self, lost: float, rate: float, now: float) -> float | None:
        """The rate at which we began to give way, if that changed nothing about the loss."""
        if now >= self._until:
            self.own = 0.0
        if self._before is None:
            return None
        before, given = self._before
        if lost < 0.6 * before:
            self._before = None  # it helped: it was congestion
        elif rate < 0.6 * given:
            self._before = None
            if lost <= limits.RATE_LOSS_OWN_MAX:
                self.own, self._until = max(self.own, 1.3 * lost), now + limits.RATE_LOSS_LIFE
                return given
        return None


class _Traffic:
    """What was sent in the last second, and what of it was asked for again."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, int, int]] = deque(maxlen=limits.ARRIVALS_PACKETS_MAX)
        self._again: deque[tuple[float, int]] = deque(maxlen=limits.ARRIVALS_PACKETS_MAX)

    def sent(self, packets: int, octets: int, now: float) -> None:
        self._sent.append((now, packets, octets))
        while self._sent[0][0] < now - 1.0:
            self._sent.popleft()

    def rate(self, now: float) -> float:
        """Bits per second."""
        return 8.0 * sum(octets for when, _, octets in self._sent if when >= now - 1.0)

    def again(self, packets: int, now: float) -> float:
        """The share asked for again of late; 0: too few to tell."""
        since = now - limits.RATE_NACK_WINDOW
        self._again.append((now, packets))
        while self._again[0][0] < since:
            self._again.popleft()
        sent = sum(packets for when, packets, _ in self._sent if when >= since)
        again = sum(packets for _, packets in self._again)
        return min(1.0, again / sent) if again >= limits.RATE_NACK_PACKETS and sent else 0.0


class _Pause:
    """Law 2."""

    def __init__(self) -> None:
        self._low_since: float | None = None
        self._paused_at: float | None = None
        self._resumed_at = float("-inf")
        self._wait = limits.RATE_RESUME_AFTER
        self._lost = 0.0
        self._waits = 0.0

    def reported(self, lost: float) -> None:
        self._lost = lost

    def waited(self, seconds: float) -> None:
        self._waits = seconds

    def ends(self, now: float) -> bool:
        """Whether pictures that were paused are to be tried from now on."""
        if self._paused_at is None:
            return False
        calm = self._lost < limits.RATE_LOSS_HIGH and self._waits < limits.RATE_QUEUE_RTT
        if now - self._paused_at < (self._wait if calm else 2 * self._wait):
            return False
        self._paused_at = None
        self._resumed_at = self._low_since = now
        return True

    def look(self, pictures: int, now: float) -> int:
        """Bits per second of pictures for what there is room for."""
        if self._paused_at is not None:
            return 0
        if now - self._resumed_at >= limits.RATE_PROVEN:
            self._wait = limits.RATE_RESUME_AFTER
        if pictures >= limits.RATE_FLOOR:
            if now - self._resumed_at >= limits.RATE_PAUSE_AFTER:  # until then a try counts as low
                self._low_since = None
            return pictures
        if self._low_since is None:
            self._low_since = now
        if now - self._low_since < limits.RATE_PAUSE_AFTER:
            return limits.RATE_FLOOR
        if now - self._resumed_at < limits.RATE_PROVEN:
            self._wait = 2 * self._wait
        self._paused_at = now
        return 0
