"""The book of relays: whom an idle node asks, what a call gets, what liars and dead relays cost."""

from __future__ import annotations

import random
from hashlib import sha256

from meshcall.address import Address
from meshcall.limits import (
    CONSENT_LOST,
    DHT_HARD_TIMEOUT,
    RELAY_ASKS_AT_ONCE,
    RELAY_CANDIDATES,
    RELAY_CANDIDATES_PER_NETWORK,
    RELAY_FAILURES,
    RELAY_MISSED,
    RELAY_MISSED_PAUSE,
    RELAY_RENEW,
    RELAY_SEARCH_MAX,
    RELAYS_HELD,
)
from meshcall.turn.book import RelayBook
from meshcall.turn.credentials import Credentials
from meshcall.turn.grant import Grant, Place

LIFE = 900


def grant(*, of_contact: bool = False, life: int = LIFE) -> Grant:
    return Grant(Credentials("1:u", "p"), life, (Place("udp", 3478),), of_contact)


def place(number: int, host: int = 1) -> Address:
    """Each in a network of its own."""
    return f"46.{number}.1.{host}", 4000


def node_at(address: Address) -> bytes:
    """The id of the node there; IPv6 addresses are second ones."""
    return sha256(address[0].removeprefix("2a05::").encode()).digest()[:20]


class World:
    """A book, and relays that answer or do not."""

    def __init__(self, count: int = 0) -> None:
        self.now = 100.0
        self.book = RelayBook(random.Random(1).randbytes)
        self.dead: set[Address] = set()
        self.contacts: set[Address] = set()
        self.rtts: dict[Address, float] = {}
        self.asked: list[Address] = []
        self.hear(*(place(number) for number in range(count)))

    def hear(self, *addresses: Address) -> None:
        for address in addresses:
            self.book.heard(address, node_at(address), self.now)

    def step(self) -> int:
        """Ask whom it wants to ask; how many."""
        lenders = self.book.asks(self.now)
        for lender in lenders:
            self.asked.append(lender.address)
            if lender.address in self.dead:
                self.book.refused(lender.address, answered=False, now=self.now)
            else:
                granted = grant(of_contact=lender.address in self.contacts)
                rtt = self.rtts.get(lender.address, 0.05)
                self.book.granted(lender.address, node_at(lender.address), granted, rtt, self.now)
        return len(lenders)

    def wait(self, seconds: float) -> None:
        """With all timers on time."""
        end = self.now + seconds
        for _ in range(10_000):
            while self.step():
                pass
            if self.book.wants_search(self.now):
                self.book.searched(self.now)
            due = self.book.deadline(self.now)
            assert due > self.now, "the book would keep its shell busy"
            if due > end:
                break
            self.now = due
        self.now = end

    def held(self) -> list[Address]:
        return [lender.address for lender in self.book.held(self.now)]


def test_an_idle_node_asks_three_relays_once_in_ten_minutes() -> None:
    """Of fifty that are known no others are asked but at the beginning, and these no more often."""
    world = World(50)
    world.wait(1.0)
    assert len(world.asked) <= RELAY_ASKS_AT_ONCE
    held = world.held()
    assert len(held) == RELAYS_HELD
    world.asked.clear()
    world.wait(6 * 3600)
    assert set(world.asked) == set(held)
    assert len(world.asked) <= RELAYS_HELD * (6 * 3600 / (LIFE * RELAY_RENEW) + 1)


def test_the_nearest_are_held_and_contacts_before_them() -> None:
    """By round trip; but a contact's relay goes first."""
    world = World(RELAY_ASKS_AT_ONCE)
    for number in range(RELAY_ASKS_AT_ONCE):
        world.rtts[place(number)] = 0.1 - 0.02 * number
    world.contacts = {place(0)}
    world.wait(1.0)
    assert world.held() == [place(0), place(3), place(2)]
    picked = world.book.pick((), world.now)
    assert picked is not None
    assert picked.address == place(0)
    second = world.book.pick({place(0)}, world.now)
    assert second is not None
    assert second.address == place(3)


def test_held_relays_are_of_different_networks() -> None:
    """Many addresses in one /24 count as one."""
    world = World()
    world.hear(*(place(1, host) for host in range(1, 40)))
    world.wait(60.0)
    assert len(world.held()) == 1
    assert len(set(world.asked)) == 1
    world.hear(place(2), place(3))
    world.wait(1.0)
    assert {address[0].rpartition(".")[0] for address in world.held()} == {"46.1.1", "46.2.1", "46.3.1"}


def test_a_node_with_two_addresses_is_one_relay() -> None:
    """Heard of by IPv4 and IPv6 it is asked by one of them, and held once."""
    world = World()
    for number in range(2):
        world.hear(place(number), (f"2a05::{place(number)[0]}", 4000))
    world.wait(60.0)
    assert len(world.held()) == 2
    assert len({node_at(address) for address in world.held()}) == 2
    assert len({node_at(address) for address in world.asked}) == len(set(world.asked)) == 2


def test_a_dead_relay_is_replaced_and_then_forgotten() -> None:
    """A call that lost one gets another at once; who is silent is asked ever more seldom, then not at all."""
    world = World(8)
    world.wait(1.0)
    lost = world.held()[0]
    world.dead.add(lost)
    world.book.failed(lost, world.now)
    assert lost not in world.held()
    world.wait(0.1)
    assert lost not in world.held()
    assert len(world.held()) == RELAYS_HELD
    world = World(1)
    world.dead.add(place(0))
    world.wait(3600)
    assert len(world.asked) == RELAY_FAILURES
    assert len(world.book) == 0


def test_a_relay_that_a_call_lost_is_asked_while_the_call_may_wait() -> None:
    """Whenever it comes back within these seconds it is held 2 s later: each ask waits 1.5 s for its answer.

    So it is when our own link is what broke. Afterwards it is asked as seldom as any other, and forgotten.
    """
    for answers_elsewhere in (True, False):
        for tenths in range(int(10 * (CONSENT_LOST - 2))):
            world = World(1)
            world.wait(1.0)
            begin = world.now
            world.book.failed(place(0), begin)
            back = begin + tenths / 10
            while not world.held():
                assert world.now <= back + 2.0
                for lender in world.book.asks(world.now):
                    if world.now >= back:
                        world.book.granted(lender.address, node_at(lender.address), grant(), 0.05, world.now)
                        break
                    world.now += DHT_HARD_TIMEOUT
                    if answers_elsewhere:
                        world.book.refused(lender.address, answered=False, now=world.now)
                    else:
                        world.book.postponed(lender.address, world.now)
                else:
                    world.now = max(world.now, world.book.deadline(world.now))
                    if world.book.wants_search(world.now):
                        world.book.searched(world.now)
            assert world.now <= back + 2.0


def test_a_relay_that_a_call_lost_for_good_is_forgotten() -> None:
    """The asks of the first seconds are few, and count as one silence."""
    world = World(1)
    world.wait(1.0)
    world.asked.clear()
    world.dead.add(place(0))
    world.book.failed(place(0), world.now)
    world.wait(RELAY_MISSED)
    assert len(world.asked) <= RELAY_MISSED / RELAY_MISSED_PAUSE + 1
    world.asked.clear()
    world.wait(3600)
    assert len(world.asked) < RELAY_FAILURES
    assert len(world.book) == 0


def test_a_relay_that_answers_again_is_used_again() -> None:
    """After our own outage all may have failed in calls: they are asked at once, and are good again."""
    world = World(3)
    world.wait(1.0)
    held = world.held()
    for address in held:
        world.book.failed(address, world.now)
    assert world.held() == []
    world.wait(0.1)
    assert set(world.held()) == set(held)


def test_a_relay_that_grants_but_gives_no_address_is_not_asked_at_once_again_and_again() -> None:
    """Its second failure in a row makes it wait; a call that got an address there clears it."""
    world = World(1)
    world.wait(1.0)
    world.asked.clear()
    for _ in range(20):
        world.book.failed(place(0), world.now)
        world.wait(0.1)
    assert len(world.asked) <= 2
    world.wait(60.0)
    assert world.held() == [place(0)]
    world.book.worked(place(0))
    world.book.failed(place(0), world.now)
    world.wait(0.1)
    assert world.held() == [place(0)]


def test_silence_of_everybody_is_nobodys_fault() -> None:
    """Who did not answer while nobody else was heard keeps its place, and what it granted."""
    world = World(3)
    world.wait(1.0)
    held = world.held()
    world.now += LIFE * RELAY_RENEW
    for lender in world.book.asks(world.now):
        world.book.postponed(lender.address, world.now)
    assert world.held() == held
    world.wait(10.0)
    assert set(world.held()) == set(held)


def test_credentials_that_ended_are_not_handed_out() -> None:
    """Not a second longer than they live."""
    world = World(1)
    world.wait(1.0)
    world.now += LIFE
    assert world.book.pick((), world.now) is None


def test_invented_relays_take_no_place_for_ever() -> None:
    """Of a thousand that are announced few are remembered; an honest one among them gets its turn."""
    world = World()
    liars = [(f"47.{n >> 8}.{n & 255}.1", 1) for n in range(1000)]
    world.dead.update(liars)
    world.hear(*liars)
    assert len(world.book) == RELAY_CANDIDATES
    for _ in range(200):
        world.hear(place(1), *liars[:20])
        world.wait(10.0)
        if world.held():
            break
    assert world.held() == [place(1)]
    assert len(world.book) <= RELAY_CANDIDATES


def test_one_network_that_announces_itself_often_leaves_room_for_others() -> None:
    """A thousand announcements of one /24 take a few places; each other network still gets one."""
    world = World()
    world.hear(*((f"46.1.1.{host}", 4000 + round_) for host in range(1, 251) for round_ in range(4)))
    assert len(world.book) == RELAY_CANDIDATES_PER_NETWORK
    world.hear(*(place(number) for number in range(2, 42)))
    assert len(world.book) == RELAY_CANDIDATES_PER_NETWORK + 40
    world.step()
    assert len({address[0].rpartition(".")[0] for address in world.asked}) == len(world.asked) > 1


def test_relays_of_no_use_are_forgotten() -> None:
    """A neighbour's, in a LAN: it is held no more, and its place is another's."""
    world = World(3)
    neighbour = ("192.168.1.2", 4000)
    world.contacts = {neighbour}
    world.hear(neighbour)
    world.wait(1.0)
    assert world.held()[0] == neighbour
    world.book.keep(lambda address: not address[0].startswith("192.168."))
    world.wait(1.0)
    assert set(world.held()) == {place(number) for number in range(3)}


def test_searches_become_seldom() -> None:
    """Where no relay is found, a node looks at most once in ten minutes; with three it looks no more."""
    world = World()
    searches = 0
    for _ in range(24 * 60):
        if world.book.wants_search(world.now):
            searches += 1
            world.book.searched(world.now)
        world.now += 60.0
    assert searches <= 24 * 3600 / RELAY_SEARCH_MAX + 10
    world.hear(place(1), place(2), place(3))
    world.wait(1.0)
    assert len(world.held()) == RELAYS_HELD
    for _ in range(24):
        world.wait(3600.0)
        assert not world.book.wants_search(world.now)
