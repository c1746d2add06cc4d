"""The call machine over the whole product of states and events, and two of them over a bad network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.machine import IGNORED, MISUSE, TABLE, CallMachine
from meshcall.call.state import State
from meshcall.errors import LocalProtocolError
from tests.property.call_world import HIGH, LOW, World

OWN, OTHER = b"o" * 16, b"p" * 16

ids = st.sampled_from([OWN, OTHER, b"q" * 16])
text = st.sampled_from(["", "x", "cancelled", "declined", "busy", "timeout", "answered-elsewhere", "clock"])
blob = st.binary(max_size=4)
created = st.integers(0, 5)
flag = st.booleans()

MAKE: dict[type[e.Event], st.SearchStrategy[e.Event]] = {
    e.Dial: st.builds(
        e.Dial, st.sampled_from([0.0, 5.0, 60.0, 1e9]), st.sampled_from([-1.0, 0.0, 7.0, 500.0])
    ),
    e.Answer: st.builds(e.Answer),
    e.Decline: st.builds(e.Decline, st.sampled_from(["declined", "busy"])),
    e.Hangup: st.builds(e.Hangup, st.sampled_from([None, e.EndReason.SHUTDOWN])),
    e.Chat: st.builds(e.Chat, text),
    e.PresenceFound: st.builds(e.PresenceFound),
    e.PresenceMissing: st.builds(e.PresenceMissing),
    e.Delivered: st.builds(e.Delivered, st.integers(0, 2), st.integers(0, 2)),
    e.OfferReceived: st.builds(
        e.OfferReceived, ids, blob, created, st.sampled_from([-5.0, 0.0, 90.0, 1e9]), flag, flag
    ),
    e.RingingReceived: st.builds(e.RingingReceived, ids),
    e.AnswerReceived: st.builds(e.AnswerReceived, ids, blob, created),
    e.CandidatesReceived: st.builds(e.CandidatesReceived, ids, blob),
    e.RejectReceived: st.builds(e.RejectReceived, ids, text),
    e.HangupReceived: st.builds(e.HangupReceived, ids, text),
    e.EndpointReady: st.builds(e.EndpointReady, blob),
    e.AnswerReady: st.builds(e.AnswerReady, blob),
    e.IceConnected: st.builds(e.IceConnected, st.sampled_from(["lan", "direct", "relay"])),
    e.Secured: st.builds(e.Secured),
    e.ControlOpen: st.builds(e.ControlOpen),
    e.ConfirmReceived: st.builds(e.ConfirmReceived, flag),
    e.ConfirmedReceived: st.builds(e.ConfirmedReceived),
    e.ChatReceived: st.builds(e.ChatReceived, text),
    e.FirstMedia: st.builds(e.FirstMedia, st.sampled_from(["audio", "video"])),
    e.Bye: st.builds(e.Bye, flag),
    e.TransportLost: st.builds(e.TransportLost, flag),
    e.MediaFailed: st.builds(e.MediaFailed, st.sampled_from(e.EndReason)),
    e.RecordFailed: st.builds(e.RecordFailed),
    e.SourceEnded: st.builds(e.SourceEnded),
}
any_event = st.one_of(*MAKE.values())
TIME = "time"


def machine(*, low: bool) -> CallMachine:
    return CallMachine(LOW, HIGH, OWN) if low else CallMachine(HIGH, LOW, OWN)


class Watch:
    """Feeds a machine and holds it to what must be true after every step."""

    def __init__(self, machine: CallMachine) -> None:
        self.machine = machine
        self.now = 50.0
        self.open = 0
        self.ended = 0
        self.rings = 0
        self.verified = False
        self.confirmed = False
        self.secured = False

    def step(self, event: e.Event) -> None:
        before = self.machine.state
        key = (before, type(event))
        try:
            commands = self.machine.handle(event, self.now)
        except LocalProtocolError:
            assert key in MISUSE
            assert self.machine.state is before
            return
        assert key not in MISUSE
        if before is State.CONNECTING and isinstance(event, e.Secured):
            self.secured = True
        if before in (State.CONNECTING, State.CONFIRMING) and isinstance(event, e.ConfirmReceived):
            self.verified |= event.valid
        if before is State.CONFIRMING and isinstance(event, e.ConfirmedReceived):
            self.confirmed = True
        if key in IGNORED:
            assert not commands
            assert self.machine.state is before
        elif self.machine.state is not before:
            assert self.machine.state in TABLE[key].to
        self.check(commands)

    def wait(self) -> None:
        at = self.machine.deadline()
        if at is not None:
            self.now = max(self.now, at)
        self.check(self.machine.handle_timer(self.now))

    def check(self, commands: list[c.Command]) -> None:
        for command in commands:
            assert not self.ended or isinstance(command, c.StartIncoming), "a command after the end"
            self.open += isinstance(command, c.CreateOffer | c.CreateAnswer)
            self.open -= isinstance(command, c.CloseMedia)
            self.ended += isinstance(command, c.Ended)
            self.rings += isinstance(command, c.Ring) - isinstance(command, c.StopRing)
            if isinstance(command, c.OpenGate):
                assert self.verified, "media flows to a peer that is not proved"
                assert self.secured
        state = self.machine.state
        assert self.open in (0, 1), "one endpoint at a time"
        assert self.rings == (1 if state is State.INCOMING else 0)
        assert self.ended == (1 if state is State.ENDED else 0)
        if state is State.CONNECTED:
            assert self.secured, "connected before DTLS"
            assert self.verified, "connected before the peer's confirm"
            assert self.confirmed, "connected before ours was verified"
        if state is State.ENDED:
            assert self.open == 0, "the endpoint was left open"
            assert self.machine.reason is not None
        running = self.machine.deadline() is not None
        assert running == (state not in (State.IDLE, State.CONNECTED, State.ENDED)), f"timer in {state}"


@given(st.data(), st.booleans(), st.lists(st.one_of(any_event, st.just(TIME)), max_size=30))
def test_any_history_and_then_any_event_gives_a_state_or_a_caller_s_error(
    data: st.DataObject, low: bool, history: list[e.Event | str]
) -> None:
    """No sequence of events breaks a law or raises anything but LocalProtocolError for our own caller."""
    watch = Watch(machine(low=low))
    for event in history:
        if isinstance(event, e.Event):
            watch.step(event)
        else:
            watch.wait()
    watch.step(data.draw(any_event))
    for _ in range(500):
        if watch.machine.deadline() is None:
            break
        watch.wait()
    assert watch.machine.state in (State.IDLE, State.CONNECTED, State.ENDED), "time alone ends every attempt"


def drive(*events: e.Event) -> Callable[[], Watch]:
    def build() -> Watch:
        watch = Watch(machine(low=True))
        for event in events:
            watch.step(event)
        return watch

    return build


_DIALLED = (e.Dial(), e.EndpointReady(b"o"))
_TALKING = (*_DIALLED, e.PresenceFound(), e.AnswerReceived(OWN, b"a", 3), e.IceConnected("lan"), e.Secured())
REACH: dict[State, Callable[[], Watch]] = {
    State.IDLE: drive(),
    State.LOOKING_UP: drive(*_DIALLED),
    State.CALLING: drive(*_DIALLED, e.PresenceFound()),
    State.RINGING: drive(*_DIALLED, e.PresenceFound(), e.RingingReceived(OWN)),
    State.INCOMING: drive(e.OfferReceived(OWN, b"o", 3)),
    State.CONNECTING: drive(e.OfferReceived(OWN, b"o", 3), e.Answer()),
    State.CONFIRMING: drive(*_TALKING),
    State.CONNECTED: drive(*_TALKING, e.ControlOpen(), e.ConfirmReceived(True), e.ConfirmedReceived()),
    State.ENDED: drive(*_DIALLED, e.Hangup()),
}


@given(st.sampled_from(State), st.sampled_from([*MAKE]), st.data())
def test_every_state_takes_every_event(state: State, kind: type[e.Event], data: st.DataObject) -> None:
    """The whole product: each pair gives a state of its row, nothing, or the caller's error."""
    watch = REACH[state]()
    assert watch.machine.state is state
    watch.step(data.draw(MAKE[kind]))


# --- two machines -----------------------------------------------------------------------------------


def check_safe(world: World) -> None:
    left, right = world.left, world.right
    for side in (left, right):
        assert len(side.live()) <= 1, "two calls at one end\n" + "\n".join(world.trace)
        assert 0 <= side.rings <= 1
    if left.connected() and right.connected():
        assert left.connected()[0].call_id == right.connected()[0].call_id
        assert {left.connected()[0].role, right.connected()[0].role} == {"caller", "callee"}


def check_one_call(world: World) -> None:
    trace = "\n".join(world.trace)
    assert len(world.left.connected()) == 1, trace
    assert len(world.right.connected()) == 1, trace
    check_safe(world)
    for side in (world.left, world.right):
        assert len(side.endpoints) == 1, trace
        assert side.rings == 0
        assert not [end for end in side.ended if end.missed], "a missed call was shown\n" + trace


def choices(world: World) -> list[Callable[[World], None]]:
    """Everything that can happen next, for a world that is like this one."""

    def own(name: str, index: int) -> Callable[[World], None]:
        return lambda w: w.run_pending(w.side(name), index)

    def arrive(index: int) -> Callable[[World], None]:
        return lambda w: w.deliver(index)

    moves = [own(side.name, i) for side in (world.left, world.right) for i in side.first_pending()]
    return moves + [arrive(i) for i in range(len(world.network))]


def explore(start: World, at_rest: Callable[[World], None]) -> int:
    """Every order in which things can happen (no loss, no time passing); how many worlds there were."""
    seen = {start.fingerprint()}
    stack = [start]
    while stack:
        world = stack.pop()
        check_safe(world)
        moves = choices(world)
        if not moves:
            at_rest(world)
        for number, move in enumerate(moves, start=1):
            after = world.clone() if number < len(moves) else world
            move(after)
            mark = after.fingerprint()
            if mark not in seen:
                seen.add(mark)
                stack.append(after)
    return len(seen)


@pytest.mark.timeout(180)
def test_both_call_at_once_gives_one_call_in_every_order_of_events() -> None:
    """All interleavings of two dials: one call, the same at both ends, and nobody missed one."""
    world = World()
    world.want("left", e.Dial())
    world.want("right", e.Dial())
    count = explore(world, check_one_call)
    print(f"{count} worlds")
    assert count > 500


@given(st.booleans(), st.lists(st.integers(0, 2**16), max_size=60), st.integers(0, 6))
def test_both_call_over_a_network_that_loses_and_repeats(low: bool, script: list[int], losses: int) -> None:
    """Whatever is lost, repeated or reordered for a while, one call results once messages get through."""
    world = World(low_first=low)
    world.want("left", e.Dial())
    world.want("right", e.Dial())
    play(world, script, losses)
    for _ in range(200):
        world.settle()
        check_safe(world)
        if (world.left.connected() and world.right.connected()) or world.deadline() is None:
            break
        world.tick(world.deadline() or world.now)
    check_one_call(world)


wishes = st.lists(
    st.tuples(
        st.sampled_from(["left", "right"]),
        st.sampled_from([e.Dial(), e.Dial(wait=20), e.Answer(), e.Decline(), e.Hangup()]),
    ),
    max_size=6,
)


@given(st.booleans(), wishes, st.lists(st.integers(0, 2**16), max_size=80), st.integers(0, 40))
def test_both_ends_agree_in_the_end_whatever_the_users_and_the_network_do(
    low: bool, wanted: list[tuple[str, e.UserEvent]], script: list[int], losses: int
) -> None:
    """Once it is quiet both ends are in the same call or in none, and nothing is left open or ringing."""
    world = World(low_first=low)
    for name, event in wanted:
        world.want(name, event)
    play(world, script, losses)
    for _ in range(300):
        world.settle()
        check_safe(world)
        at = world.deadline()
        if at is None:
            break
        world.tick(at)
    trace = "\n".join(world.trace)
    left, right = world.left.connected(), world.right.connected()
    assert [m.call_id for m in left] == [m.call_id for m in right], trace
    assert len(world.left.live()) == len(left), trace
    assert len(world.right.live()) == len(right), trace
    for side in (world.left, world.right):
        assert len(side.endpoints) == len(side.connected()), trace
        assert side.rings == 0, trace


def play(world: World, script: list[int], losses: int) -> None:
    """Let ``script`` choose what happens next; at most ``losses`` messages are lost."""
    for number in script:
        moves = choices(world)
        what, pick = number % 8, number // 8
        if what == 0 and world.network and losses:
            world.drop(pick % len(world.network))
            losses -= 1
        elif what == 1 and world.network:
            world.deliver(pick % len(world.network), keep=True)
        elif what == 2 and not world.busy() and pick % 4 == 0:
            world.tick(world.deadline() or world.now)
        elif moves:
            moves[pick % len(moves)](world)
        check_safe(world)
