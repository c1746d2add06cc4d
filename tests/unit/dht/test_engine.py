"""The engine's promises: join, store, find, watch, deliver, answer, restore."""

from __future__ import annotations

import pytest

from meshcall.address import Address
from meshcall.dht import (
    BootstrapDone,
    DeliverDone,
    DhtEngine,
    FindDone,
    Notified,
    PingDone,
    StoreDone,
    ValueFound,
    WatchChanged,
)
from meshcall.dht import messages as m
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.limits import DHT_DELIVER_SENDS_MAX, DHT_REFRESH_INTERVAL, DHT_REPLICAS
from meshcall.record.codec import RecordType
from meshcall.record.store import StoreResult
from meshcall.testing import seeded_random
from tests.unit.dht.universe import Universe, address_of, inbox_record, presence_record

REPLY_KEY = inbox_record(4242).storage_key


def put(universe: Universe, address: Address, record: bytes) -> StoreDone:
    """Store a record and wait."""
    number = universe.at(address).start_store(record, universe.now)
    universe.do(address)
    return universe.wait(address, StoreDone, number)[1]


def get(
    universe: Universe,
    address: Address,
    key: bytes,
    *,
    at: tuple[Address, ...] = (),
    only: bool = False,
    types: tuple[int, ...] = (),
) -> list[bytes]:
    """All records under a key."""
    number = universe.at(address).start_find(key, universe.now, at=at, only=only, types=types)
    universe.do(address)
    universe.wait(address, FindDone, number)
    return [e.record for e in universe.seen(address, ValueFound) if e.op == number]


def watch(universe: Universe, address: Address, key: bytes) -> int:
    """Watch a key and wait until nodes hold the watch."""
    number = universe.at(address).start_watch(key, universe.now)
    universe.do(address)
    universe.wait(address, WatchChanged, number)
    universe.link.run(1.0)
    return number


# --- joining ---


def test_joining_fills_the_tables() -> None:
    """In a network of 20 everybody knows everybody, each with a proof."""
    universe = Universe(20, seed=1)
    assert [len(node.contacts()) for node in universe.nodes] == [19] * 20
    assert universe.counters()["admitted"] == 20 * 19


def test_a_bucket_is_refreshed_when_it_is_old_not_when_the_machine_is() -> None:
    """Days after boot, a node that has joined looks up nothing for 15 minutes, and then each range once."""
    universe = Universe(seed=4)
    universe.clock.advance(3 * 86_400.0)
    for _ in range(12):
        universe.join()
    universe.link.run(5.0)
    joined = universe.counters()["sent-findnode"]
    universe.link.run(DHT_REFRESH_INTERVAL - 60.0)
    assert universe.counters()["sent-findnode"] == joined
    universe.link.run(120.0)
    buckets = sum(len(table.buckets) for node in universe.nodes for table in node._core.tables.values())
    assert joined < universe.counters()["sent-findnode"] <= joined + 11 * buckets


def test_joining_through_nobody() -> None:
    """Dead addresses and none at all: 0, and no exception."""
    universe = Universe(1)
    here = address_of(0)
    for addresses in ([], [("10.3.3.3", 1), ("10.3.3.4", 1)]):
        number = universe.at(here).start_bootstrap(addresses, universe.now)
        universe.do(here)
        assert universe.wait(here, BootstrapDone, number)[1].answered == 0


def test_ephemeral_nodes_enter_no_table() -> None:
    """They use the network and are named by nobody."""
    universe = Universe(10, seed=2)
    guest = universe.join(router=False)
    universe.link.run(10.0)
    assert len(universe.at(guest).contacts()) == 10
    assert all(guest not in [a for _, a in node.contacts()] for node in universe.nodes)
    assert put(universe, guest, inbox_record(1).encode()).stored == DHT_REPLICAS
    assert get(universe, address_of(3), inbox_record(1).storage_key) == [inbox_record(1).encode()]


def test_a_router_that_turns_ephemeral_leaves_the_tables() -> None:
    """Its next answers say so."""
    universe = Universe(6, seed=2)
    universe.at(address_of(2)).routes = False
    for address in universe.addresses():
        if address != address_of(2):
            universe.at(address).start_ping(address_of(2), universe.now)
            universe.do(address)
    universe.link.run(1.0)
    assert not universe.at(address_of(2)).routes
    assert all(address_of(2) not in [a for _, a in node.contacts()] for node in universe.nodes)


def test_the_observed_address_is_learnt() -> None:
    """Every reply says where the request came from."""
    universe = Universe(5)
    statistics = universe.at(address_of(3)).statistics()
    assert statistics.observed4 == address_of(3)
    assert statistics.observed6 is None


def test_a_saved_table_replaces_bootstrap() -> None:
    """After a restart with the state of before, and no address given, the network is joined again."""
    universe = Universe(12, seed=3)
    state = universe.at(address_of(4)).save()
    universe.link.detach(address_of(4))
    again = universe.engine("again", state=state)
    address = universe.add(again)
    number = again.start_bootstrap([], universe.now)
    universe.do(address)
    _, done = universe.wait(address, BootstrapDone, number)
    universe.link.run(5.0)
    assert done.answered >= 1
    assert len(again.contacts()) == 11


@pytest.mark.parametrize("state", [b"", b"junk", b"\x82" * 99])
def test_damaged_state_is_an_empty_table(state: bytes) -> None:
    """The node starts, and counts it."""
    engine = Universe().engine("x", state=state)
    assert engine.contacts() == []
    assert engine.statistics().counters.get("state-damaged", 0) == (1 if state else 0)


def test_ping_measures_the_round_trip() -> None:
    """50 ms there and back; None where nobody is."""
    universe = Universe(2)
    here = address_of(0)
    number = universe.at(here).start_ping(address_of(1), universe.now)
    universe.do(here)
    _, done = universe.wait(here, PingDone, number)
    assert done.rtt == pytest.approx(0.05)
    assert done.node_id == universe.at(address_of(1)).node_id
    number = universe.at(here).start_ping(("10.3.3.3", 1), universe.now)
    universe.do(here)
    took, done = universe.wait(here, PingDone, number)
    assert (done.rtt, done.node_id) == (None, None)
    assert took == pytest.approx(1.5)


# --- records ---


def test_stored_records_are_found_from_everywhere() -> None:
    """Eight copies, at the eight closest; found by each node in one or two round trips."""
    universe = Universe(30, seed=4)
    record = inbox_record(1)
    assert put(universe, address_of(5), record.encode()).stored == DHT_REPLICAS
    closest = [a for a in universe.true_closest(record.storage_key, 9) if a != address_of(5)][:8]
    assert all(universe.at(a).statistics().records.values == 1 for a in closest)
    for address in universe.addresses()[::6]:
        assert get(universe, address, record.storage_key) == [record.encode()]


def test_a_newer_record_replaces_an_older_one_of_its_slot() -> None:
    """The higher number wins at the holders; the older one can't come back."""
    universe = Universe(10, seed=5)
    here = address_of(1)
    old, new = inbox_record(1, seq=1), inbox_record(1, seq=2, fill=b"\7")
    put(universe, here, old.encode())
    put(universe, here, new.encode())
    assert put(universe, here, old.encode()).stored == 0
    assert get(universe, address_of(7), new.storage_key) == [new.encode()]


def test_all_distinct_values_are_found_though_a_reply_holds_one() -> None:
    """Six senders under one key: every reader gets all six records, each once."""
    universe = Universe(12, seed=6)
    records = [inbox_record(1, seq=10 + index, fill=bytes([index])).encode() for index in range(6)]
    for index, record in enumerate(records):
        put(universe, address_of(index), record)
    found = get(universe, address_of(9), inbox_record(1).storage_key)
    assert sorted(found) == sorted(records)


def test_types_can_be_chosen() -> None:
    """Presence and inbox share a key; a caller asks for the presence alone."""
    universe = Universe(10, seed=7)
    presence, offer = presence_record(1), inbox_record(1)
    assert presence.storage_key == offer.storage_key
    put(universe, address_of(0), presence.encode())
    put(universe, address_of(1), offer.encode())
    key = presence.storage_key
    assert get(universe, address_of(5), key, types=(RecordType.PRESENCE,)) == [presence.encode()]
    assert sorted(get(universe, address_of(6), key)) == sorted([presence.encode(), offer.encode()])


def test_records_expire() -> None:
    """A record is gone when its ttl has run out."""
    universe = Universe(8, seed=8)
    put(universe, address_of(0), inbox_record(1, ttl=30).encode())
    universe.link.run(31.0)
    assert get(universe, address_of(5), inbox_record(1).storage_key) == []
    universe.link.run(10.0)
    assert sum(node.statistics().records.values for node in universe.nodes) == 0


def test_invalid_records_of_our_own_are_refused_at_once() -> None:
    """They would not be taken anywhere."""
    engine = Universe().engine("x")
    for start in (engine.start_store, engine.start_deliver, engine.put_local):
        with pytest.raises(Rejected):
            start(bytes(677), 0.0)


def test_own_records_are_answered_in_one_round_trip() -> None:
    """A peer on the LAN asks us directly: one request, no lookup; an ephemeral node answers for its own."""
    universe = Universe(6, seed=9)
    callee, caller = universe.join(router=False), universe.join(router=False)
    record = presence_record(7)
    assert universe.at(callee).put_local(record.encode(), universe.now).kept
    number = universe.at(caller).start_find(record.storage_key, universe.now, at=(callee,), only=True)
    universe.do(caller)
    took, found = universe.wait(caller, ValueFound, number)
    assert (found.record, found.source) == (record.encode(), callee)
    assert took == pytest.approx(0.05)
    assert get(universe, callee, record.storage_key) == [record.encode()]
    assert universe.at(callee).remove_local(record)
    assert get(universe, caller, record.storage_key, at=(callee,), only=True) == []


# --- watch and deliver ---


def test_a_delivery_is_pushed_to_the_watcher() -> None:
    """The callee is told once, though eight nodes push; the caller learns that somebody watches."""
    universe = Universe(20, seed=10)
    callee, caller = universe.join(router=False), universe.join(router=False)
    record = inbox_record(1)
    watch(universe, callee, record.storage_key)
    number = universe.at(caller).start_deliver(record.encode(), universe.now)
    universe.do(caller)
    took, note = universe.wait(callee, Notified)
    assert (note.record, note.storage_key) == (record.encode(), record.storage_key)
    assert took <= 0.16
    _, done = universe.wait(caller, DeliverDone, number)
    assert done.watchers == 1
    assert done.asked <= DHT_DELIVER_SENDS_MAX
    universe.link.run(5.0)
    assert len(universe.seen(callee, Notified)) == 1
    assert universe.at(callee).statistics().counters["notify-again"] >= 1


def test_letters_that_cross_on_their_way_are_both_pushed() -> None:
    """The one with the lower number comes last, from the same network: no holder keeps it, and it arrives."""
    universe = Universe(20, seed=10)
    callee, caller = universe.join(router=False), universe.join(router=False)
    late, early = inbox_record(1, seq=4), inbox_record(1, seq=5, fill=b"\7")
    watch(universe, callee, late.storage_key)
    for record in (early, late):
        number = universe.at(caller).start_deliver(record.encode(), universe.now)
        universe.do(caller)
        _, done = universe.wait(caller, DeliverDone, number)
        assert done.watchers == 1
        assert done.stored == (0 if record is late else done.asked)
    assert [note.record for note in universe.seen(callee, Notified)] == [early.encode(), late.encode()]


def test_a_call_right_after_a_lookup_needs_no_second_one() -> None:
    """Presence found, offer sent: the closest nodes get it at once, the callee one round trip later."""
    universe = Universe(30, seed=11)
    callee, caller = universe.join(router=False), universe.join(router=False)
    put(universe, callee, presence_record(1).encode())
    watch(universe, callee, presence_record(1).storage_key)
    get(universe, caller, presence_record(1).storage_key)
    before = universe.at(caller).statistics().counters["sent-findnode"]
    number = universe.at(caller).start_deliver(inbox_record(1).encode(), universe.now)
    universe.do(caller)
    took, _ = universe.wait(callee, Notified)
    assert took == pytest.approx(0.05)
    universe.wait(caller, DeliverDone, number)
    assert universe.at(caller).statistics().counters["sent-findnode"] == before


def test_nobody_watching_is_known_soon() -> None:
    """An offline callee: zero watchers within three seconds; the copies wait for it."""
    universe = Universe(20, seed=12)
    caller = universe.join(router=False)
    number = universe.at(caller).start_deliver(inbox_record(1).encode(), universe.now)
    universe.do(caller)
    took, done = universe.wait(caller, DeliverDone, number)
    assert (done.watchers, took <= 3.0) == (0, True)
    assert done.stored >= DHT_REPLICAS


def test_a_late_callee_gets_what_is_stored() -> None:
    """It watches after the call was sent: the holders push the stored record at once."""
    universe = Universe(20, seed=13)
    callee, caller = universe.join(router=False), universe.join(router=False)
    record = inbox_record(1)
    put(universe, caller, presence_record(1).encode())
    universe.at(caller).start_deliver(record.encode(), universe.now)
    universe.do(caller)
    universe.link.run(5.0)
    universe.at(callee).start_watch(record.storage_key, universe.now)
    universe.do(callee)
    took, note = universe.wait(callee, Notified)
    assert note.record == record.encode()
    assert took < 0.3
    assert note.age in (4, 5), "how long the holder has had it: whoever comes late can tell"
    universe.link.run(2.0)
    assert [n.record for n in universe.seen(callee, Notified)] == [record.encode()]


def test_answers_come_back_the_way_the_call_went() -> None:
    """The caller's reply watch travels with the offer: the answer takes one round trip, with no lookup."""
    universe = Universe(30, seed=14)
    callee, caller = universe.join(router=False), universe.join(router=False)
    offer, answer = inbox_record(1), inbox_record(4242)
    watch(universe, callee, offer.storage_key)
    delivery = universe.at(caller).start_deliver(offer.encode(), universe.now, reply_watch=REPLY_KEY)
    universe.do(caller)
    _, note = universe.wait(callee, Notified)
    universe.at(callee).start_deliver(answer.encode(), universe.now, at=[note.via], only=True)
    universe.do(callee)
    took, back = universe.wait(caller, Notified)
    assert (back.record, back.storage_key, back.via) == (answer.encode(), REPLY_KEY, note.via)
    assert took == pytest.approx(0.05)
    # Three leases later it still works
    universe.link.run(95.0)
    later = inbox_record(4242, seq=2)
    universe.at(callee).start_deliver(later.encode(), universe.now, at=[note.via], only=True)
    universe.do(callee)
    assert universe.wait(caller, Notified)[1].record == later.encode()
    # Until it is closed
    universe.at(caller).cancel(delivery, universe.now)
    universe.do(caller)
    universe.link.run(1.0)
    last = inbox_record(4242, seq=3)
    universe.at(callee).start_deliver(last.encode(), universe.now, at=[note.via], only=True)
    universe.do(callee)
    universe.link.run(5.0)
    assert last.encode() not in [n.record for n in universe.seen(caller, Notified)]


def test_direct_delivery_without_any_network() -> None:
    """Two nodes alone on a LAN: the offer goes straight to the callee's port, the answer straight back."""
    universe = Universe(seed=15)
    callee = universe.add(universe.engine("callee", router=False))
    caller = universe.add(universe.engine("caller", router=False))
    offer, answer = inbox_record(1), inbox_record(4242)
    universe.at(callee).start_watch(offer.storage_key, universe.now)
    universe.at(callee).put_local(presence_record(1).encode(), universe.now)
    universe.do(callee)
    get(universe, caller, offer.storage_key, at=(callee,), only=True)
    number = universe.at(caller).start_deliver(
        offer.encode(), universe.now, at=[callee], only=True, reply_watch=REPLY_KEY
    )
    universe.do(caller)
    took, note = universe.wait(callee, Notified)
    assert (note.record, note.via) == (offer.encode(), caller)
    assert took == pytest.approx(0.025)
    _, done = universe.wait(caller, DeliverDone, number)
    assert (done.watchers, done.asked) == (1, 1)
    universe.at(callee).start_deliver(answer.encode(), universe.now, at=[note.via], only=True)
    universe.do(callee)
    took, back = universe.wait(caller, Notified)
    assert (back.record, back.via) == (answer.encode(), callee)
    assert took == pytest.approx(0.025)


def test_direct_delivery_without_a_token_takes_one_more_round_trip() -> None:
    """The refusal brings the token."""
    universe = Universe(seed=16)
    callee = universe.add(universe.engine("callee", router=False))
    caller = universe.add(universe.engine("caller", router=False))
    record = inbox_record(1)
    universe.at(callee).start_watch(record.storage_key, universe.now)
    universe.do(callee)
    universe.at(caller).start_deliver(record.encode(), universe.now, at=[callee], only=True)
    universe.do(caller)
    assert universe.wait(callee, Notified)[0] == pytest.approx(0.075)


def test_dead_holders_are_replaced() -> None:
    """All holders of a watch die: within 15 s others hold it, and a call gets through."""
    universe = Universe(40, seed=17)
    callee, caller = universe.join(router=False), universe.join(router=False)
    record = inbox_record(1)
    number = watch(universe, callee, record.storage_key)
    for address in universe.true_closest(record.storage_key):
        universe.link.detach(address)
    universe.link.run(15.0)
    held = universe.at(callee).statistics().own_watches[record.storage_key]
    assert held >= DHT_REPLICAS - 1
    universe.at(caller).start_deliver(record.encode(), universe.now)
    universe.do(caller)
    assert universe.wait(callee, Notified)[0] < 1.0
    universe.at(callee).cancel(number, universe.now)
    assert universe.at(callee).statistics().own_watches == {}


def test_a_watch_that_is_closed_is_given_back() -> None:
    """The holders forget it at once, without waiting for the lease."""
    universe = Universe(10, seed=18)
    callee = universe.join(router=False)
    number = watch(universe, callee, REPLY_KEY)
    assert sum(node.statistics().watches_held for node in universe.nodes) == DHT_REPLICAS
    universe.at(callee).cancel(number, universe.now)
    universe.do(callee)
    universe.link.run(1.0)
    assert sum(node.statistics().watches_held for node in universe.nodes) == 0


def test_a_vanished_watcher_is_forgotten() -> None:
    """No renewal: after one lease nothing is kept for it."""
    universe = Universe(10, seed=19)
    callee = universe.join(router=False)
    watch(universe, callee, REPLY_KEY)
    universe.link.detach(callee)
    universe.link.run(40.0)
    assert sum(node.statistics().watches_held for node in universe.nodes) == 0


def test_a_watch_survives_an_outage() -> None:
    """Two minutes without any network: nobody is forgotten, and the watch is back within 35 s after it."""
    universe = Universe(20, seed=20)
    callee, caller = universe.join(router=False), universe.join(router=False)
    watch(universe, callee, REPLY_KEY)
    engine = universe.at(callee)
    universe.link.detach(callee)
    outage_ends = universe.now + 120.0
    while (due := engine.deadline()) is not None and due < outage_ends:
        universe.clock.advance_to(max(due, universe.now))
        engine.handle_timer(universe.now)
        engine.transmits()
    assert len(engine.contacts()) == 20
    universe.link.attach(callee, engine)
    universe.link.run(35.0)
    universe.at(caller).start_deliver(inbox_record(4242).encode(), universe.now)
    universe.do(caller)
    assert universe.wait(callee, Notified)[0] < 1.0


def test_an_unacknowledged_push_is_sent_once_more() -> None:
    """The watcher is mute: the notify goes out twice, 200 ms apart, and then the watch is dropped."""
    universe = Universe(seed=21)
    holder = universe.add(universe.engine("holder"))
    engine = universe.at(holder)
    watcher: Address = ("10.5.0.1", 9)
    sender: Address = ("10.5.0.2", 9)

    def ask(message: m.Request, address: Address) -> list[m.Frame]:
        engine.receive(m.encode_frame(message), address, universe.now)
        return [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == address]

    def token(address: Address) -> bytes:
        (pong,) = ask(m.Ping(b"tokenget", b"\x31" * 20, 1, b"", b""), address)
        assert isinstance(pong, m.Pong)
        return pong.token

    key = inbox_record(1).storage_key
    (reply,) = ask(m.Watch(b"12345678", b"\x31" * 20, 1, token(watcher), key, 30, 1), watcher)
    assert isinstance(reply, m.Watching)
    assert reply.lease == 30
    sender_token = token(sender)
    engine.receive(
        m.encode_frame(
            m.Deliver(b"deliver1", b"\x32" * 20, 1, sender_token, inbox_record(1).encode(), b"", b"")
        ),
        sender,
        universe.now,
    )
    sent = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == watcher]
    universe.clock.advance(0.2)
    engine.handle_timer(universe.now)
    again = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == watcher]
    assert [type(f) for f in sent + again] == [m.Notify, m.Notify]
    assert sent == again
    universe.clock.advance(1.31)
    engine.receive(m.encode_frame(m.Ping(b"87654321", b"\x33" * 20, 1, b"", b"")), sender, universe.now)
    engine.handle_timer(universe.now)
    assert engine.statistics().watches_held == 0


def test_a_repeated_deliver_is_answered_but_not_carried_out_twice() -> None:
    """The reply was lost: the same transaction gives the same reply, and nothing is done again."""
    universe = Universe(2, seed=22)
    holder = universe.at(address_of(0))
    sender: Address = ("10.5.0.2", 9)
    holder.receive(m.encode_frame(m.Ping(b"12345678", b"\x31" * 20, 1, b"", b"")), sender, universe.now)
    pong = m.decode_frame_untrusted(holder.transmits()[0][0])
    assert isinstance(pong, m.Pong)
    deliver = m.encode_frame(
        m.Deliver(b"deliver1", b"\x31" * 20, 1, pong.token, inbox_record(1).encode(), b"", b"")
    )
    holder.receive(deliver, sender, universe.now)
    first = holder.transmits()
    holder.receive(deliver, sender, universe.now)
    assert holder.transmits() == first
    results = holder.statistics().records.results
    assert results[StoreResult.STORED] == 1
    assert StoreResult.UNCHANGED not in results


def test_a_stranger_can_not_notify() -> None:
    """Only nodes that hold our watch may push; others get no answer."""
    universe = Universe(10, seed=23)
    callee = universe.join(router=False)
    record = inbox_record(1)
    watch(universe, callee, record.storage_key)
    stranger: Address = ("10.66.0.1", 1)
    notify = m.Notify(b"12345678", b"\x31" * 20, 1, record.storage_key, record.encode(), b"", 0)
    universe.at(callee).receive(m.encode_frame(notify), stranger, universe.now)
    assert [to for _, to in universe.at(callee).transmits() if to == stranger] == []
    assert universe.at(callee).statistics().counters["notify-stranger"] == 1
    assert universe.seen(callee, Notified) == []


def test_writing_needs_the_token_of_that_node() -> None:
    """Store, deliver and watch with another address's token change nothing; the refusal has a fresh one."""
    universe = Universe(seed=24)
    here = universe.add(universe.engine("x"))
    engine = universe.at(here)
    mine: Address = ("10.5.0.1", 9)
    other: Address = ("10.5.0.2", 9)
    record = inbox_record(1).encode()

    def ask(message: m.Request, address: Address) -> m.Frame:
        engine.receive(m.encode_frame(message), address, universe.now)
        (reply,) = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == address]
        return reply

    refused = ask(m.Store(b"12345678", b"\x31" * 20, 1, b"", record, 0), other)
    assert isinstance(refused, m.Refused)
    for request in (
        m.Store(b"12345678", b"\x31" * 20, 1, refused.token, record, 0),
        m.Deliver(b"12345678", b"\x31" * 20, 1, refused.token, record, REPLY_KEY, b""),
        m.Watch(b"12345678", b"\x31" * 20, 1, refused.token, REPLY_KEY, 30, 1),
    ):
        reply = ask(request, mine)
        assert isinstance(reply, m.Refused)
        assert reply.reason == m.REFUSED_TOKEN
    assert engine.statistics().records.values == engine.statistics().watches_held == 0
    stored = ask(m.Store(b"22345678", b"\x31" * 20, 1, refused.token, record, 0), other)
    assert isinstance(stored, m.Stored)
    assert stored.stored == 1


def test_replies_count_only_from_the_address_asked() -> None:
    """A right transaction id from elsewhere is counted and does nothing."""
    universe = Universe(2, seed=25)
    engine = universe.at(address_of(0))
    number = engine.start_ping(address_of(1), universe.now)
    (frame,) = [data for data, to in engine.transmits() if to == address_of(1)]
    universe.at(address_of(1)).receive(frame, address_of(0), universe.now)
    (reply,) = [data for data, _ in universe.at(address_of(1)).transmits()]
    engine.receive(reply, ("10.66.0.1", 1), universe.now)
    assert engine.statistics().counters["wrong-address"] == 1
    assert not any(isinstance(e, PingDone) for e in engine.events())
    engine.receive(reply, address_of(1), universe.now)
    assert [e.op for e in engine.events() if isinstance(e, PingDone)] == [number]
    engine.receive(reply, address_of(1), universe.now)
    assert engine.statistics().counters["unsolicited"] >= 1


def test_ipv6_nodes_have_their_own_table() -> None:
    """Each family learns of its own nodes; a node that has both keeps both."""
    universe = Universe(seed=26)
    six: list[Address] = [(f"fd00::{index + 1:x}", 4000) for index in range(6)]
    engines = [universe.engine(f"six {index}") for index in range(6)]
    for address, engine in zip(six, engines, strict=True):
        universe.events[address] = []
        universe.link.attach(address, engine)
        engine.start_bootstrap([six[0]] if address != six[0] else [], universe.now)
        universe.do(address)
        universe.link.run(2.0)
    assert [len(engine.contacts()) for engine in engines] == [5] * 6
    assert engines[3].statistics().observed6 == six[3]
    record = inbox_record(1)
    engines[1].start_store(record.encode(), universe.now)
    universe.do(six[1])
    universe.wait(six[1], StoreDone)
    assert get(universe, six[4], record.storage_key) == [record.encode()]


def test_the_same_seed_gives_the_same_run() -> None:
    """Nothing in the engine depends on anything but its inputs."""
    first, second = Universe(8, seed=27), Universe(8, seed=27)
    for universe in (first, second):
        put(universe, address_of(1), inbox_record(1).encode())
    assert first.counters() == second.counters()
    assert first.link.delivered == second.link.delivered
    assert first.now == second.now


def test_put_local_replaces_by_number() -> None:
    """Our newer record takes the place of the older one; an older one is refused."""
    engine = DhtEngine(SigningKey.from_seed(bytes(32)), random=seeded_random(1), now=0.0)
    assert engine.put_local(presence_record(1, seq=5).encode(), 0.0) is StoreResult.STORED
    assert engine.put_local(presence_record(1, seq=6).encode(), 0.0) is StoreResult.REPLACED
    assert engine.put_local(presence_record(1, seq=4).encode(), 0.0) is StoreResult.STALE
