"""Two nodes, the call machines they hold, and a network that a test decides about, message by message."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.glare import machine_for
from meshcall.call.machine import CallMachine
from meshcall.call.state import State
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

_KEYS = sorted(PeerId.from_key(SigningKey.from_seed(bytes([n]) * 32).public) for n in (1, 2))
LOW, HIGH = _KEYS[0], _KEYS[1]


@dataclass
class Endpoint:
    """What two machines know of a media endpoint: whose offer and answer it holds."""

    session: bytes
    complete: bool = False
    up: bool = False


@dataclass
class Side:
    """One node: its machines, what its own shell will tell them, and what its user saw."""

    name: str
    me: PeerId
    peer: PeerId
    machines: list[CallMachine] = field(default_factory=list)
    pending: list[tuple[CallMachine | None, e.Event]] = field(default_factory=list)
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    rang: int = 0
    rings: int = 0
    ended: list[c.Ended] = field(default_factory=list)
    clock_ms: int = 0
    calls: int = 0

    def key(self, machine: CallMachine) -> int:
        return self.machines.index(machine)

    def live(self) -> list[CallMachine]:
        return [m for m in self.machines if not m.ended]

    def connected(self) -> list[CallMachine]:
        return [m for m in self.machines if m.state is State.CONNECTED]

    def first_pending(self) -> list[int]:
        """Pending events that may come next: the first of each source, for a source keeps its order."""
        seen: set[tuple[int, str]] = set()
        result = []
        for index, (machine, event) in enumerate(self.pending):
            source = (-1 if machine is None else self.key(machine), event.group)
            if source not in seen:
                seen.add(source)
                result.append(index)
        return result


class World:
    """Both sides and everything on its way between them."""

    def __init__(self, *, low_first: bool = True) -> None:
        ids = (LOW, HIGH) if low_first else (HIGH, LOW)
        self.left = Side("left", ids[0], ids[1])
        self.right = Side("right", ids[1], ids[0])
        self.now = 100.0
        self.network: list[tuple[str, e.PeerMessage]] = []  # (to whom, message)
        self.trace: list[str] = []

    def clone(self) -> World:
        # Twice as fast as a deep copy
        other: World = pickle.loads(pickle.dumps(self, pickle.HIGHEST_PROTOCOL))
        return other

    def side(self, name: str) -> Side:
        return self.left if name == "left" else self.right

    def other(self, side: Side) -> Side:
        return self.right if side is self.left else self.left

    # --- inputs ---

    def want(self, name: str, event: e.UserEvent) -> None:
        """The user will do ``event`` when the test lets it."""
        self.side(name).pending.append((None, event))

    def user(self, side: Side, event: e.UserEvent) -> None:
        live = side.live()
        if isinstance(event, e.Dial):
            if live and live[0].state is not State.INCOMING:
                return  # the node shows the call that is there
            if not live:
                side.calls += 1
                call_id = side.me.key[:8] + side.calls.to_bytes(8, "big")
                side.machines.append(CallMachine(side.me, side.peer, call_id))
                live = side.live()
        if not live or (isinstance(event, e.Answer | e.Decline) and live[0].state is not State.INCOMING):
            return
        self.feed(side, live[0], event)

    def run_pending(self, side: Side, index: int) -> None:
        machine, event = side.pending.pop(index)
        self.trace.append(f"{side.name}: {type(event).__name__}")
        if machine is None:
            assert isinstance(event, e.UserEvent)
            self.user(side, event)
        else:
            self.feed(side, machine, event)

    def deliver(self, index: int, *, keep: bool = False) -> None:
        to, message = self.network[index]
        if not keep:
            del self.network[index]
        self.trace.append(f"-> {to}: {type(message).__name__} {message.call_id[-9:].hex()}")
        self.arrive(self.side(to), message)

    def drop(self, index: int) -> None:
        to, message = self.network.pop(index)
        self.trace.append(f"lost -> {to}: {type(message).__name__}")

    def arrive(self, side: Side, message: e.PeerMessage) -> None:
        machine = machine_for(side.machines, side.peer, message.call_id)
        if machine is None:
            if not isinstance(message, e.OfferReceived | e.HangupReceived):
                return
            machine = CallMachine(side.me, side.peer, message.call_id)
            side.machines.append(machine)
        self.feed(side, machine, message)

    def tick(self, to: float) -> None:
        self.now = max(self.now, to)
        for side in (self.left, self.right):
            for machine in list(side.machines):
                self.run(side, machine, machine.handle_timer(self.now))

    def deadline(self) -> float | None:
        times = [m.deadline() for side in (self.left, self.right) for m in side.machines]
        return min((at for at in times if at is not None), default=None)

    def busy(self) -> bool:
        """Whether a shell has something under way: that is done long before any timer fires."""
        return any(machine is not None for side in (self.left, self.right) for machine, _ in side.pending)

    # --- outputs ---

    def feed(self, side: Side, machine: CallMachine, event: e.Event) -> None:
        self.run(side, machine, machine.handle(event, self.now))

    def send(self, side: Side, message: e.PeerMessage) -> None:
        self.network.append((self.other(side).name, message))

    def run(self, side: Side, machine: CallMachine, commands: list[c.Command]) -> None:
        side.clock_ms += 1
        for command in commands:
            match command:
                case c.FindPresence():
                    side.pending.append((machine, e.PresenceFound()))
                case c.CreateOffer():
                    session = machine.call_id
                    side.endpoints[side.key(machine)] = Endpoint(session)
                    side.pending.append((machine, e.EndpointReady(session)))
                case c.CreateAnswer(offer):
                    side.endpoints[side.key(machine)] = Endpoint(offer, complete=True)
                    side.pending.append((machine, e.AnswerReady(offer)))
                case c.AcceptAnswer(answer):
                    endpoint = side.endpoints[side.key(machine)]
                    assert answer == endpoint.session, "an answer to another offer was accepted"
                    endpoint.complete = True
                    self.connect(side, machine)
                case c.SendOffer(call_id, offer):
                    self.send(side, e.OfferReceived(call_id, offer, side.clock_ms))
                    side.pending.append((machine, e.Delivered(1, 1)))
                    side.pending.append((machine, e.Reached()))
                case c.SendRinging(call_id):
                    self.send(side, e.RingingReceived(call_id))
                case c.SendAnswer(call_id, answer):
                    self.send(side, e.AnswerReceived(call_id, answer, side.clock_ms))
                case c.SendReject(call_id, reason):
                    self.send(side, e.RejectReceived(call_id, reason))
                case c.SendHangup(call_id, reason):
                    self.send(side, e.HangupReceived(call_id, reason))
                case c.SendConfirm():
                    self.control(side, machine, e.ConfirmReceived(valid=True))
                case c.SendConfirmed():
                    self.control(side, machine, e.ConfirmedReceived())
                case c.SendBye(failure):
                    self.control(side, machine, e.Bye(failure))
                case c.CloseMedia():
                    self.control(side, machine, e.TransportLost(clean=True))
                    del side.endpoints[side.key(machine)]
                    side.pending = [
                        (m, event) for m, event in side.pending if m is not machine or event.group != "media"
                    ]
                case c.StartIncoming(event):
                    self.arrive(side, event)
                case c.Ring():
                    side.rang += 1
                    side.rings += 1
                case c.StopRing():
                    side.rings -= 1
                case c.Ended():
                    side.ended.append(command)
                case _:
                    pass

    def partner(self, side: Side, machine: CallMachine) -> CallMachine | None:
        """The other side's machine whose endpoint has the same session, once both ends are complete."""
        mine = side.endpoints.get(side.key(machine))
        other = self.other(side)
        for candidate in other.machines:
            theirs = other.endpoints.get(other.key(candidate))
            if mine and theirs and theirs.session == mine.session and mine.complete and theirs.complete:
                return candidate
        return None

    def connect(self, side: Side, machine: CallMachine) -> None:
        """ICE and DTLS come up at both ends of a session."""
        partner = self.partner(side, machine)
        if partner is None:
            return
        for where, who in ((side, machine), (self.other(side), partner)):
            endpoint = where.endpoints[where.key(who)]
            if not endpoint.up:
                endpoint.up = True
                for event in (e.IceConnected("lan"), e.Secured(), e.ControlOpen()):
                    where.pending.append((who, event))

    def control(self, side: Side, machine: CallMachine, event: e.MediaEvent) -> None:
        """The control channel: reliable and in order while both endpoints are up."""
        partner = self.partner(side, machine)
        mine = side.endpoints.get(side.key(machine))
        if partner is not None and mine is not None and mine.up:
            self.other(side).pending.append((partner, event))

    # --- the choices a test has ---

    def settle(self, limit: int = 400) -> None:
        """From now on everything arrives, in order, until nothing is under way."""
        for _ in range(limit):
            if self.left.pending:
                self.run_pending(self.left, 0)
            elif self.right.pending:
                self.run_pending(self.right, 0)
            elif self.network:
                self.deliver(0)
            else:
                return
        raise AssertionError("the two never come to rest\n" + "\n".join(self.trace[-40:]))

    def fingerprint(self) -> tuple[object, ...]:
        """Equal for worlds that behave the same from now on."""

        def side(s: Side) -> tuple[object, ...]:
            return (
                tuple(
                    (m.state, m.role, m.call_id, m._data.offer_sent, m._data.offer is not None,
                     m._data.answer is not None, m._data.secured, m._data.control_open, m._data.confirm_sent,
                     m._data.confirm_verified, m._data.own_confirmed, m._data.peer_created_ms,
                     tuple(sorted(m._data.other_ids.items())))
                    for m in s.machines
                ),
                tuple(sorted((-1 if m is None else s.key(m), repr(event)) for m, event in s.pending)),
                tuple(sorted((k, repr(v)) for k, v in s.endpoints.items())),
                s.rang, s.clock_ms,
            )  # fmt: skip

        sent = sorted((to, repr(message)) for to, message in self.network)
        return side(self.left), side(self.right), tuple(sent)
