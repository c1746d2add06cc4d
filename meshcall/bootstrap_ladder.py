"""Climbs the bootstrap ladder: asks whom ``meshcall.dht.ladder`` says, for as long as the node runs.

Law 1: names are resolved here only, only those that the user configured, and off the loop.
Law 2: whoever a rung brings is asked by our own frames and proves itself before it counts for anything.
Law 3: we are announced in Mainline only while strangers have proved that they reach us.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshcall import limits
from meshcall.address import Address, is_lan, parse_host_port
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.aio.mainline import Mainline
from meshcall.dht.compact import is_public
from meshcall.dht.ladder import Ladder, Rung, infohashes
from meshcall.views import RungView


@dataclass(slots=True)
class _Tally:
    tries: int = 0
    asked: int = 0
    answered: int = 0


class BootstrapLadder:
    """Keeps one DHT node in the network."""

    def __init__(
        self,
        dht: DhtNode,
        *,
        clock: Clock,
        hosts: Sequence[str],
        lan_only: bool = False,
        lan_services: Callable[[], list[Sequence[Address]]] = list,
        saved: int = 0,
        mainline: Mainline | None = None,
        on_joined: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda message: None,
    ) -> None:
        """``hosts``: HOST:PORT, names allowed. ``lan_services``: the addresses of each daemon on the LAN.

        ``lan_only``: the DHT of this LAN is wanted. ``saved``: contacts in the saved table. ``on_joined``:
        there are contacts, and were none.
        """
        self._dht = dht
        self._clock = clock
        self._hosts = tuple(hosts)
        self._lan_only = lan_only
        self._lan_services = lan_services
        self._saved = saved
        self._mainline = mainline
        self._on_joined = on_joined
        self._on_warning = on_warning
        self._ladder = Ladder(clock.now(), mainline=mainline is not None)
        self._private = False
        """A configured host is on a LAN: a DHT of private addresses is what the user wants."""
        self._tallies = {rung: _Tally() for rung in Rung}
        self._climbing: dict[Rung, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._joined = False

    async def run(self) -> None:
        """Climb until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    self._look(group)
                    if self._mainline is not None:
                        await self._mainline.announce(*self._announcement())
                    enough = self._useful() >= limits.LADDER_CONTACTS_ENOUGH
                    pause = limits.LADDER_POLL_JOINED if enough else limits.LADDER_POLL
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._wake.wait()
        finally:
            if self._mainline is not None:
                await self._mainline.close()

    def network_changed(self) -> None:
        """We may be elsewhere: ask everybody again."""
        self._ladder.restart(self._clock.now())
        self._wake.set()

    def lan_changed(self) -> None:
        """Another daemon was seen on the LAN."""
        if self._useful() < limits.LADDER_CONTACTS_ENOUGH:
            self._wake.set()

    async def invited(self, nodes: Sequence[Address]) -> None:
        """Ask the nodes of an invite, now."""
        await self._ask(Rung.INVITE, [one for one in nodes if not self._lan_only or is_lan(one[0])])

    def status(self) -> list[RungView]:
        """The rungs that were tried, and what they brought."""
        return [
            RungView(rung=rung, tries=tally.tries, asked=tally.asked, answered=tally.answered)
            for rung, tally in self._tallies.items()
            if tally.asked or tally.tries
        ]

    @property
    def announced(self) -> bool:
        """Whether Mainline tells others where we are."""
        return self._mainline is not None and self._mainline.announcing

    @property
    def counters(self) -> Counter[str]:
        """What was refused, by reason."""
        return Counter() if self._mainline is None else self._mainline.counters

    # --- inside -----------------------------------------------------------------------------------

    def _useful(self) -> int:
        """Contacts of the DHT that we want: neighbours are not, where that is the internet's."""
        contacts = self._dht.engine.contacts()
        if self._lan_only or self._private:
            return len(contacts)
        return sum(not is_lan(address[0]) for _, address in contacts)

    def _count(self) -> int:
        """All contacts; tells when there are some again."""
        contacts = len(self._dht.engine.contacts())
        if contacts and not self._joined:
            self._on_joined()
        self._joined = contacts > 0
        return contacts

    def _announcement(self) -> tuple[list[bytes], int]:
        status = self._dht.status()
        here = next((one for one in (status.observed4, status.observed6) if one and is_public(one)), None)
        if not status.routes or here is None:
            return [], 0
        return infohashes(self._clock.now_ms(), limits.LADDER_MAINLINE_MARGIN), here[1]

    def _look(self, group: asyncio.TaskGroup) -> None:
        """Begin what is due, each rung once at a time."""
        now = self._clock.now()
        contacts, useful = self._count(), self._useful()
        rungs = self._ladder.due(contacts, useful, now)
        if useful < limits.LADDER_CONTACTS_ENOUGH and Rung.LAN not in rungs:
            rungs.append(Rung.LAN)
        for rung in rungs:
            running = self._climbing.get(rung)
            if running is None or running.done():
                self._climbing[rung] = group.create_task(self._climb(rung), name=f"bootstrap {rung}")

    async def _climb(self, rung: Rung) -> None:
        match rung:
            case Rung.SAVED if self._saved:
                await self._ask(rung, (), saved=True)
            case Rung.LAN:
                await self._ask(rung, self._ladder.pick_lan(self._lan_services(), self._clock.now()))
            case Rung.HOSTS if self._hosts:
                await self._ask_hosts()
            case Rung.MAINLINE:
                await self._ask_mainline()

    async def _ask(self, rung: Rung, addresses: Sequence[Address], *, saved: bool = False) -> int:
        if not addresses and not saved:
            return 0
        tally = self._tallies[rung]
        tally.tries += 1
        tally.asked += self._saved if saved else len(addresses)
        answered = await self._dht.bootstrap(addresses, saved=saved)
        tally.answered += answered
        self._count()
        return answered

    async def _ask_hosts(self) -> None:
        """Each host as soon as its name is resolved: a slow one keeps nobody waiting."""
        first = not self._tallies[Rung.HOSTS].tries
        counts = await asyncio.gather(*(self._ask_host(text) for text in self._hosts))
        if first and not any(counts):
            self._on_warning("none of the bootstrap addresses answers; still trying")

    async def _ask_host(self, text: str) -> int:
        host, port = parse_host_port(text)
        try:
            async with asyncio.timeout(limits.LADDER_RESOLVE):
                found = await asyncio.get_running_loop().getaddrinfo(host, port)
        except (OSError, UnicodeError):  # the latter: no name that DNS can hold
            self._on_warning(f"the bootstrap host {host} can't be resolved")
            return 0
        addresses = list(dict.fromkeys((str(info[4][0]), port) for info in found))
        self._private = self._private or any(is_lan(ip) for ip, _ in addresses)
        return await self._ask(Rung.HOSTS, addresses)

    async def _ask_mainline(self) -> None:
        """Ask whom Mainline names until there are contacts enough, or the time is over."""
        mainline = self._mainline
        assert mainline is not None, "the rung is due only where it is there"
        try:
            async with asyncio.timeout(limits.LADDER_MAINLINE_TIME):
                await mainline.start_find(infohashes(self._clock.now_ms(), limits.LADDER_MAINLINE_MARGIN))
                while self._useful() < limits.LADDER_CONTACTS_ENOUGH:
                    await self._ask(Rung.MAINLINE, await mainline.next_peers())
        except TimeoutError:
            self._tallies[Rung.MAINLINE].tries += not self._tallies[Rung.MAINLINE].asked
        finally:
            await mainline.stop_find()
