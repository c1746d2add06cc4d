"""For the tests of programs that use meshcall: a clock, a lossy link in virtual time, a DHT on this machine.

``FakeClock`` and ``Link`` need no event loop; ``Testnet`` runs real nodes on 127.0.0.1. It is loaded when it
is first asked for: tests of pure parts need no sockets, and ``python -m meshcall.testing.testnet`` loads it
once. ``meshcall.testing.bottleneck`` has a narrow link and the calls that share it, for rate control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshcall.testing.clock import FakeClock, seeded_random
from meshcall.testing.link import Link

if TYPE_CHECKING:
    from meshcall.testing.testnet import Testnet

__all__ = ["FakeClock", "Link", "Testnet", "seeded_random"]


def __getattr__(name: str) -> Any:
    if name == "Testnet":
        from meshcall.testing.testnet import Testnet

        return Testnet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
