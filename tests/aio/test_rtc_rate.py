"""Rate control of an endpoint: reports in, bits out."""

from __future__ import annotations

import asyncio

import pytest

from meshcall import limits
from meshcall.aio.rtc.rate import Rate
from meshcall.media.uplink import Uplink


class Sender:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.rates: list[int] = []
        self.paces: list[int | None] = []
        self.close = False
        self.losses: list[float] = []
        self.keyframes = 0
        self.sent = (0, 0)
        self.useful = limits.RATE_MAX

    def set_rate(self, bits: int) -> None:
        self.rates.append(bits)

    def set_pace(self, bits: int | None, *, close: bool = False) -> None:
        self.paces.append(bits)
        self.close = close

    def set_loss(self, share: float) -> None:
        self.losses.append(share)

    def want_keyframe(self) -> None:
        self.keyframes += 1

    def pictures_sent(self) -> tuple[int, int]:
        return self.sent


def make() -> tuple[Sender, Rate]:
    sender = Sender()
    return sender, Rate(sender, Uplink())


async def test_an_estimate_counts_at_once() -> None:
    sender, rate = make()
    rate.start()
    rate.start()
    assert sender.rates == [limits.RATE_START - limits.RATE_AUDIO]
    reports = rate.feedback("video")
    reports.remb(900_000)
    reports.remb(600_000)
    assert sender.rates[-1] == 600_000 - limits.RATE_AUDIO
    rate.close()


async def test_large_pictures_are_spread_once_the_link_was_full() -> None:
    """Not before: on a LAN the first picture leaves at once."""
    sender, rate = make()
    rate.start()
    reports = rate.feedback("video")
    reports.remb(900_000)
    rate.look()
    assert set(sender.paces) == {None}
    reports.remb(600_000)
    assert sender.paces[-1] == sender.rates[-1] == 600_000 - limits.RATE_AUDIO
    rate.close()


async def test_sound_hears_of_its_loss_and_pictures_of_keyframes() -> None:
    sender, rate = make()
    rate.feedback("audio").rr(0.1, 0.0, 0.05)
    rate.feedback("video").rr(0.2, 0.0, None)
    rate.feedback("video").keyframe()
    assert sender.losses == [0.1]
    assert sender.keyframes == 1
    rate.close()


async def test_nothing_is_decided_before_the_start_and_after_the_end() -> None:
    sender, rate = make()
    rate.feedback("video").remb(500_000)
    rate.measured(0.05)
    assert not sender.rates
    rate.start()
    rate.close()
    rate.close()
    count = len(sender.rates)
    rate.feedback("video").remb(100_000)
    rate.feedback("video").remb(90_000)
    await asyncio.sleep(0)
    rate.start()
    assert len(sender.rates) == count


async def test_members_that_are_sent_the_same_share_an_uplink() -> None:
    uplink = Uplink()
    senders = [Sender(), Sender()]
    rates = [Rate(sender, uplink) for sender in senders]
    for rate in rates:
        rate.start()
    for bits in (900_000, 800_000):
        for rate in rates:
            rate.feedback("video").remb(bits)
    for rate, bits in zip(rates, (700_000, 300_000), strict=True):
        rate.feedback("video").remb(bits)
        rate.feedback("video").remb(bits - 1)
        rate.look()
    assert uplink.shared
    for rate in rates:
        rate.close()
    assert not senders[0].keyframes


async def test_on_a_way_that_carries_hardly_more_pictures_leave_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As soon as its estimate has settled: until then nobody knows what it carries."""
    sender, rate = make()
    sender.useful = 2_000_000
    rate.start()
    reports = rate.feedback("video")
    reports.remb(1_210_000)
    rate.look()
    assert (sender.paces[-1], sender.close) == (None, False)
    monkeypatch.setattr(limits, "RATE_SETTLED_AFTER", 0.0)
    rate.look()
    bits = limits.RATE_START - limits.RATE_AUDIO
    assert (sender.paces[-1], sender.close, sender.rates[-1]) == (bits, True, bits)
    reports.remb(1_200_000)
    sender.useful = 1_000_000
    rate.look()
    bits = round(limits.BEATS_SHARE * 1_000_000)
    assert (sender.paces[-1], sender.close, sender.rates[-1]) == (bits, True, bits)
    sender.useful = 400_000
    rate.look()
    assert (sender.paces[-1], sender.close) == (None, False), "a way is wide for small pictures"
    rate.close()
