"""One machine and a clock that a test moves."""

from __future__ import annotations

from typing import TypeVar

from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.machine import CallMachine
from meshcall.call.state import State
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

C = TypeVar("C", bound=c.Command)
LOW, HIGH = sorted(PeerId.from_key(SigningKey.from_seed(bytes([n]) * 32).public) for n in (1, 2))
CALL, OTHER = b"c" * 16, b"d" * 16
OFFER, ANSWER = b"offer", b"answer"


class One:
    """A machine of LOW (or HIGH) with the other as its peer."""

    def __init__(self, *, low: bool = True) -> None:
        self.machine = CallMachine(LOW, HIGH, CALL) if low else CallMachine(HIGH, LOW, CALL)
        self.now = 1000.0
        self.log: list[c.Command] = []

    def state(self) -> State:
        return self.machine.state

    def feed(self, *events: e.Event) -> list[c.Command]:
        """What the events made it do."""
        done = [command for event in events for command in self.machine.handle(event, self.now)]
        self.log += done
        return done

    def wait(self, seconds: float) -> list[c.Command]:
        """Let time pass, stopping at each deadline."""
        end = self.now + seconds
        done: list[c.Command] = []
        while (at := self.machine.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            done += self.machine.handle_timer(self.now)
        self.now = end
        self.log += done
        return done

    def the(self, kind: type[C]) -> C:
        """The only command of ``kind`` so far."""
        (command,) = self.all(kind)
        return command

    def all(self, kind: type[C]) -> list[C]:
        """Every command of ``kind`` so far."""
        return [command for command in self.log if isinstance(command, kind)]

    # --- the way to each state ---

    def calling(self, **dial: float) -> One:
        self.feed(e.Dial(**dial), e.EndpointReady(OFFER), e.PresenceFound())
        return self

    def ringing(self) -> One:
        self.calling().feed(e.Delivered(1, 8), e.RingingReceived(CALL))
        return self

    def connecting(self) -> One:
        self.ringing().feed(e.AnswerReceived(CALL, ANSWER, 500))
        return self

    def confirming(self) -> One:
        self.connecting().feed(e.IceConnected("direct"), e.Secured())
        return self

    def connected(self) -> One:
        self.confirming().feed(e.ControlOpen(), e.ConfirmReceived(True), e.ConfirmedReceived())
        return self

    def incoming(self) -> One:
        self.feed(e.OfferReceived(CALL, OFFER, 500))
        return self

    def answering(self) -> One:
        self.incoming().feed(e.Answer(), e.AnswerReady(ANSWER))
        return self
