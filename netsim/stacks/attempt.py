"""One call from one host to another, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from netsim.lab import Host
from netsim.process import LabProcess

Route = Literal["direct", "relay", "fail"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a call went."""

    route: Route
    seconds: float | None
    """From the answer to the first media at both ends; None: there was none."""
    reason: str = ""
    """Why it failed, in the program's own words."""
    total: float | None = None
    """From the call's begin to the first media at both ends."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that both sides are told of."""

    uri: str
    username: str = ""
    credential: str = ""


class LiveCall(Protocol):
    """A call that was begun."""

    attempt: Attempt

    @property
    def route(self) -> Route:
        """How its media travels now; ``fail``: it does not."""

    async def end(self) -> None:
        """Hang up. Idempotent."""


class Stack(Protocol):
    """A program that runs on hosts and makes calls."""

    name: str

    async def start(self, host: Host, servers: tuple[IceServer, ...]) -> None:
        """Start the program on ``host``. If it ran there before, it starts again, with the same identity."""

    async def ready(self, host: Host) -> None:
        """Return when others can call it, or when that takes too long: then its calls will tell."""

    def program(self, host: Host) -> LabProcess:
        """What was started last on ``host``."""

    async def begin(self, caller: Host, callee: Host) -> LiveCall:
        """Call with sound; returns when both ends have media, or when it is known that they won't."""

    def close(self) -> None:
        """No more calls will be made. Idempotent."""
