"""The pages that are open now, and which of them has which call's media.

Law 1: an endpoint belongs to one page from its making to its end; nobody else can speak for it.
Law 2: when a page goes away, its calls are over: they are hung up, and the peers are told.
Law 3: what a page sends that makes no sense is counted and has no effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.page.endpoint import PageEndpoint
from meshcall.errors import PageGone, Rejected, TooManyListeners
from meshcall.identity.keys import Random
from meshcall.media import page as p
from meshcall.media.plan import MediaPlan

Send = Callable[[p.ToPage], None]
"""Queues a message to a page; never waits, never raises."""


class PageDesk:
    """All pages of one node."""

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        counters: Counter[str],
        servers: Callable[[], Sequence[p.IceServerView]],
    ) -> None:
        """``servers``: STUN and TURN servers to hand to a page now."""
        self._clock = clock
        self._random = random
        self._counters = counters
        self._servers = servers
        self.on_gone: Callable[[str], object] = lambda page: None
        """Told of each page that is gone."""
        self._pages: dict[str, Send] = {}
        self._endpoints: dict[str, tuple[str, PageEndpoint]] = {}

    def __len__(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def open(self, send: Send) -> str:
        """A page is there; returns its name. Raises :class:`TooManyListeners`."""
        if len(self._pages) >= limits.PAGES_MAX:
            raise TooManyListeners
        name = self._random(8).hex()
        self._pages[name] = send
        return name

    def close(self, page: str) -> None:
        """A page is gone, whatever the reason. Idempotent."""
        self._pages.pop(page, None)
        for owner, endpoint in list(self._endpoints.values()):
            if owner == page:
                endpoint.page_gone()
        self.on_gone(page)

    def has(self, page: str) -> bool:
        """Whether that page is open."""
        return page in self._pages

    def make(self, plan: MediaPlan) -> PageEndpoint:
        """An endpoint on ``plan.page``; raises :class:`PageGone`."""
        send = self._pages.get(plan.page)
        if send is None:
            raise PageGone
        name = self._random(8).hex()
        endpoint = PageEndpoint(
            name,
            plan,
            send=send,
            clock=self._clock,
            servers=self._servers,
            on_closed=lambda: self._endpoints.pop(name, None),
        )
        self._endpoints[name] = plan.page, endpoint
        return endpoint

    def receive(self, page: str, data: bytes | str) -> None:
        """A message of ``page``."""
        try:
            message = p.decode_page_untrusted(data)
        except Rejected as error:
            self._counters[f"page-{error.reason}"] += 1
            return
        owner, endpoint = self._endpoints.get(message.media, ("", None))
        if endpoint is None or owner != page:
            self._counters["page-foreign"] += 1  # also what was under way when an endpoint was closed
            return
        endpoint.receive(message)
