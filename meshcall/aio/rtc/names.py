"""Candidates of browsers that hide their addresses: ``<uuid>.local``, resolved by mDNS (RFC 8828).

Law 1: a name is asked for once in a call, ``ICE_NAMES_MAX`` names in all, and nothing waits for the answer.
Law 2: what a name stands for passes the filter that an address of the peer's own would have to pass.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from meshcall import limits
from meshcall.aio.rtc.remote import usable_untrusted
from meshcall.ice.candidate import Candidate, CandidatePolicy

Resolve = Callable[[str], Awaitable[list[str]]]
"""Name -> IP addresses that anybody on the LAN may have told, or none. Must end, and not raise."""


class Names:
    """The names of one call's peer."""

    def __init__(
        self,
        resolve: Resolve,
        *,
        policy: Callable[[], CandidatePolicy],
        counters: Counter[str],
        on_found: Callable[[list[Candidate]], None],
    ) -> None:
        """``on_found``: told the candidates that may be checked, in the loop."""
        self._resolve = resolve
        self._policy = policy
        self._counters = counters
        self._on_found = on_found
        self._asked: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def look_up(self, candidate: Candidate) -> None:
        """Have a candidate with a name resolved, if there is room."""
        if candidate.address in self._asked:
            return
        if len(self._asked) >= limits.ICE_NAMES_MAX:
            self._counters["candidate-too-many-names"] += 1
            return
        self._asked.add(candidate.address)
        task = asyncio.create_task(self._look_up(candidate), name="ice-name")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, candidate: Candidate) -> None:
        found = (await self._resolve(candidate.address))[: limits.ICE_NAME_ADDRESSES_MAX]
        if not found:
            self._counters["candidate-unresolved"] += 1
        policy = replace(self._policy(), allow_mdns=False)
        named = [replace(candidate, address=ip) for ip in found]
        self._on_found(usable_untrusted(named, policy, self._counters))

    async def close(self) -> None:
        """Ask no more. Idempotent."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
