"""All protocols at one gateway: who answers first with what is wanted.

Law 1: PCP and the harmless questions of NAT-PMP and UPnP are asked at once. A worse protocol asks for
mappings only when each better one has failed, or had its head start: ``PORTMAP_HEAD_START`` for each rank.
Law 2: an answer that comes late is taken. A better protocol that maps late takes over, and nothing is removed
for that: a gateway that speaks several has one table, and the mapping is often the same.
Law 3: where nothing answers, it is asked again after ``PORTMAP_SILENT``, and each time after twice as long.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from meshcall.errors import Rejected
from meshcall.limits import (
    PORTMAP_ANNOUNCE_PAUSE,
    PORTMAP_ANNOUNCE_SPREAD,
    PORTMAP_HEAD_START,
    PORTMAP_REFUSED,
    PORTMAP_RENEW_MAX,
    PORTMAP_SETTLE,
    PORTMAP_SILENT,
    PORTMAP_SILENT_MAX,
    PORTMAP_VERDICT,
)
from meshcall.portmap import natpmp, pcp
from meshcall.portmap.attempt import NEVER, Attempt
from meshcall.portmap.mapping import Gateway, Mapping, Service, State
from meshcall.portmap.natpmp_attempt import NatPmpAttempt
from meshcall.portmap.pcp_attempt import PcpAttempt
from meshcall.portmap.requests import Random, spread
from meshcall.portmap.ssdp import GROUP, PORT, encode_searches
from meshcall.portmap.upnp_attempt import MapUpnp, UnmapUpnp, UpnpAttempt, UpnpCommand

CONTROL_PORT = 5351
"""Gateways take requests of NAT-PMP and PCP there."""


@dataclass(frozen=True, slots=True)
class Search:
    """An SSDP datagram."""

    octets: bytes
    destination: tuple[str, int]


class Race:
    """One gateway."""

    def __init__(
        self,
        gateway: Gateway,
        services: tuple[Service, ...],
        *,
        lifetime: int,
        secret: bytes,
        random: Random,
        counters: Counter[str],
    ) -> None:
        self.gateway = gateway
        self.took: float | None = None
        """Seconds from the question to the first mapping; None: there was none."""
        self._random = random
        self._counters = counters
        self._pcp = PcpAttempt(gateway, services, lifetime, random, secret=secret)
        self._natpmp = NatPmpAttempt(gateway, services, lifetime, random)
        self._upnp = UpnpAttempt(gateway, services, lifetime, random)
        # IPv6 has no ports to map but firewalls, which PCP alone is spoken to about
        self._attempts: tuple[Attempt, ...] = (
            (self._pcp,) if gateway.version == 6 else (self._pcp, self._natpmp, self._upnp)
        )
        self._begun = NEVER
        self._again = NEVER
        self._silent = PORTMAP_SILENT
        self._hasten = NEVER
        self._announced = float("-inf")
        self._had = False
        self._released = False

    # --- input ------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Ask; mappings that there are have to be confirmed."""
        self._begun, self._again, self._hasten = now, NEVER, NEVER
        self.took = None
        for attempt in self._attempts:
            if attempt.mapped:
                attempt.lost(now)
            else:
                attempt.start(now)
        self._consider(now)

    def want(self, services: tuple[Service, ...], now: float) -> None:
        """Map these from now on."""
        for attempt in self._attempts:
            attempt.want(services, now)
        self._consider(now)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram from the gateway's port 5351."""
        try:
            self._take_untrusted(data, now)
        except Rejected as rejected:
            self._counters[f"portmap-{rejected.reason}"] += 1
        self._consider(now)

    def unreachable(self, now: float) -> None:
        """The gateway says that nothing listens at that port."""
        self._pcp.unreachable()
        self._natpmp.unreachable()
        self._consider(now)

    def announced(self, data: bytes, now: float) -> None:
        """A datagram that the gateway has sent to everybody."""
        try:
            if data[:1] == bytes((pcp.VERSION,)):
                if not isinstance(pcp.decode_answer_untrusted(data), pcp.Announcement):
                    raise Rejected("announcement")
            elif not isinstance(natpmp.decode_answer_untrusted(data), natpmp.ExternalAddress):
                raise Rejected("announcement")
        except Rejected as rejected:
            self._counters[f"portmap-{rejected.reason}"] += 1
            return
        # Anybody on the LAN can send it in the gateway's name: it makes us ask, and tells nothing
        if self._hasten == NEVER:
            wait = max(0.0, self._announced + PORTMAP_ANNOUNCE_PAUSE - now)
            self._hasten = now + wait + spread(self._random, PORTMAP_ANNOUNCE_SPREAD / 2, 1.0)
        else:
            self._counters["portmap-announcements"] += 1

    def receive_ssdp(self, data: bytes, now: float) -> None:
        """An answer of the gateway to a search."""
        try:
            self._upnp.receive(data, now)
        except Rejected as rejected:
            self._counters[f"portmap-ssdp-{rejected.reason}"] += 1
        self._consider(now)

    def upnp_mapped(self, command: MapUpnp, external: tuple[str, int], lifetime: float, now: float) -> None:
        """The gateway has made a mapping; ``lifetime`` 0: for ever."""
        self._upnp.mapped_as(command, external, lifetime, now)
        self._consider(now)

    def upnp_removed(self, command: UnmapUpnp) -> None:
        """The gateway has removed a mapping."""
        self._upnp.removed(command)

    def upnp_failed(self, command: UpnpCommand, failure: str, now: float, *, refused: bool) -> None:
        """The gateway has not done it: it said no (``refused``), or nothing that makes sense."""
        self._upnp.failed(command, failure, now, refused=refused)
        self._consider(now)

    def handle_timer(self, now: float) -> None:
        """To be called when :meth:`deadline` is reached."""
        for attempt in self._attempts:
            attempt.handle_timer(now)
        if self._hasten <= now and not self._released:
            self._announced = now
            self.start(now)
        elif self._again <= now and not self._released:
            self.start(now)
        self._consider(now)

    def release(self, now: float) -> None:
        """Give all mappings back; nothing is asked for any more."""
        self._released = True
        self._again = self._hasten = NEVER
        for attempt in self._attempts:
            attempt.release(now)

    # --- output -----------------------------------------------------------------------------------

    def transmits(self) -> list[bytes]:
        """Datagrams for the gateway's port 5351."""
        return self._pcp.transmits() + self._natpmp.transmits()

    def searches(self) -> list[Search]:
        """Datagrams of SSDP."""
        if not self._upnp.search_wanted():
            return []
        host = self.gateway.host
        return [Search(octets, (host, PORT)) for octets in encode_searches(host)] + [
            Search(octets, (GROUP, PORT)) for octets in encode_searches(None)
        ]

    def commands(self) -> list[UpnpCommand]:
        """What is to be said to the gateway by HTTP; each is to be answered."""
        return self._upnp.commands()

    def deadline(self) -> float:
        """When to call :meth:`handle_timer`; infinite: never."""
        due = [attempt.deadline() for attempt in self._attempts]
        return min(*due, self._again, self._hasten, self._step, self._settles)

    # --- state ------------------------------------------------------------------------------------

    @property
    def released(self) -> bool:
        """Whether everything is given back, as far as the gateway can be heard."""
        return self._released and not any(attempt.busy for attempt in self._attempts)

    def mappings(self) -> dict[Service, Mapping]:
        """Those of the best protocol that has any."""
        return next((attempt.mappings for attempt in self._attempts if attempt.mapped), {})

    def state(self, now: float) -> State:
        """How it stands."""
        if self._released:
            return "released"
        mappings = self.mappings()
        if mappings:
            return "mapped" if any(one.reachable for one in mappings.values()) else "double-nat"
        if now < self._begun + PORTMAP_VERDICT and not self._all_failed():
            return "asking"
        return "refused" if any(attempt.heard for attempt in self._attempts) else "silent"

    def failures(self) -> dict[str, str]:
        """Why there is no mapping, by protocol, where the gateway said it."""
        return {one.protocol: one.failure for one in self._attempts if one.heard and one.failure}

    # --- inside -----------------------------------------------------------------------------------

    _step = NEVER
    """When the next protocol may ask."""
    _settles = NEVER
    """When the state is another one, or it is planned to ask once more."""

    def _take_untrusted(self, data: bytes, now: float) -> None:
        if data[:1] != bytes((natpmp.VERSION,)):
            answer = pcp.decode_answer_untrusted(data)
            if answer == pcp.Unsupported(pcp.VERSION):
                self._natpmp.unsupported()  # who speaks PCP does not say that of our PCP
            else:
                self._pcp.receive(answer, now)
            return
        told = natpmp.decode_answer_untrusted(data)
        if isinstance(told, natpmp.Failure) and told.result == natpmp.Result.UNSUPPORTED_VERSION:
            self._pcp.unsupported()  # likewise: our PCP is what it does not understand
        else:
            self._natpmp.receive(told, now)

    def _all_failed(self) -> bool:
        return all(attempt.failure for attempt in self._attempts)

    def _consider(self, now: float) -> None:
        self._step = self._settles = NEVER
        if self._released:
            return
        if self.mappings():
            if self.took is None:
                self.took = now - self._begun
            self._silent, self._again, self._had = PORTMAP_SILENT, NEVER, True
        for rank, attempt in enumerate(self._attempts):
            if attempt.mapped:
                return
            if attempt.heard and not attempt.asked and not attempt.failure:
                may = self._may_ask_at(rank)
                if may > now:
                    self._step = min(self._step, may)
                else:
                    attempt.map(now)
        if self._again == NEVER:
            settles = self._begun + PORTMAP_SETTLE
            if self._had or now >= settles:
                self._plan_again(now)
            else:
                verdict = self._begun + PORTMAP_VERDICT
                self._settles = verdict if now < verdict else settles

    def _may_ask_at(self, rank: int) -> float:
        """When the attempt of this rank may ask for mappings."""
        better = [one for one in self._attempts[:rank] if not one.failure]
        if not better:
            return self._begun
        if any(one.heard for one in better):
            return self._begun + PORTMAP_VERDICT  # one of them is at it
        return self._begun + PORTMAP_HEAD_START * rank

    def _plan_again(self, now: float) -> None:
        if self._had:  # what was mapped has ended: the gateway may be another one now
            self._had = False
            self._again = now + spread(self._random, PORTMAP_ANNOUNCE_SPREAD / 2, 1.0)
            return
        refused = [one for one in self._attempts if one.failure and one.heard]
        if refused:
            wait = max(PORTMAP_REFUSED, min((one.retry_after for one in refused), default=0.0))
            self._again = now + spread(self._random, min(wait, PORTMAP_RENEW_MAX), 0.2)
        else:
            self._again = now + spread(self._random, self._silent, 0.2)
            self._silent = min(2 * self._silent, PORTMAP_SILENT_MAX)
