"""Layers: who is sent what, and what is encoded for that."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.layers import LADDER, Layer, Layers, Load, Size, bits_least, bits_most

HD = Size(1280, 720)
TOP, P360, P360_SLOW, P180 = LADDER


def layers(**rates: int) -> Layers:
    made = Layers()
    for peer, bits in rates.items():
        made.add(peer, "VP8")
        made.rate(peer, bits)
    return made


def got(made: Layers, now: float = 0.0) -> dict[object, str]:
    choices = made.arrange(now).choices
    return {peer: f"{choice.layer} {choice.why}".strip() for peer, choice in choices.items()}


def test_least_bits() -> None:
    """Each layer needs clearly less than the one above it."""
    needs = [bits_least(HD.fit(layer.height), layer.fps) for layer in LADDER]
    assert needs == [700_000, 247_487, 163_281, 57_728]


def test_each_gets_what_its_way_carries() -> None:
    """One encoder for those in the middle; the slowest of a layer has its rate."""
    made = layers(fast=2_000_000, good=900_000, poor=400_000, other=300_000, phone=90_000, dead=0)
    assert got(made) == {
        "fast": "720p30",
        "good": "720p30",
        "poor": "360p30 rate",
        "other": "360p30 rate",
        "phone": "180p15 rate",
        "dead": "None paused",
    }
    assert made.arrange(0.0).bits == {
        ("VP8", TOP): 900_000,
        ("VP8", P360): 300_000,
        ("VP8", P180): 90_000,
    }


def test_each_gets_what_it_asked_for() -> None:
    """A tile of 200 pixels gets 180; 0 pixels get nothing; half of the pictures is a layer of its own."""
    made = layers(stage=2_000_000, tile=2_000_000, slow=2_000_000, hidden=2_000_000, tiny=2_000_000)
    for peer, height, fps in (("stage", 1080, 0), ("tile", 200, 0), ("slow", 400, 15), ("tiny", 10, 1)):
        made.ask(peer, height, fps)
    made.ask("hidden", 0, 30)
    assert got(made) == {
        "stage": "720p30",
        "tile": "180p15 asked",
        "slow": "360p15 asked",
        "hidden": "None asked",
        "tiny": "180p15 asked",
    }
    assert made.useful("hidden") == 0
    assert made.useful("tile") == bits_most(Size(320, 180), 15)
    assert made.useful("stranger") == 0


def test_pictures_for_a_room_of_many_take_fewer_bits() -> None:
    """Those of 360p15, and not what a slow machine makes of 720p, nor 180p, from which 360p must be found."""
    sizes = ((Size(640, 360), 15), (Size(640, 360), 30), (Size(1280, 720), 15), (Size(320, 180), 15))
    most = [round(bits_most(*one) / bits_least(*one), 3) for one in sizes]
    assert most == [2.0, 3.5, 3.5, 3.5]


def test_codecs_have_encoders_of_their_own() -> None:
    """H.264 and VP8 at the same size are two."""
    made = layers(one=2_000_000)
    made.add("two", "H264")
    made.rate("two", 800_000)
    assert made.arrange(0.0).bits == {("VP8", TOP): 2_000_000, ("H264", TOP): 800_000}


def test_a_small_source_has_fewer_layers() -> None:
    """Nothing is encoded twice, nothing is blown up, and its highest layer is the whole of it."""
    made = layers(one=2_000_000)
    made.resize(Size(320, 180))
    assert got(made) == {"one": "360p30"}
    made.rate("one", 60_000)
    assert got(made) == {"one": "180p15 rate"}
    assert Size(320, 180).fit(360) == Size(320, 180)
    assert Size(641, 481).fit(180) == Size(240, 180)


def test_down_at_once_up_later() -> None:
    """A rate that wavers around a limit switches nothing."""
    made = layers(one=800_000)
    assert got(made) == {"one": "720p30"}
    for index, bits in enumerate((650_000, 750_000, 620_000, 900_000)):
        made.rate("one", bits)
        assert got(made, float(index)) == {"one": "720p30"}
    made.rate("one", 500_000)
    assert got(made, 5.0) == {"one": "360p30 rate"}
    made.rate("one", 750_000)  # not enough to spare
    assert got(made, 20.0) == {"one": "360p30 rate"}
    made.rate("one", 900_000)
    assert got(made, 21.0) == {"one": "360p30 rate"}
    assert got(made, 21.0 + limits.LAYER_UP_AFTER) == {"one": "720p30"}


def waits(made: Layers, now: float) -> float:
    """Seconds until a way that has become wide is used."""
    made.rate("one", 500_000)
    assert got(made, now) == {"one": "360p30 rate"}
    made.rate("one", 900_000)
    steps = 0
    while got(made, now + 0.25 * steps) != {"one": "720p30"}:
        steps += 1
    return 0.25 * (steps + 1)


def test_what_did_not_hold_is_waited_for_twice_as_long() -> None:
    """Each switch costs a keyframe; a layer that held is soon tried again."""
    made = layers(one=900_000)
    assert got(made) == {"one": "720p30"}
    now, found = 100.0, []
    for _ in range(6):
        found.append(waits(made, now))
        now += found[-1] + 0.5
    least = limits.LAYER_UP_AFTER
    assert found == [0.25 + min(least * 2**tries, limits.LAYER_UP_AFTER_MAX) for tries in range(6)]
    assert waits(made, now + limits.LAYER_HELD) == 0.25 + least


def test_what_is_asked_for_comes_at_once() -> None:
    """A tile that becomes the stage does not wait."""
    made = layers(one=2_000_000)
    made.ask("one", 180, 15)
    assert got(made) == {"one": "180p15 asked"}
    made.ask("one", 720, 30)
    assert got(made, 0.1) == {"one": "720p30"}


def test_a_slow_machine_sends_fewer_pictures_then_smaller_ones() -> None:
    """And says so; it is tried again after a while that doubles."""
    made = layers(stage=2_000_000, poor=300_000)
    assert got(made) == {"stage": "720p30", "poor": "360p30 rate"}
    made.load.degree = 1
    assert got(made, 1.0) == {"stage": "720p30 cpu", "poor": "360p15 rate"}
    assert made.load.fps == 15
    made.load.degree = 2
    assert got(made, 2.0) == {"stage": "360p15 cpu", "poor": "360p15 cpu"}
    made.load.degree = 3
    assert got(made, 3.0) == {"stage": "180p15 cpu", "poor": "180p15 cpu"}


def feed(load: Load, busy: float, begin: float, seconds: float) -> float:
    """Measure twice a second; when it changed, or the end."""
    degree, now = load.degree, begin
    while now < begin + seconds and load.degree == degree:
        now += 0.5
        load.measured(busy, now)
    return now


def test_load() -> None:
    """A moment is no reason; what failed once is tried again later."""
    load = Load()
    now = feed(load, 1.0, 0.0, limits.CPU_HIGH_AFTER - 0.5)
    now = feed(load, 0.5, now, 30.0)
    assert load.degree == 0
    now = feed(load, 1.0, now, 30.0)
    assert load.degree == 1
    waits = []
    for _ in range(6):
        begin = now
        now = feed(load, 0.1, now, 1000.0)
        assert load.degree == 0
        waits.append(now - begin)
        now = feed(load, 0.95, now, 30.0)
        assert load.degree == 1
    assert waits == sorted(waits)
    assert waits[0] < 12
    assert waits[-1] <= limits.CPU_LOW_AFTER_MAX + 1
    assert waits[-1] > 100


ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 4), st.sampled_from(["VP8", "H264"])),
    st.tuples(st.just("rate"), st.integers(0, 4), st.integers(0, 5_000_000)),
    st.tuples(st.just("ask"), st.integers(0, 4), st.tuples(st.integers(0, 2000), st.integers(0, 255))),
    st.tuples(st.just("remove"), st.integers(0, 4), st.none()),
    st.tuples(st.just("load"), st.just(0), st.integers(0, 3)),
    st.tuples(st.just("size"), st.just(0), st.tuples(st.integers(2, 1280), st.integers(2, 720))),
)


@given(st.lists(ACTIONS, max_size=60))
def test_nobody_gets_more_than_it_asked_for_or_nothing_without_reason(
    actions: list[tuple[str, int, object]],
) -> None:
    """Whatever is told in whatever order: the laws hold."""
    made = Layers()
    peers: dict[int, tuple[int, int | None]] = {}
    size = HD
    for step, (what, peer, value) in enumerate(actions):
        match what, value:
            case "add", str(codec):
                made.add(peer, codec)
                peers.setdefault(peer, (limits.PICTURES_RATE_START, None))
            case "rate", int(bits):
                made.rate(peer, bits)
                if peer in peers:
                    peers[peer] = bits, peers[peer][1]
            case "ask", (int(height), int(fps)):
                made.ask(peer, height, fps)
                if peer in peers:
                    peers[peer] = peers[peer][0], height
            case "remove", _:
                made.remove(peer)
                peers.pop(peer, None)
            case "load", int(degree):
                made.load.degree = degree
            case "size", (int(width), int(height)):
                size = Size(width, height)
                made.resize(size)
        now = 0.7 * step
        arranged = made.arrange(now)
        assert set(arranged.choices) == set(peers)
        used = {choice.layer for choice in arranged.choices.values()} - {None}
        assert {layer for _, layer in arranged.bits} == used
        for one, choice in arranged.choices.items():
            assert isinstance(one, int)
            rate, asked = peers[one]
            event(choice.why)
            assert (choice.layer is None) == (rate == 0 or asked == 0)
            if choice.layer is not None and asked is not None:
                assert size.fit(choice.layer.height).height <= max(asked, 180)
            if choice.layer is not None:
                assert choice.layer.height <= made.load.height
        for (_, layer), bits in arranged.bits.items():
            assert bits >= limits.PICTURES_RATE_MIN
            assert bits <= max(limits.PICTURES_RATE_MIN, bits_most(size.fit(layer.height), layer.fps))


def test_layer_names() -> None:
    """As people say them."""
    assert [str(layer) for layer in LADDER] == ["720p30", "360p30", "360p15", "180p15"]
    assert str(Layer(480, 10)) == "480p10"
