"""What the first endpoint of a process costs more than the second, spent before a call waits for it.

In the process that forks, it loads what is loaded late; in a worker, it makes the pages that an endpoint
writes to the worker's own: 3,000 faults, 15 ms.

Law: no socket is opened, no thread is left, and nothing stays but loaded code and filled caches.
"""

from __future__ import annotations

from typing import Any

from meshcall.aio.rtc.endpoint import make_endpoint
from meshcall.aio.worker import messages as w
from meshcall.aio.worker.far_ice import FarIce
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Credentials
from meshcall.media.plan import MediaPlan


class _NoIce(FarIce):
    """Has one address, and sends nothing."""

    def __init__(self) -> None:
        super().__init__(Credentials("warm", "w" * 22), self._answer, lambda _: True)

    def _answer(self, message: Any) -> None:
        if isinstance(message, w.Gather):
            address = Candidate("host", "udp", "192.0.2.1", 9, 1)
            self.told(w.IceState([address], False, b""))
            self.told(w.IceGathered())


async def warm_up() -> None:
    """Describe two endpoints to each other, as far as that goes without a network."""
    plan = MediaPlan()
    left, right = (make_endpoint(plan, make_ice=_NoIce().bind) for _ in range(2))
    await right.answer(await left.offer())
    for one in (left, right):
        await one.close()
