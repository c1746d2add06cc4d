"""Where we are found: the rendezvous that we watch, and the presence that we show at each.

Law 1: a presence and its prekey are on the disk before anybody can bind an offer to it.
Law 2: a sequence number is on the disk before the record that carries it leaves.
Law 3: a rendezvous that is ours no more is not watched, and its presence is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode, Watch
from meshcall.aio.files import StateDb
from meshcall.errors import MeshcallError
from meshcall.identity.keys import AgreementKey, Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.prekeys import PrekeyRing
from meshcall.post_memory import PRESENCES, dump_presences, load_presences
from meshcall.record.codec import Record, RecordType
from meshcall.record.publisher import Publisher
from meshcall.rendezvous_keys import Place, RendezvousKeys
from meshcall.signaling.presence import (
    Presence,
    presence_hash,
    publications,
    publish_presence,
    renew_presence,
)
from meshcall.signaling.rendezvous import Series

SEQUENCE: Final = b"post"
"""The counter of all records that we sign with keys that others can derive, too."""


class Whereabouts:
    """Publishes and watches for one identity."""

    def __init__(
        self,
        identity: SigningKey,
        dht: DhtNode,
        state: StateDb,
        keys: RendezvousKeys,
        *,
        clock: Clock,
        random: Random,
        use_dht: bool,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        wake: Callable[[], None],
        name: Callable[[], str] = lambda: "",
    ) -> None:
        """``wake``: something may be due earlier than :meth:`pause` said. ``name``: shown to who finds us."""
        self._identity = identity
        self._me = PeerId.from_key(identity.public)
        self._dht = dht
        self._state = state
        self._keys = keys
        self._clock = clock
        self._random = random
        self._use_dht = use_dht
        self._spawn = spawn
        self._wake = wake
        self._name = name
        self._prekeys = PrekeyRing.from_state(state.prekeys())
        self._prekeys_saved = self._prekeys.revision
        self._publisher = Publisher(state.last_sequence(SEQUENCE))
        self._presences = load_presences(state, self._me)
        self._served: list[Series] = []
        self._places: dict[bytes, Place] = {}
        self._watches: dict[bytes, Watch] = {}
        self._refreshed_ms = 0
        self._look_back_until = 0.0
        self._shown: dict[str, tuple[Place, Record]] = {}

    # --- what letters are opened with -------------------------------------------------------------

    def place(self, storage_key: bytes) -> Place | None:
        """The rendezvous of ours under that key."""
        return self._places.get(storage_key)

    def find_prekey(self, prekey_id: int) -> AgreementKey | None:
        """The private half of a prekey that we published."""
        prekey = self._prekeys.find(prekey_id)
        return prekey.key if prekey else None

    def known_presences(self, now_ms: int) -> list[bytes]:
        """Hashes of what an offer may be bound to: our last two, and those that readers still take."""
        last = list(self._presences)[-2:]
        return [
            presence_hash(presence)
            for presence in self._presences
            if presence in last
            or now_ms <= presence.created_ms + (presence.ttl_s + limits.CLOCK_SKEW_MAX) * 1000
        ]

    def holders(self, storage_key: bytes) -> list[Address]:
        """Nodes that hold our watch of that key: who found us there sent to them."""
        watch = self._watches.get(storage_key)
        return watch.addresses() if watch else []

    # --- renewing ---------------------------------------------------------------------------------

    def hasten(self) -> None:
        """The network changed: publish again with the next :meth:`refresh`."""
        self._publisher.hasten(self._clock.now())

    def pause(self) -> float:
        """Seconds until :meth:`refresh` has something to do."""
        now, now_ms = self._clock.now(), self._clock.now_ms()
        changes = [(series.next_change_ms(now_ms) - now_ms) / 1000 for series in self._served]
        deadline = self._publisher.deadline()
        if deadline is not None:
            changes.append(deadline - now)
        return min([*changes, limits.POST_REFRESH])

    async def refresh(self) -> None:
        """Renew what is due: prekey, presence, watches, and the records that tell of them."""
        now_ms = self._clock.now_ms()
        served = await self._keys.series(now_ms)
        prekey = self._prekeys.current(now_ms, self._random)
        if self._prekeys.revision != self._prekeys_saved:
            await self._state.run(self._state.save_prekeys, self._prekeys.to_state())
            self._prekeys_saved = self._prekeys.revision
        previous = self._presences[-1] if self._presences else None
        presence = renew_presence(previous, self._me, prekey, now_ms, name=self._name())
        if presence is not previous:
            await self._remember(presence)
        self._served = served
        places = [
            Place(series, epoch, series.at(epoch)) for series in self._served for epoch in series.near(now_ms)
        ]
        self._watch([*places, *self._looked_back(now_ms)])
        self._take_back(presence)
        wanted = {place.name: place for place in places}
        builds = publications(self._identity, presence, {n: p.rendezvous for n, p in wanted.items()})
        self._publisher.want(builds, self._clock.now())
        for name in self._publisher.due(self._clock.now()):
            await self._publish(wanted[name])

    def _looked_back(self, now_ms: int) -> list[Place]:
        """After a start or a sleep: epochs that are over, whose nodes may keep what came meanwhile."""
        if now_ms - self._refreshed_ms > limits.EPOCH_OVERLAP * 1000:
            self._look_back_until = self._clock.now() + limits.INBOX_LOOK_BACK
        self._refreshed_ms = now_ms
        if self._clock.now() >= self._look_back_until:
            return []
        return [
            Place(series, epoch, series.at(epoch))
            for series in self._served
            for epoch in series.near(now_ms, limits.MESSAGE_TTL_MAX)
            if epoch < min(series.near(now_ms))
        ]

    async def _remember(self, presence: Presence) -> None:
        """Know it on the disk, and then in memory, before anybody can bind an offer to it."""
        presences = [*self._presences, presence][-limits.PRESENCES_KNOWN_MAX :]
        await self._state.run(self._state.set_blob, PRESENCES, dump_presences(presences))
        self._presences.append(presence)

    def _watch(self, places: list[Place]) -> None:
        wanted = {place.rendezvous.storage_key(RecordType.INBOX): place for place in places}
        for key in [key for key in self._watches if key not in wanted]:
            self._watches.pop(key).close()
        for key in wanted:
            if key not in self._watches:
                self._watches[key] = self._dht.watch(key)
        self._places = wanted

    async def _publish(self, place: Place) -> None:
        name = place.name
        record = self._publisher.next_record(name, self._clock.now(), self._clock.now_ms())
        try:
            await self._state.run(self._state.raise_sequence, SEQUENCE, self._publisher.last_seq)
        except MeshcallError:
            self._publisher.report(name, 0, self._clock.now())  # not sent: due again soon
            raise
        data = record.encode()
        self._dht.local_put(data)
        self._shown[name] = place, record
        if self._use_dht:
            self._spawn(self._store(name, data))

    async def _store(self, name: str, data: bytes) -> None:
        copies = await self._dht.store(data)
        self._publisher.report(name, copies, self._clock.now())
        self._wake()

    def _take_back(self, presence: Presence) -> None:
        """Show nothing at what is ours no more; of an epoch that is over the presence runs out by itself."""
        for name, (place, record) in list(self._shown.items()):
            if place.series not in self._served:
                del self._shown[name]
                self._dht.local_remove(record)
                if self._use_dht and place.epoch in place.series.near(self._clock.now_ms()):
                    self._spawn(self._store_last(place, replace(presence, ttl_s=1)))
            elif place.epoch < place.series.epoch(self._clock.now_ms()) - 1:
                del self._shown[name]

    async def _store_last(self, place: Place, presence: Presence) -> None:
        """Storage nodes keep one of our records at a place, and this one for a second only."""
        seq = await self._state.run(self._state.next_sequence, SEQUENCE, self._clock.now_ms())
        await self._dht.store(publish_presence(self._identity, presence, place.rendezvous, seq).encode())

    def close(self) -> None:
        """Give every watch back."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
