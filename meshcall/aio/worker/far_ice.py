"""In a worker: the stand-in for the ICE session that the node runs for this call.

Law 1: it decides nothing; what the node has told last is what it shows.
Law 2: what the peer sends waits in a queue with an end; what is sent goes out at once or never.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from meshcall import limits
from meshcall.aio.worker import messages as w
from meshcall.ice.candidate import Candidate, decode_items_untrusted, encode_candidates
from meshcall.ice.check import Credentials
from meshcall.ice.events import IceEvent
from meshcall.ice.notes import Note
from meshcall.media.plan import MediaPlan


class FarIce:
    """See :class:`meshcall.aio.ice.call_ice.CallIce`."""

    def __init__(
        self, local: Credentials, tell: Callable[[Any], object], transmit: Callable[[bytes], bool]
    ) -> None:
        """``tell``: a message to the node; ``transmit``: a datagram to the peer, by way of the node."""
        self.local = local
        self._controlling = False
        self.candidates: list[Candidate] = []
        self.expects_more = False
        self.notes: tuple[Note, ...] = ()
        self.sink: Callable[[bytes], bool] | None = None
        self._tell = tell
        self._transmit = transmit
        self._remote: list[Candidate] = []
        self._loop = asyncio.get_running_loop()
        self._gathered: asyncio.Future[str] = self._loop.create_future()
        self._outcome: asyncio.Future[str] = self._loop.create_future()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._silence = (0.0, 0.0)  # seconds, told at
        self._counters: Counter[str] = Counter()
        self._on_event: Callable[[IceEvent], None] = lambda _: None

    def bind(self, _: MediaPlan, counters: Counter[str], on_event: Callable[[IceEvent], None]) -> FarIce:
        """See :data:`meshcall.aio.ice.call_ice.MakeIce`."""
        self._counters, self._on_event = counters, on_event
        return self

    # --- what the endpoint wants ---

    @property
    def controlling(self) -> bool:
        """See :class:`CallIce`; the node's session may hear the peer before it is started."""
        return self._controlling

    @controlling.setter
    def controlling(self, value: bool) -> None:
        self._controlling = value
        self._tell(w.Lead(value))

    @property
    def remote_candidates(self) -> list[Candidate]:
        """Those that were handed on."""
        return list(self._remote)

    async def gather(self) -> None:
        """Have the node open ports; raises OSError."""
        self._tell(w.Gather())
        if error := await asyncio.shield(self._gathered):
            raise OSError(error)

    def start(self, remote: Credentials) -> None:
        """Begin to check."""
        self._tell(w.Start(remote.ufrag, remote.pwd, anew=False))

    def restart(self, remote: Credentials) -> None:
        """The peer has other credentials."""
        self._tell(w.Start(remote.ufrag, remote.pwd, anew=True))

    def add_remote(self, candidates: Iterable[Candidate]) -> None:
        """More of the peer's candidates."""
        found = list(candidates)[: limits.WORKER_CANDIDATES_MAX]
        if found:
            self._remote = [*self._remote, *found][-limits.ICE_REMOTE_CANDIDATES_MAX :]
            self._tell(w.Remote(found, b""))

    def add_notes(self, notes: Iterable[Note]) -> None:
        """What the peer tells besides candidates."""
        if data := encode_candidates([], notes):
            self._tell(w.Remote([], data))

    def silence(self) -> float:
        """See :class:`CallIce`."""
        seconds, told_at = self._silence
        return seconds + self._loop.time() - told_at if seconds else 0.0

    async def connected(self) -> None:
        """Return when a pair is selected; raises ConnectionError, with the reason."""
        if reason := await asyncio.shield(self._outcome):
            raise ConnectionError(reason)

    def send(self, data: bytes) -> None:
        """Send to the peer; raises ConnectionError when it is over."""
        if self._ended.is_set():
            raise ConnectionError("the path is closed")
        if data and not self._transmit(data):
            self._counters["worker-unsent"] += 1

    def send_all(self, datagrams: Sequence[bytes]) -> None:
        """Send several, in order, as :meth:`send` does."""
        for data in datagrams:
            self.send(data)

    async def recv(self) -> bytes:
        """The next datagram of the peer's; raises ConnectionError when there will be none."""
        data = None if self._ended.is_set() and self._queue.empty() else await self._queue.get()
        if data is None:
            self._queue.put_nowait(None)
            raise ConnectionError("the path is closed")
        return data

    async def wait_closed(self) -> None:
        """Return when it is closed."""
        await self._ended.wait()

    async def close(self) -> None:
        """End it, in the node too. Idempotent."""
        if not self._ended.is_set():
            self._tell(w.CloseIce())
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._queue.put_nowait(None)
        for future in (self._gathered, self._outcome):
            if not future.done():
                future.set_result("closed")

    # --- what the node tells ---

    def told(
        self,
        message: w.IceState | w.IceGathered | w.IceHappened | w.IceOutcome | w.IceSilence | w.IceClosed,
    ) -> None:
        """Something is another way."""
        match message:
            case w.IceState(candidates, expects_more, notes):
                self.candidates, self.expects_more = candidates, expects_more
                self.notes = decode_items_untrusted(notes)[1]
            case w.IceGathered(error):
                if not self._gathered.done():
                    self._gathered.set_result(error)
            case w.IceHappened():
                self._on_event(w.ice_event(message))
            case w.IceOutcome(reason):
                if not self._outcome.done():
                    self._outcome.set_result(reason)
            case w.IceSilence(seconds):
                self._silence = seconds, self._loop.time()
            case w.IceClosed():
                self._end()

    def receive(self, data: bytes) -> None:
        """A datagram of the peer's."""
        if self.sink is not None and self.sink(data):
            return
        if self._queue.qsize() >= limits.ICE_QUEUE_MAX:
            self._counters["ice-flood"] += 1
        else:
            self._queue.put_nowait(data)
