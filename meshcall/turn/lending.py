"""Who is granted credentials for the relay that this node lends.

Law 1: nobody is granted anything before its address is proven (the DHT's token), nor beyond the limits.
Law 2: when more than ``RELAY_CONTACTS_SHARE`` of the relay is taken, only contacts are granted what is left.
Law 3: nothing is kept of who asked but a count for its address.
Law 4: strangers, however many, use up no grants of contacts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from meshcall.address import Address
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.limiter import Bucket
from meshcall.dht.messages import (
    RELAY_BUSY,
    RELAY_CONTACTS,
    RELAY_FULL,
    RELAY_GRANTED,
    RELAY_OFF,
    RelayAsk,
)
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.limits import (
    RELAY_CONTACTS_SHARE,
    RELAY_CREDENTIALS_LIFE,
    RELAY_GRANT_INTERVAL,
    RELAY_GRANT_SENDERS,
    RELAY_GRANTS_BURST,
    RELAY_GRANTS_PER_ADDRESS,
    RELAY_GRANTS_PER_SECOND,
)
from meshcall.turn.credentials import issue
from meshcall.turn.grant import Grant, Place, proves, seal_grant
from meshcall.turn.requests import sender_of

_USER_SIZE: Final = 6


class Lending:
    """Answers asks. Give :meth:`answer` to the DHT engine."""

    def __init__(
        self,
        secret: bytes,
        node_id: bytes,
        *,
        places: Callable[[], Sequence[Place]],
        taken: Callable[[], float],
        contacts: Callable[[], Sequence[bytes]],
        now_ms: Callable[[], int],
        random: Random,
        now: float,
    ) -> None:
        """``secret``: what passwords are made with. ``places``: where the relay listens; none: it is off.

        ``taken``: the share of the relay that is in use, 0 to 1. ``contacts``: the contact keys of those for
        whom it is run, that of the secret of now first.
        """
        self.counters: Counter[str] = Counter()
        """What was granted and refused, by reason."""
        self._secret = secret
        self._node_id = node_id
        self._places = places
        self._taken = taken
        self._contacts = contacts
        self._now_ms = now_ms
        self._random = random
        self._total = Bucket(RELAY_GRANTS_PER_SECOND, RELAY_GRANTS_BURST, now)
        self._of_contacts = Bucket(RELAY_GRANTS_PER_SECOND, RELAY_GRANTS_BURST, now)
        self._senders: ExpiringCache[bytes, Bucket] = ExpiringCache(
            RELAY_GRANT_SENDERS, RELAY_GRANT_INTERVAL * RELAY_GRANTS_PER_ADDRESS
        )

    def answer(self, ask: RelayAsk, asker: Address, now: float) -> tuple[int, bytes]:
        """(reason, sealed grant) for who is at ``asker`` for certain."""
        places = tuple(self._places())
        if not places:
            return self._refuse(RELAY_OFF, "off")
        sender = sender_of((asker, 0))
        bucket = self._senders.get(sender, now)
        if bucket is None:
            bucket = Bucket(1 / RELAY_GRANT_INTERVAL, RELAY_GRANTS_PER_ADDRESS, now)
        self._senders.put(sender, bucket, now)
        if not bucket.take(now):
            return self._refuse(RELAY_BUSY, "busy")
        taken = self._taken()
        if taken >= 1.0:
            return self._refuse(RELAY_FULL, "full")
        of_contact = any(proves(key, ask.proofs, ask.key, self._node_id) for key in self._contacts())
        if not (self._of_contacts if of_contact else self._total).take(now):
            return self._refuse(RELAY_BUSY, "busy")
        if taken >= RELAY_CONTACTS_SHARE and not of_contact:
            return self._refuse(RELAY_CONTACTS, "contacts-only")
        user = self._random(_USER_SIZE).hex()
        made = issue(self._secret, user, self._now_ms() // 1000 + RELAY_CREDENTIALS_LIFE)
        grant = Grant(made, RELAY_CREDENTIALS_LIFE, places, of_contact)
        try:
            sealed = seal_grant(grant, ask.key, self._node_id)
        except Rejected:
            return self._refuse(RELAY_OFF, "bad-key")
        self.counters["grant-contact" if of_contact else "grant"] += 1
        return RELAY_GRANTED, sealed

    def _refuse(self, reason: int, name: str) -> tuple[int, bytes]:
        self.counters[f"no-grant-{name}"] += 1
        return reason, b""
