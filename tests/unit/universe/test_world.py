"""The world: order of moments, delays, losses, NATs, deaths; each counted, not guessed."""

from __future__ import annotations

import statistics

import pytest

from meshcall.address import Address
from meshcall.dht import BootstrapDone, DhtEngine, Event
from meshcall.limits import DHT_K, DHT_SPLIT_DEPTH
from netsim.universe import Node, Role, Settings, World
from netsim.universe.chance import Octets, dice
from netsim.universe.churn import Churn, join, join_all
from netsim.universe.latency import Constant, Lognormal
from netsim.universe.nat import MAPPING_LIFE, Nat
from netsim.universe.places import concentrated_addresses, public_addresses
from netsim.universe.tables import plausible_table

HERE: Address = ("9.9.9.9", 1)
THERE: Address = ("8.8.8.8", 1)


def small(**changes: object) -> World:
    """A world of 60 nodes."""
    return World(Settings(**{"nodes": 60, "clients": 4, **changes}))  # type: ignore[arg-type]  # a test's shorthand


def test_moments_come_in_order_and_equal_ones_first_come_first_served() -> None:
    """The heap orders by time, then by when it was pushed; time never goes back."""
    world = small()
    seen: list[tuple[str, float]] = []
    start = world.now
    for name, when in (("late", 3.0), ("first", 1.0), ("second", 1.0), ("past", -5.0)):
        world.call_at(start + when, lambda now, name=name: seen.append((name, now - start)))  # type: ignore[misc]  # default binds
    world.run(2.0)
    assert seen == [("past", 0.0), ("first", 1.0), ("second", 1.0)]
    assert world.now == start + 2.0
    world.run(2.0)
    assert seen[-1] == ("late", 3.0)


def test_octets_are_the_same_for_the_same_name_alone() -> None:
    """Chance of one engine depends on its name and on nothing else."""
    assert Octets("a")(100) == Octets("a")(100) != Octets("b")(100)
    octets = Octets("a")
    assert octets(8) != octets(8)


def test_constant_latency_is_half_a_round_trip() -> None:
    """25 ms each way for 50 ms."""
    assert Constant(50.0).one_way(1, 2) == 0.025


def test_lognormal_latency_has_the_median_asked_for_and_a_tail() -> None:
    """Over pairs of nodes: median within a tenth, and a few pairs more than twice as far."""
    latency = Lognormal(50.0, seed=1)
    trips = [
        1000 * (latency.one_way(a, b) + latency.one_way(b, a)) for a in range(0, 400, 2) for b in (a + 1, 399)
    ]
    assert statistics.median(trips) == pytest.approx(50.0, rel=0.1)
    assert 0.01 < sum(trip > 100 for trip in trips) / len(trips) < 0.2


def test_the_share_asked_for_gets_lost() -> None:
    """20 % of 5,000 datagrams, within 2 %."""
    world = small(loss=0.2)
    left, right = world.living_routers()[:2]
    for _ in range(5000):
        world.send(left, b"\xff", right.address)
    world.run(1.0)
    assert world.traffic.lost / 5000 == pytest.approx(0.2, abs=0.02)
    assert world.traffic.delivered == 5000 - world.traffic.lost


def test_the_dead_hear_nothing_and_say_nothing() -> None:
    """Exactly the share asked for dies, never a client, and what is on its way to them is lost."""
    world = small(nat=0.2)
    victims = world.kill_share(0.4)
    assert len(victims) == 24
    assert not any(node.role is Role.CLIENT for node in victims)
    assert not any(node.alive for node in victims)
    world.send(world.living_routers()[0], b"\xff", victims[0].address)
    world.run(1.0)
    assert (world.traffic.delivered, world.traffic.unheard) == (0, 1)


def test_a_nat_lets_in_only_whom_the_node_behind_wrote_to() -> None:
    """By address and port, and only while the mapping lives."""
    nat = Nat()
    assert not nat.lets_in(HERE, 0.0)
    nat.wrote(HERE, 0.0)
    assert nat.lets_in(HERE, MAPPING_LIFE)
    assert not nat.lets_in((HERE[0], 2), 1.0)
    assert not nat.lets_in(THERE, 1.0)
    assert not nat.lets_in(HERE, MAPPING_LIFE + 1)
    assert nat.dropped == 4


def test_nodes_behind_nats_are_reached_by_replies_alone() -> None:
    """A stranger's datagram stops at the NAT; replies come in; nobody has such a node in its table."""
    world = small(nat=0.3)
    client, router = world.clients()[0], world.living_routers()[0]
    world.send(router, b"\xff", client.address)
    world.run(1.0)
    assert (world.traffic.filtered, world.traffic.delivered) == (1, 0)
    joined: list[Event] = []
    world.on_event = lambda node, now, event: joined.append(event)
    join(world, client, [router.address])
    world.run(10.0)
    assert [e.answered for e in joined if isinstance(e, BootstrapDone)] == [1]
    assert len(world.engine(client).contacts()) > DHT_K
    hidden = {node.node_id for node in world.nodes if node.role in (Role.NATED, Role.CLIENT)}
    for node in world.living_routers():
        if node.machine is not None:
            assert not hidden & {node_id for node_id, _ in world.engine(node).contacts()}


def test_a_table_by_construction_is_one_that_kademlia_would_make() -> None:
    """All of the nearest nodes, at most k of each farther bucket, never the node itself."""
    chance = dice(1, "ids")
    ids = sorted(chance.getrandbits(160) for _ in range(2000))
    own = ids[777]
    table = plausible_table(own, ids, chance)
    assert len(table) == len(set(table))
    assert 777 not in table
    nearest = sorted(range(len(ids)), key=lambda i: ids[i] ^ own)[1:6]
    assert set(nearest) <= set(table)
    for depth in range(160):
        beside = [i for i in table if (ids[i] ^ own).bit_length() == 160 - depth]
        there = sum((x ^ own).bit_length() == 160 - depth for x in ids)
        assert len(beside) >= min(there, DHT_K)
        most = DHT_K << max(0, DHT_SPLIT_DEPTH - 1 - depth)  # the far half is more than one bucket
        assert len(beside) <= max(most, len(nearest)) or (ids[beside[0]] ^ own).bit_length() < 156


def test_constructed_and_joined_tables_are_alike() -> None:
    """Two worlds of 80: tables made by construction and by joins differ by a quarter at most."""

    def mean_contacts(world: World) -> float:
        routers = world.living_routers()
        return statistics.fmean(len(world.engine(node).contacts()) for node in routers)

    built, joined = (
        World(Settings(nodes=80, clients=2)),
        World(Settings(nodes=80, clients=2, real_joins=True)),
    )
    routers = joined.living_routers()
    for node in routers:
        join(joined, node, [other.address for other in routers[:3] if other is not node])
        joined.run(1.0)
    joined.run(30.0)
    assert 0.75 <= mean_contacts(joined) / mean_contacts(built) <= 1.25


def test_a_join_fills_the_table() -> None:
    """In a network of 600, newcomers know three quarters of what a long quiet time would give them."""
    world = World(Settings(nodes=600, clients=4, seed=5))
    join_all(world, world.clients(), every=0.1, settle=8.0)
    joined = statistics.fmean(len(world.engine(node).contacts()) for node in world.clients())
    quiet = statistics.fmean(len(world.engine(node).contacts()) for node in world.living_routers()[:8])
    assert joined >= 0.75 * quiet


def test_engines_are_made_when_they_are_reached() -> None:
    """A world in which nothing happens has none."""
    world = small()
    assert all(node.machine is None for node in world.nodes)
    router = world.living_routers()[0]
    assert isinstance(world.engine(router), DhtEngine)
    assert sum(node.machine is not None for node in world.nodes) == 1


def test_addresses_are_public_and_spread_unless_concentrated() -> None:
    """A /24 for each node; sybils share one."""
    spread = public_addresses(500, dice(1, "addresses"))
    assert len({ip.rpartition(".")[0] for ip, _ in spread}) == 500
    together = concentrated_addresses(300)
    assert len(set(together)) == 300
    assert len({ip.rpartition(".")[0] for ip, _ in together}) == 1


def test_sybils_are_nearer_to_the_key_than_honest_nodes() -> None:
    """Their ids are bound to keys all the same: they were ground, not chosen."""
    target = bytes(range(20))
    world = World(Settings(nodes=60, clients=2, sybils=12), target=target)
    closest: list[Node] = world.true_closest(target, 12)
    assert sum(node.role is Role.SYBIL for node in closest) >= 8
    assert {node.address[0].rpartition(".")[0] for node in closest if node.role is Role.SYBIL} == {"45.9.20"}


def test_churn_replaces_who_dies() -> None:
    """Lives are as long as asked for on average; newcomers join and are known to others."""
    world = World(Settings(nodes=60, clients=2, churn=60.0))
    churn = Churn(world)
    churn.start()
    world.run(30.0)
    assert churn.died == churn.came
    assert 10 <= churn.died <= 40
    newcomers = [node for node in world.living_routers() if node.index >= 62 and node.machine is not None]
    assert len(world.living_routers()) == 60
    assert statistics.median(len(world.engine(node).contacts()) for node in newcomers) > DHT_K


@pytest.mark.parametrize(
    "wrong",
    [
        {"dead": 1.0},
        {"loss": -0.1},
        {"nodes": 3},
        {"clients": 1},
        {"hostile": 0.6, "nat": 0.4},
        {"rtt_ms": 0.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    """ValueError, before anything is built."""
    with pytest.raises(ValueError):
        Settings(**wrong)  # type: ignore[arg-type]  # wrong on purpose
