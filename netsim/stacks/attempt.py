"""One call from one host to another, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from netsim.lab import Host

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

    async def end(self) -> None:
        """Hang up. Idempotent."""


class Stack(Protocol):
    """A program that runs on hosts and makes calls."""

    name: str

    async def start(self, host: Host, servers: tuple[IceServer, ...]) -> None:
        """Make ``host`` ready to call and to be called."""

    async def begin(self, caller: Host, callee: Host) -> LiveCall:
        """Call with sound; returns when both ends have media, or when it is known that they won't."""

    def close(self) -> None:
        """No more calls will be made. Idempotent."""
