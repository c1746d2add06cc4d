"""Our post: every sealed message out and in. Where letters to us come to: :mod:`meshcall.whereabouts`.

Law 1: a message is acted on only after every gate of the envelope, and after the disk knows that it was
taken: nothing rings twice, not even after ``kill -9``.
Law 2: a sequence number is on the disk before the record that carries it leaves.
Law 3: a peer on the LAN is asked and told with the same frames as a storage node; the DHT is for the rest.
Law 4: what is refused is counted by reason, never logged one by one.
Law 5: a letter is opened with the rendezvous whose key it came by, and that says who may write there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, Final, Protocol

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import Delivery, DhtNode, Notify
from meshcall.aio.files import ReplayRow, StateDb
from meshcall.errors import MeshcallError, Rejected
from meshcall.finder import Found
from meshcall.ice.check import Credentials
from meshcall.identity.keys import AgreementKey, Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter, PostReport, SentOffer
from meshcall.post_memory import FORGOTTEN, load_replay
from meshcall.record.codec import Record, RecordType, decode_record_untrusted
from meshcall.rendezvous_keys import Place, RendezvousKeys
from meshcall.signaling.envelope import (
    REPLY_PREKEY_ID,
    ClockRejected,
    Opened,
    open_message_untrusted,
    seal_message,
)
from meshcall.signaling.messages import (
    ContactRequest,
    Message,
    MessageKind,
    Missed,
    Offer,
    PingOffer,
    Reject,
    RejectReason,
    RoomLetter,
    Wants,
)
from meshcall.signaling.presence import presence_hash
from meshcall.signaling.rendezvous import Kind, reply_box
from meshcall.whereabouts import SEQUENCE, Whereabouts

_log = logging.getLogger("meshcall.post")

_TOLD_LATE: Final = (MessageKind.OFFER, MessageKind.HANGUP, MessageKind.MISSED)
"""What tells of a call that was missed, also when it is too late to do anything about it."""


class Policy(Protocol):
    """Who may write to us."""

    def __call__(self, sender: PeerId, kind: MessageKind) -> bool:
        """Whether a message of ``kind`` from ``sender`` is looked at."""


class Post:
    """Publishes, watches, seals and opens for one identity."""

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
        admit: Policy,
        on_letter: Callable[[Letter], None],
        on_warning: Callable[[str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        counters: Counter[str],
        presence_name: Callable[[], str] = lambda: "",
        charge: Callable[[PeerId, MessageKind], None] = lambda sender, kind: None,
        trusts: Callable[[PeerId], bool] = lambda sender: False,
    ) -> None:
        """``admit``: the contact policy; it decides and does nothing else. ``charge``: a message passed all
        gates, and costs us something from now on. ``trusts``: whether the user knows a peer.
        """
        self._identity = identity
        self.me = PeerId.from_key(identity.public)
        self._dht = dht
        self._state = state
        self._clock = clock
        self._random = random
        self._use_dht = use_dht
        self._admit = admit
        self._charge = charge
        self._trusts = trusts
        self._on_letter = on_letter
        self._on_warning = on_warning
        self._spawn = spawn
        self.counters = counters
        self._wake = asyncio.Event()
        self._where = Whereabouts(
            identity,
            dht,
            state,
            keys,
            clock=clock,
            random=random,
            use_dht=use_dht,
            spawn=spawn,
            wake=self._wake.set,
            name=presence_name,
        )
        self._replay = load_replay(state, clock.now_ms())
        self._boxes: dict[bytes, SentOffer] = {}
        self._clock_told: set[tuple[PeerId, bytes]] = set()
        self._clock_warned: set[PeerId] = set()
        self._late: set[bytes] = set()
        self._taken = asyncio.Lock()
        self._untaken: list[tuple[Opened, asyncio.Future[bool]]] = []
        """What waits to be taken, in the order of arrival."""
        self._number = 0
        """The last sequence number that was used."""
        self._numbers_kept = 0
        """Up to which one the disk knows of them."""
        self._numbering = asyncio.Lock()
        self._clock_offsets: deque[float] = deque(maxlen=limits.CLOCK_SAMPLES)
        self._not_before_ms = clock.now_ms() if state.was_reset else 0

    # --- where we are found -----------------------------------------------------------------------

    async def run(self) -> None:
        """Publish and watch until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.refresh()
            except MeshcallError as error:  # the disk is full: what is published and watched stays
                self._on_warning(str(error))
                await asyncio.sleep(limits.POST_RETRY)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._where.pause(), 0.05)):
                    await self._wake.wait()

    def hasten(self) -> None:
        """The network changed, or what we call ourselves: publish again now."""
        self._where.hasten()
        self._wake.set()

    def look(self) -> None:
        """Our secrets or invites changed: serve what is ours now."""
        self._wake.set()

    async def refresh(self) -> None:
        """Renew what is due: where we are found, and what was taken."""
        await self._where.refresh()
        if self._replay.expire(self._clock.now_ms()):
            forgotten = str(self._replay.to_state()["forgotten_ms"]).encode()
            await self._state.run(self._state.set_blob, FORGOTTEN, forgotten)

    # --- sending ----------------------------------------------------------------------------------

    async def offer(
        self,
        found: Found,
        call_id: bytes,
        description: bytes,
        *,
        name: str,
        wants: Wants,
        life: float,
        room: bytes = b"",
    ) -> SentOffer:
        """Seal an offer to ``found``; raises ValueError when it does not fit a record.

        ``room``: the tag of the room whose link it begins.
        """
        reply_key = AgreementKey.generate(self._random)
        message = Offer(description, reply_key.public, name, wants, room)
        return await self._open_box(found, call_id, message, reply_key, life)

    async def room_letter(self, found: Found, data: bytes, *, life: float) -> SentOffer:
        """Seal a letter about a room to ``found``; raises ValueError when it does not fit a record."""
        reply_key = AgreementKey.generate(self._random)
        message = RoomLetter(data, reply_key.public)
        return await self._open_box(found, self._random(16), message, reply_key, life)

    async def ping_offer(
        self, found: Found, call_id: bytes, credentials: Credentials, candidates: bytes, *, life: float
    ) -> SentOffer:
        """Seal a ping offer to ``found``; raises ValueError when it does not fit a record."""
        reply_key = AgreementKey.generate(self._random)
        message = PingOffer(reply_key.public, credentials.ufrag, credentials.pwd, candidates)
        return await self._open_box(found, call_id, message, reply_key, life)

    async def _open_box(
        self, found: Found, call_id: bytes, message: Message, reply_key: AgreementKey, life: float
    ) -> SentOffer:
        """Seal what asks for replies, and wait for them."""
        bind = presence_hash(found.presence)
        record, inner_hash = await self._seal_to_callee(found, call_id, message, bind, life)
        sent = SentOffer(call_id, found, record.encode(), inner_hash, reply_key, reply_box(inner_hash))
        self._boxes[sent.box_key] = sent
        while len(self._boxes) > limits.REPLY_BOXES_MAX:
            self.close_box(self._boxes[next(iter(self._boxes))])
        return sent

    async def deliver_offer(
        self,
        sent: SentOffer,
        report: Callable[[PostReport], None],
        *,
        on_reached: Callable[[], object] | None = None,
        lan_only: bool = False,
    ) -> None:
        """Deliver ``sent`` (again), telling of each step; ``on_reached``: it is on the callee's machine.

        ``lan_only``: by no other way, for who was found on the LAN.

        Over the DHT too if the LAN does not take it, or took it before and nothing came of it: whoever heard
        the peer's hint can pose as it there.
        """
        again = bool(sent.deliveries)
        while len(sent.deliveries) >= limits.REPLY_WATCHES_MAX:
            sent.deliveries.pop(0).close()  # before the next one asks the same nodes again
        if sent.found.addresses:
            delivery = await self._dht.deliver(
                sent.record,
                at=sent.found.addresses,
                only=True,
                reply_watch=sent.box_key,
                on_reached=on_reached,
            )
            if not self._keep(sent, delivery):
                return
            if lan_only or not self._use_dht or (delivery.watchers and not again):
                report(PostReport(delivery.watchers, delivery.stored))
                return
        delivery = await self._dht.deliver(sent.record, reply_watch=sent.box_key, on_reached=on_reached)
        if self._keep(sent, delivery):
            sent.on_dht = True
            report(PostReport(delivery.watchers, delivery.stored))

    def _keep(self, sent: SentOffer, delivery: Delivery) -> bool:
        """Go on waiting for replies; False, and no more waiting, if the box was closed meanwhile."""
        if self._boxes.get(sent.box_key) is not sent:
            delivery.close()
            return False
        sent.deliveries.append(delivery)
        return True

    def close_box(self, sent: SentOffer) -> None:
        """Take no more replies to ``sent``."""
        self._boxes.pop(sent.box_key, None)
        for delivery in sent.deliveries:
            delivery.close()
        sent.deliveries.clear()

    async def tell_callee(self, sent: SentOffer, message: Message, *, life: float = 90.0) -> None:
        """A later message of the caller (hangup, candidates) by the way that the offer went."""
        record, _ = await self._seal_to_callee(sent.found, sent.call_id, message, sent.inner_hash, life)
        await self._send(record.encode(), sent.found, both=sent.on_dht)

    async def tell_callee_anew(self, sent: SentOffer, message: Message, *, life: float) -> None:
        """Like :meth:`tell_callee`, by every way there is, and replies come back through the nodes that take
        it: one of the two is elsewhere now.
        """
        record, _ = await self._seal_to_callee(sent.found, sent.call_id, message, sent.inner_hash, life)
        data = record.encode()
        while len(sent.deliveries) >= limits.REPLY_WATCHES_MAX:
            sent.deliveries.pop(0).close()
        ways = [sent.found.addresses] if sent.found.addresses else []
        if self._use_dht:
            ways.append(())
        deliveries = await asyncio.gather(
            *(self._dht.deliver(data, at=at, only=bool(at), reply_watch=sent.box_key) for at in ways)
        )
        for delivery in deliveries:
            self._keep(sent, delivery)

    async def tell_missed(self, found: Found, missed: Missed) -> bool:
        """Tell ``found`` of our calls that it missed; whether a node says that its machine has it."""
        bind, call_id = presence_hash(found.presence), missed.calls[-1].call_id
        record, _ = await self._seal_to_callee(found, call_id, missed, bind, limits.VALID_MAX)
        reached = asyncio.Event()
        if found.addresses:
            await self._dht.deliver(record.encode(), at=found.addresses, only=True, on_reached=reached.set)
        if self._use_dht and not reached.is_set():
            delivery = await self._dht.deliver(record.encode(), on_reached=reached.set)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.DHT_ACK_WAIT if delivery.watchers else 0):
                    await reached.wait()
        return reached.is_set()

    async def tell_caller(self, letter: Letter, message: Message) -> tuple[bytes, bytes]:
        """A reply to what ``letter`` asks; returns (its inner hash, the record) when it is on its way."""
        opened = letter.opened
        assert isinstance(opened.message, Offer | PingOffer | RoomLetter), "only these are replied to"
        box = reply_box(opened.inner_hash)
        record, inner_hash = seal_message(
            identity=self._identity,
            to=opened.sender,
            prekey_id=REPLY_PREKEY_ID,
            prekey=opened.message.reply_key,
            rendezvous=box,
            type=RecordType.MAILBOX,
            call_id=opened.call_id,
            message=message,
            bind=opened.inner_hash,
            now_ms=self._clock.now_ms(),
            seq=await self._next_seq(),
            ttl=limits.MESSAGE_TTL,
        )
        data = record.encode()
        self._spawn(self._push(data, letter))
        return inner_hash, data

    async def resend_reply(self, letter: Letter, data: bytes) -> None:
        """The same octets once more, through every node that the offer may have come through."""
        await self._deliver(data, (letter.via, *self._where.holders(letter.key)))

    async def _push(self, data: bytes, letter: Letter) -> None:
        report = await self._deliver(data, (letter.via,))
        if not report.watchers:
            await self._deliver(data, self._where.holders(letter.key))

    async def request_contact(self, found: Found, message: ContactRequest) -> PostReport:
        """Ask ``found`` to become a contact, or tell it of our secret; how far the request got."""
        bind = presence_hash(found.presence)
        record, _ = await self._seal_to_callee(found, self._random(16), message, bind, limits.VALID_MAX)
        return await self._send(record.encode(), found)

    async def _send(self, data: bytes, found: Found, *, both: bool = False) -> PostReport:
        """To a peer on the LAN, and over the DHT if nobody takes it there (or ``both``)."""
        report = await self._deliver(data, found.addresses)
        if found.addresses and self._use_dht and (both or not report.watchers):
            report = await self._deliver(data, ())
        return report

    async def _seal_to_callee(
        self, found: Found, call_id: bytes, message: Message, bind: bytes, life: float
    ) -> tuple[Record, bytes]:
        valid_s = max(1, min(int(life), limits.VALID_MAX))
        seq, now_ms = await self._next_seq(), self._clock.now_ms()
        return seal_message(
            identity=self._identity,
            to=found.presence.peer_id,
            prekey_id=found.presence.prekey_id,
            prekey=found.presence.prekey,
            rendezvous=found.rendezvous_at(now_ms),
            type=RecordType.INBOX,
            call_id=call_id,
            message=message,
            bind=bind,
            now_ms=now_ms,
            valid_s=valid_s,
            seq=seq,
            ttl=limits.MESSAGE_TTL_MAX,
        )

    async def _next_seq(self) -> int:
        """A number above all that were used with keys that we share with others (law 2).

        The disk knows of some in advance: a room's letters leave at once, and each write takes milliseconds.
        """
        while (number := max(self._number + 1, self._clock.now_ms())) > self._numbers_kept:
            async with self._numbering:
                if number > self._numbers_kept:
                    spare = limits.SEQUENCES_SPARE
                    first = await self._state.run(self._state.next_sequence, SEQUENCE, number, spare)
                    self._number, self._numbers_kept = first - 1, first + spare
        self._number = number
        return number

    async def _deliver(self, data: bytes, at: Sequence[Address]) -> PostReport:
        delivery = await self._dht.deliver(data, at=tuple(dict.fromkeys(at)), only=bool(at))
        return PostReport(delivery.watchers, delivery.stored)

    # --- receiving --------------------------------------------------------------------------------

    def on_notify(self, notify: Notify) -> bool:
        """A record under a key that we watch; whether the key is ours."""
        place = self._where.place(notify.storage_key)
        sent = self._boxes.get(notify.storage_key)
        if place is None and sent is None:
            self.counters["notify-unknown-key"] += 1
            return False
        try:
            record = decode_record_untrusted(notify.record)
            if sent is not None:
                opened = self._open_reply(record, sent)
            else:
                assert place is not None, "one of the two was found above"
                opened = self._open_here(record, place)
        except ClockRejected as error:
            if place is not None and error.was_kept(notify.age):
                self._take_late(
                    Letter(error.opened, notify.via, notify.age, late=True, key=notify.storage_key)
                )
                return True
            self._clock_differs(error, called=sent is not None)
            if sent is None:
                self._answer_clock(Letter(error.opened, notify.via, key=notify.storage_key))
            else:  # whatever the callee said: its clock and ours can't make a call
                reject = replace(error.opened, message=Reject(RejectReason.CLOCK))
                self._on_letter(Letter(reject, notify.via, key=notify.storage_key))
        except Rejected as error:
            self.counters[f"letter-{error.reason}"] += 1
        else:
            if sent is None:
                self._charge(opened.sender, opened.kind)
            since_ms = self._clock.now_ms() - opened.created_ms
            if not notify.age:
                self._clock_offsets.append(since_ms / 1000)
            since_s = since_ms // 1000
            age = min(notify.age, max(0, since_s))
            self._spawn(self._take(Letter(opened, notify.via, age, key=notify.storage_key)))
        return True

    def _open_reply(self, record: Record, sent: SentOffer) -> Opened:
        callee = sent.found.presence.peer_id
        return open_message_untrusted(
            record,
            me=self.me,
            find_prekey=lambda prekey_id: sent.reply_key if prekey_id == REPLY_PREKEY_ID else None,
            rendezvous=sent.box,
            now_ms=self._clock.now_ms(),
            replay=self._replay,
            admit=lambda sender, kind: sender == callee,
        )

    def _open_here(self, record: Record, place: Place) -> Opened:
        opened = open_message_untrusted(
            record,
            me=self.me,
            find_prekey=self._where.find_prekey,
            rendezvous=place.rendezvous,
            now_ms=self._clock.now_ms(),
            replay=self._replay,
            admit=lambda sender, kind: self._may_write(sender, kind, place.series.kind),
            known_presences=self._where.known_presences(self._clock.now_ms()),
        )
        if opened.created_ms < self._not_before_ms:
            raise Rejected("before-reset")  # the replay cache of that time is lost
        return opened

    def _take_late(self, letter: Letter) -> None:
        """Hand on, once, what was kept for us until it was too old to be answered."""
        opened = letter.opened
        known = opened.kind is MessageKind.HANGUP or opened.bind in self._where.known_presences(
            opened.created_ms
        )
        if opened.inner_hash in self._late or opened.created_ms < self._not_before_ms:
            self.counters["letter-replay"] += 1
        elif opened.kind not in _TOLD_LATE or not known:
            self.counters["letter-late"] += 1
        else:
            if len(self._late) >= limits.MISSED_KNOWN_MAX:
                self._late.clear()
            self._late.add(opened.inner_hash)
            self._charge(opened.sender, opened.kind)
            self.counters[f"late-{opened.kind.name.lower()}"] += 1
            self._on_letter(letter)

    def _may_write(self, sender: PeerId, kind: MessageKind, by: Kind) -> bool:
        """The rendezvous narrows the policy: contacts have theirs, an invite is for being let in."""
        if by == "contact" and not self._trusts(sender):
            self.counters["letter-contact-key-by-stranger"] += 1
            return False
        if by == "invite" and kind is not MessageKind.CONTACT_REQUEST:
            self.counters["letter-invite-key-misused"] += 1
            return False
        return self._admit(sender, kind)

    async def _take(self, letter: Letter) -> None:
        """Remember the message on the disk, then hand it on (law 1), in the order of arrival."""
        fresh: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._untaken.append((letter.opened, fresh))
        async with self._taken:
            if not fresh.done():
                await self._remember_all()
            if fresh.result():
                self.counters[f"taken-{letter.opened.kind.name.lower()}"] += 1
                self._on_letter(letter)

    async def _remember_all(self) -> None:
        """What came while the disk was busy is written together: each write takes milliseconds."""
        waiting, self._untaken = self._untaken, []
        rows = [_replay_row(opened) for opened, _ in waiting]
        new = [False] * len(rows)
        try:
            new = await self._state.run(self._state.add_replay, rows, self._clock.now_ms())
        except MeshcallError as error:
            self.counters["letter-not-saved"] += len(rows)
            self._on_warning(f"a message was refused because it could not be remembered: {error}")
        else:
            self.counters["letter-replay"] += new.count(False)
        finally:
            for (_, fresh), is_new in zip(waiting, new, strict=True):
                fresh.set_result(is_new)

    def _clock_differs(self, error: ClockRejected, *, called: bool) -> None:
        """Tell the user, once, of somebody who was called or is known; strangers are counted."""
        self.counters["letter-clock"] += 1
        self._clock_offsets.append(error.skew_s)
        sender = error.sender
        if sender in self._clock_warned or not (called or self._trusts(sender)):
            return
        self._clock_warned.add(sender)
        self._on_warning(
            f"the clock of {sender.short} differs from ours by about"
            f" {max(1, round(abs(error.skew_s) / 60))} minutes: its message was refused"
        )

    def _answer_clock(self, letter: Letter) -> None:
        """Tell who calls, once per call, or wrote of a room."""
        what, message = (letter.opened.sender, letter.opened.call_id), letter.opened.message
        waits = isinstance(message, Offer) or (isinstance(message, RoomLetter) and message.reply_key)
        if not waits or what in self._clock_told:
            return
        if len(self._clock_told) >= limits.CLOCK_TOLD_MAX:
            self._clock_told.clear()
        self._clock_told.add(what)
        self._charge(letter.opened.sender, letter.opened.kind)
        self._spawn(self._reject_clock(letter))

    async def _reject_clock(self, letter: Letter) -> None:
        await self.tell_caller(letter, Reject(RejectReason.CLOCK))

    def clock_skew(self) -> float | None:
        """Our clock minus that of peers, in seconds, by their latest messages; None: there were none.

        The median: a message takes a moment, and some wait; a wrong clock of one peer says nothing of ours.
        """
        return round(median(self._clock_offsets), 1) if self._clock_offsets else None

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Give every watch back."""
        self._where.close()
        for sent in list(self._boxes.values()):
            self.close_box(sent)


def _replay_row(opened: Opened) -> ReplayRow:
    # As long as the gates would let it pass: its window, plus the clocks' difference
    expires_ms = opened.created_ms + (opened.valid_s + limits.CLOCK_SKEW_MAX) * 1000
    return ReplayRow(
        sender=opened.sender.key,
        call_id=opened.call_id,
        kind=int(opened.kind),
        expires_ms=expires_ms,
        digest=opened.inner_hash,
    )
