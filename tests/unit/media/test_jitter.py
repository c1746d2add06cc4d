"""What is played of a stream of sound, and when: loss, jitter, stalls, pauses, drift, hostile numbers."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.jitter import JitterBuffer, SoundPacket, Step

RATE = 48_000
LENGTH = 960
DELAY = 0.025
FIRST_TIME = 2**32 - 96_000
FIRST_NUMBER = 65_000


def packet(
    number: int,
    *,
    time: int | None = None,
    ssrc: int = 1,
    copy: bool = False,
    length: int = LENGTH,
    copied: int = LENGTH,
) -> SoundPacket:
    time = number * LENGTH if time is None else time
    return SoundPacket(
        ssrc,
        (FIRST_NUMBER + number) & 0xFFFF,
        (FIRST_TIME + time) & 0xFFFFFFFF,
        b"%d" % number,
        length,
        copied if copy else 0,
    )


@dataclass(slots=True)
class Heard:
    """What came out."""

    steps: list[Step] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    lags: list[tuple[float, float]] = field(default_factory=list)
    """When, and seconds behind the sender, the way left out."""
    numbers: list[int] = field(default_factory=list)

    def median_lag(self, begin: float = 0.0, end: float = 1e9) -> float:
        return statistics.median(lag for at, lag in self.lags if begin <= at < end)


def play(
    buffer: JitterBuffer,
    arrivals: Iterable[tuple[float, SoundPacket]],
    drift: float = 0.0,
    seed: int = 1,
    *,
    plain: bool = True,
) -> Heard:
    """Let packets arrive and play until there is nothing more; stretching takes or gives 3 to 8 ms.

    ``plain``: the sound has a pitch everywhere; otherwise it is only stretched in a hurry.
    """
    waiting = sorted(arrivals, key=lambda one: one[0])
    stretch = random.Random(seed)
    heard = Heard()
    position = 0
    while position < len(waiting) or buffer.deadline() is not None:
        due = buffer.deadline()
        if position < len(waiting) and (due is None or waiting[position][0] <= due):
            buffer.put(waiting[position][1], waiting[position][0])
            position += 1
            continue
        assert due is not None
        step = buffer.take(due)
        if step is None:
            continue
        heard.steps.append(step)
        heard.kinds[step.kind] += 1
        if step.kind == "packet":
            number = int(step.data)
            heard.numbers.append(number)
            heard.lags.append((step.at, step.at - number * 0.02 * (1 + drift) - DELAY))
        if step.stretch and (plain or step.hurry):
            change = stretch.uniform(0.003, 0.008)
            buffer.played(step.seconds + (change if step.stretch == "longer" else -change), step.seconds)
    return heard


def stream(
    count: int,
    *,
    loss: float = 0.0,
    jitter: float = 0.0,
    copies: float = 0.0,
    stall: tuple[float, float] | None = None,
    drift: float = 0.0,
    seed: int = 1,
) -> list[tuple[float, SoundPacket]]:
    """20 ms packets as they arrive; ``stall``: nothing arrives between these moments, then all at once."""
    chance = random.Random(seed)
    arrivals = []
    for number in range(count):
        sent = number * 0.02 * (1 + drift)
        late, lost, copy = chance.random() * jitter, chance.random() < loss, chance.random() < copies
        arrival = sent + DELAY + late
        if stall is not None and stall[0] <= sent < stall[1]:
            arrival = stall[1] + DELAY + (number - 50 * stall[0]) * 1e-5
        if not lost:
            arrivals.append((arrival, packet(number, copy=copy)))
    return arrivals


@pytest.mark.parametrize(("loss", "goal"), [(0.0, 0.995), (0.01, 0.99), (0.05, 0.97), (0.1, 0.93)])
@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_share_played_and_lag_at_random_loss(loss: float, goal: float, jitter: float, seed: int) -> None:
    """The figures of the project, with copies in 85 % of the packets, as Opus makes them of speech."""
    buffer = JitterBuffer(RATE)
    heard = play(buffer, stream(3000, loss=loss, jitter=jitter, copies=0.85, seed=seed))
    played = (buffer.counts.packets + buffer.counts.repaired) / 3000
    assert played >= goal
    assert heard.median_lag() <= 0.08
    assert buffer.counts.skipped == 0
    assert heard.numbers == sorted(heard.numbers)


def test_without_loss_and_jitter_little_waits() -> None:
    """The least delay is kept, and nothing is made up."""
    buffer = JitterBuffer(RATE)
    heard = play(buffer, stream(1000))
    assert buffer.counts.packets == 1000
    assert buffer.counts.concealed == 0.0
    assert heard.median_lag(5.0) <= 0.035


@pytest.mark.parametrize("length", [0.1, 0.2, 0.28])
def test_what_a_stall_held_up_is_played_and_its_lag_played_off(length: float) -> None:
    """Nothing is left out, and after two seconds no more than 60 ms of lag are left."""
    buffer = JitterBuffer(RATE)
    heard = play(buffer, stream(1500, jitter=0.005, stall=(20.0, 20.0 + length)))
    assert buffer.counts.packets == 1500
    end = 20.0 + length
    assert max(lag for at, lag in heard.lags if at > 22) <= 0.06 or heard.median_lag(end + 2) <= 0.06
    assert max(lag for at, lag in heard.lags if at > end + DELAY + 2) <= 0.06


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_after_half_a_second_of_slowness_the_lag_is_gone_in_two(loss: float) -> None:
    """Each packet of half a second takes 250 ms longer, and those after it queue behind them."""
    buffer = JitterBuffer(RATE)
    arrivals, last = [], 0.0
    for arrival, sound in stream(600, loss=loss, copies=0.85):
        last = max(last, arrival + (0.25 if 6.0 <= arrival < 6.5 else 0.0))
        arrivals.append((last, sound))
    heard = play(buffer, arrivals)
    assert max(lag for at, lag in heard.lags if at >= 8.75) <= 0.06
    assert buffer.counts.packets >= 0.99 * len(arrivals)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_after_a_burst_that_lost_packets_no_lag_is_left(seed: int, plain: bool) -> None:
    """For half a second packets take 250 ms longer and some are lost; those after it overtake them. Neither
    room for copies stays, nor lag that could be heard to go.
    """
    chance = random.Random(seed)
    arrivals = []
    for arrival, sound in stream(600, jitter=0.005, copies=0.85, seed=seed):
        slow = 6.0 <= arrival < 6.5
        if not (slow and chance.random() < 0.05):
            arrivals.append((arrival + (0.25 if slow else 0.0), sound))
    heard = play(JitterBuffer(RATE), arrivals, plain=plain)
    assert heard.median_lag(8.75, 9.75) <= 0.045


@pytest.mark.parametrize(
    ("lost", "until", "waits"),
    [
        ({300}, 345, True),
        ({300}, 400, False),
        ({300, 310, 320}, 420, False),
        ({300, 400}, 850, True),
        ({300, 400}, 950, False),
        ({300, 900}, 1000, False),
    ],
)
def test_losses_that_come_again_are_waited_for(lost: set[int], until: int, waits: bool) -> None:
    """One packet more, for ten seconds; for one and a half when they are all of one second."""
    buffer = JitterBuffer(RATE)
    arrivals = stream(until, copies=1.0, jitter=0.01)
    heard = play(buffer, [one for number, one in enumerate(arrivals) if number not in lost])
    assert heard.kinds["repaired"] == len(lost)
    assert buffer.target == pytest.approx(0.04 if waits else 0.02, abs=0.003)


def test_sound_lags_as_it_is_asked_to() -> None:
    """Whatever the jitter asks for, and though it has no pitch; and no longer than that."""
    buffer = JitterBuffer(RATE)
    buffer.least = 0.1
    heard = play(buffer, stream(500), plain=False)
    assert 0.065 <= heard.median_lag(5) <= 0.1
    assert buffer.counts.concealed == 0.0


def test_a_way_that_becomes_slower_makes_several_short_pauses_not_a_long_one() -> None:
    """Where packets come up to 70 ms later than the ones before, the first waits for the second."""
    late = {100: 0.05, 101: 0.12, 102: 0.18}
    arrivals = [
        (number * 0.02 + DELAY + late.get(number, 0.18 if number > 102 else 0.0), packet(number))
        for number in range(200)
    ]
    heard = play(JitterBuffer(RATE), arrivals)
    played = {int(step.data): step.at for step in heard.steps if step.kind == "packet"}
    waits = [played[number] - arrivals[number][0] for number in (100, 101, 102)]
    assert 0.01 <= waits[0] <= limits.AUDIO_ALONE_WAIT + 0.005
    pauses = [played[number] - played[number - 1] for number in range(98, 106)]
    assert max(pauses) < 0.085
    assert heard.numbers == list(range(200))


def test_a_long_packet_waits_for_no_other() -> None:
    """The next one is further away than the longest wait."""
    length = 2 * LENGTH
    packets = [packet(number, time=number * length, length=length) for number in range(100)]
    late = [0.07 if number >= 50 else 0.0 for number in range(100)]
    arrivals = [(number * 0.04 + DELAY + late[number], one) for number, one in enumerate(packets)]
    heard = play(JitterBuffer(RATE), arrivals)
    played = {int(step.data): step.at for step in heard.steps if step.kind == "packet"}
    assert played[50] - arrivals[50][0] <= 0.011, "what is made up ends first"


def test_what_comes_in_a_heap_after_a_stall_waits_for_nothing() -> None:
    """It is played at the next step."""
    heard = play(JitterBuffer(RATE), stream(200, stall=(2.0, 2.06)))
    played = {int(step.data): step.at for step in heard.steps if step.kind == "packet"}
    assert played[100] - (2.06 + DELAY) <= 0.006


def test_a_network_that_stalls_now_and_then_is_waited_for() -> None:
    """After three stalls the shortest is, for ten seconds."""
    buffer = JitterBuffer(RATE)
    stalls = {10: 10.1, 11.5: 11.6, 13: 13.08}
    arrivals = [
        (max([arrival, *(end for begin, end in stalls.items() if arrival >= begin)]), sound)
        for arrival, sound in stream(1500)
    ]
    heard = play(buffer, arrivals)
    assert heard.median_lag(9, 9.9) <= 0.04
    assert heard.median_lag(12, 12.9) <= 0.04
    assert 0.07 <= heard.median_lag(15, 20) <= 0.11
    assert heard.median_lag(26) <= 0.04


@pytest.mark.parametrize("length", [0.45, 1.2, 5.0])
def test_after_a_long_stall_sound_goes_on_with_what_is_new(length: float) -> None:
    """What is too old is left out; the lag is small within two seconds."""
    buffer = JitterBuffer(RATE)
    heard = play(buffer, stream(2000, jitter=0.005, stall=(20.0, 20.0 + length)))
    assert max(lag for at, lag in heard.lags if at > 22 + length) <= 0.06
    assert heard.numbers[-1] == 1999


def test_jitter_that_stays_is_waited_for() -> None:
    """Few packets are late though each takes up to 60 ms longer; at most 120 ms are waited for."""
    buffer = JitterBuffer(RATE)
    heard = play(buffer, stream(3000, jitter=0.06))
    assert buffer.counts.packets >= 2990
    assert 0.05 <= buffer.target <= limits.AUDIO_TARGET_MAX
    assert heard.median_lag() <= 0.09
    worse = JitterBuffer(RATE)
    play(worse, stream(3000, jitter=0.5))
    assert worse.target == limits.AUDIO_TARGET_MAX


@pytest.mark.parametrize("drift", [-3e-4, 3e-4])
def test_clocks_that_differ_cost_nothing(drift: float) -> None:
    """Ten minutes at 300 millionths, far more than quartz crystals differ: 180 ms in all."""
    buffer = JitterBuffer(RATE)
    heard = play(buffer, stream(30_000, jitter=0.005, drift=drift), drift)
    assert buffer.counts.packets == 30_000
    assert buffer.counts.concealed <= 0.05
    assert heard.median_lag(500.0) <= 0.045


def test_reordered_packets_are_played_in_order() -> None:
    """As long as they come before their time; one that does not is late."""
    buffer = JitterBuffer(RATE)
    arrivals = [
        (n * 0.02 + DELAY + (0.03 if n % 7 == 3 and n > 100 else 0.0), packet(n)) for n in range(1000)
    ]
    heard = play(buffer, arrivals)
    assert heard.numbers == sorted(heard.numbers)
    assert buffer.counts.packets >= 990


def test_a_pause_of_the_sender_is_no_loss() -> None:
    """DTX: one packet in 400 ms, with numbers that go on; sound comes back without added lag."""
    numbers = [*range(500), *range(500, 1500, 20), *range(1500, 2000)]
    arrivals = [
        (at * 0.02 + DELAY, SoundPacket(1, n & 0xFFFF, at * LENGTH, b"%d" % at, LENGTH))
        for n, at in enumerate(numbers)
    ]
    buffer = JitterBuffer(RATE)
    heard = play(buffer, arrivals)
    assert heard.numbers == numbers
    assert buffer.counts.concealed == 0.0
    assert max(lag for _, lag in heard.lags) <= 0.05
    seconds = sum(step.seconds for step in heard.steps)
    assert seconds == pytest.approx(40.0, abs=0.7), "there is sound in the pause, too"


def test_a_lost_packet_is_had_from_its_follower() -> None:
    """The copy is played in its place, and nothing is made up; two in a row leave one to be made up."""
    buffer = JitterBuffer(RATE)
    arrivals = [(n * 0.02 + DELAY, packet(n, copy=True)) for n in range(200) if n not in (50, 120, 150, 151)]
    heard = play(buffer, arrivals)
    # the first loss may come too early for its copy: nothing is known of losses yet
    assert heard.kinds["repaired"] >= 2
    assert buffer.counts.concealed <= 0.045
    repaired = [int(step.data) for step in heard.steps if step.kind == "repaired"]
    assert repaired[-2:] == [121, 152]


def test_of_a_long_packet_that_is_lost_its_end_is_had() -> None:
    """Of 60 ms the follower has a copy of the last 20; the others are made up, and counted so."""
    buffer = JitterBuffer(RATE)
    arrivals = [
        (n * 0.06 + DELAY, packet(n, time=3 * n * LENGTH, length=3 * LENGTH, copy=True))
        for n in range(100)
        if n not in (30, 50)  # after the first one, what a copy needs is waited for
    ]
    heard = play(buffer, arrivals)
    begin, end = FIRST_TIME + 150 * LENGTH, FIRST_TIME + 153 * LENGTH
    lost = [
        (step.kind, round(step.seconds, 3))
        for step in heard.steps
        if (step.timestamp - begin) % 2**32 < end - begin
    ]
    assert lost == [("concealed", 0.04), ("repaired", 0.02)]
    assert buffer.counts.packets == 98
    assert 0.06 <= buffer.counts.concealed <= 0.1


def test_a_sender_that_begins_anew_is_heard() -> None:
    """With another SSRC, or with the same and numbers from anywhere; one stray packet changes nothing."""
    buffer = JitterBuffer(RATE)
    first = [(n * 0.02, packet(n)) for n in range(100)]
    stray = [(1.511, SoundPacket(1, 20_000, 5, b"0", LENGTH))]
    other = [(2.0 + n * 0.02, packet(n, ssrc=2)) for n in range(100)]
    anew = [
        (4.0 + n * 0.02, SoundPacket(2, 30_000 + n, 7 * 10**8 + n * LENGTH, b"%d" % n, LENGTH))
        for n in range(100)
    ]
    play(buffer, [*first, *stray, *other, *anew])
    assert buffer.counts.packets >= 297
    assert buffer.counts.restarts == 2


def test_timestamps_that_jump_are_followed() -> None:
    """A sender that paused without counting the time, and one that counted more than there was."""
    buffer = JitterBuffer(RATE)
    arrivals = [(n * 0.02, packet(n)) for n in range(100)]
    arrivals += [(12.0 + n * 0.02, packet(n)) for n in range(100, 200)]
    arrivals += [(14.0 + n * 0.02, packet(n, time=n * LENGTH + 10**9)) for n in range(200, 300)]
    play(buffer, arrivals)
    assert buffer.counts.packets == 300


def test_a_machine_that_slept_does_not_play_what_it_missed() -> None:
    """Old sound helps nobody."""
    buffer = JitterBuffer(RATE)
    for number in range(50):
        buffer.put(packet(number), number * 0.02)
    step = buffer.take(100.0)
    assert step is not None
    assert step.at == 100.0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.integers(1, 5760),
            st.sampled_from([0, 960]) | st.integers(0, 5760),
            st.floats(0, 0.5),
        ),
        max_size=120,
    )
)
def test_any_numbers_leave_bounded_memory_and_time(
    packets: list[tuple[int, int, int, int, int, float]],
) -> None:
    """Whatever the peer sends: bounded, and always over in the end."""
    buffer = JitterBuffer(RATE)
    now = 0.0
    for ssrc, sequence, timestamp, length, copied, pause in packets:
        now += pause
        steps = 0
        while (due := buffer.deadline()) is not None and due <= now:
            step = buffer.take(now)
            assert step is None or step.seconds > 0
            steps += 1
            assert steps < 10_000
        buffer.put(SoundPacket(ssrc, sequence, timestamp, b"x", length, copied), now)
        assert len(buffer._packets) <= limits.AUDIO_PACKETS_MAX
    steps = 0
    while (due := buffer.deadline()) is not None:
        assert due <= now + 1.0 + limits.AUDIO_RESTART
        now = max(now, due)
        buffer.take(now)
        steps += 1
        assert steps < 100_000
        if steps % 10_000 == 0:
            now += 1


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(-3, 40), st.integers(-2, 3)), max_size=200))
def test_near_numbers_are_played_to_the_end(start: int, moves: list[tuple[int, int]]) -> None:
    """Holes, repeats and overlaps of any kind: each due step comes, and time goes on."""
    buffer = JitterBuffer(RATE)
    number, now = start, 0.0
    for jump, late in moves:
        number += jump
        now += 0.02
        sound = SoundPacket(1, number & 0xFFFF, number * LENGTH + late * 100 & 0xFFFFFFFF, b"x", LENGTH)
        buffer.put(sound, now)
        last = 0.0
        while (step := buffer.take(now)) is not None:
            assert step.at >= last
            last = step.at
    for _ in range(20_000):
        due = buffer.deadline()
        if due is None:
            break
        now = max(now, due)
        buffer.take(now)
    assert buffer.deadline() is None


def test_a_flood_is_bounded() -> None:
    """Packets without end and without time to play them."""
    buffer = JitterBuffer(RATE)
    for number in range(900):
        buffer.put(packet(number, time=number * 10), 0.001)
    assert len(buffer._packets) <= limits.AUDIO_PACKETS_MAX
