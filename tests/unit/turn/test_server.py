"""The relay as a machine: what RFC 8656 says of each request, and what each attack gets."""

from __future__ import annotations

from collections import Counter

import pytest

from meshcall.limits import (
    STUN_REPLY_RATIO,
    TURN_AGE_MAX,
    TURN_ALLOCATIONS_MAX,
    TURN_CHALLENGES_PER_SECOND,
    TURN_CHANNELS_MAX,
    TURN_NONCE_LIFE,
    TURN_PERMISSION_LIFE,
    TURN_PERMISSIONS_MAX,
)
from meshcall.stun.attributes import encode_xor_address, number_untrusted, xor_address_untrusted
from meshcall.stun.message import AttributeType, MessageClass, Method, decode_stun_untrusted
from meshcall.turn.credentials import Credentials, issue
from meshcall.turn.policy import RelayPolicy
from tests.unit.turn.world import CLIENT, PEER, SECRET, UDP, UNIX, Asker, World, code, credentials

FAMILY = AttributeType.REQUESTED_ADDRESS_FAMILY
LIFETIME = AttributeType.LIFETIME


def lifetime(seconds: int) -> tuple[int, bytes]:
    return LIFETIME, seconds.to_bytes(4, "big")


def allocated(world: World | None = None, **kwargs: object) -> Asker:
    """A client with an allocation."""
    asker = Asker(world or World(), **kwargs)  # type: ignore[arg-type]
    reply = asker.ask(Method.ALLOCATE, UDP)
    assert code(reply) == 0
    return asker


def channel_data(number: int, data: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def test_an_allocation_tells_both_addresses_and_its_life() -> None:
    """Section 7.3: relayed and mapped address, lifetime, and integrity with the client's key."""
    asker = Asker(World())
    reply = asker.ask(Method.ALLOCATE, UDP)
    assert code(reply) == 0
    assert xor_address_untrusted(reply, AttributeType.XOR_RELAYED_ADDRESS) == ("5.0.1.1", 49153)
    assert xor_address_untrusted(reply, AttributeType.XOR_MAPPED_ADDRESS) == CLIENT
    assert number_untrusted(reply, LIFETIME, 4) == 600
    assert reply.has_integrity(asker.who.key("meshcall"))


def test_before_good_credentials_nothing_is_kept() -> None:
    """A challenge needs no state, and is no longer than three times the shortest request."""
    world = World()
    asker = Asker(world)
    for attributes in ((), (UDP,)):
        reply = asker.bare(Method.ALLOCATE, *attributes)
        assert code(reply) == 401
        assert reply.get(AttributeType.REALM) == b"meshcall"
    assert world.server.statistics().allocations == 0
    short = asker.message(Method.REFRESH).encode(fingerprint=False)
    assert len(short) == 20
    (octets,) = world.give(short, asker.client)
    assert len(octets) <= STUN_REPLY_RATIO * 20


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (issue(SECRET, "ada", UNIX - 1), 401),
        (issue(b"another secret", "ada", UNIX + 60), 401),
        (Credentials("ada", "guess"), 401),
        (Credentials(":", ""), 401),
        (Credentials("99999999999999:ada", "x"), 401),
        (issue(SECRET, "ada", UNIX + 1), 0),
    ],
)
def test_credentials_that_ended_or_are_wrong_allocate_nothing(who: Credentials, expected: int) -> None:
    """Expired, made with another secret, or none of ours: 401."""
    world = World()
    assert code(Asker(world, who=who).ask(Method.ALLOCATE, UDP)) == expected
    assert world.server.statistics().allocations == (expected == 0)


def test_a_call_outlives_its_credentials_but_not_for_ever() -> None:
    """Law 2 of authentication: refreshed after their end, until the allocation is too old."""
    world = World()
    asker = allocated(world, who=credentials(lives=60))
    for _ in range(int(TURN_AGE_MAX / 500)):
        world.wait(500)
        reply = asker.ask(Method.REFRESH)
        if code(reply) == 438:
            asker.nonce = reply.get(AttributeType.NONCE) or b""
            reply = asker.ask(Method.REFRESH)
        assert code(reply) == 0
    world.wait(500)
    asker.challenge()
    assert code(asker.ask(Method.REFRESH)) == 437
    assert world.relays == {}


def test_a_nonce_is_good_for_one_client_and_a_while() -> None:
    """438 with a new nonce: for a replay from another address, and after ten minutes."""
    world = World()
    asker = Asker(world)
    asker.challenge()
    thief = Asker(world, (("5.0.9.9", 40000), 0))
    thief.nonce = asker.nonce
    assert code(thief.ask(Method.ALLOCATE, UDP)) == 438
    world.now += TURN_NONCE_LIFE + 2
    reply = asker.ask(Method.ALLOCATE, UDP)
    assert code(reply) == 438
    asker.nonce = reply.get(AttributeType.NONCE) or b""
    assert code(asker.ask(Method.ALLOCATE, UDP)) == 0
    for nonce in (b"", b"x" * 16, b"=" * 16, bytes(16), b"\xff" * 16):
        asker.nonce = nonce or b"-"
        assert code(asker.ask(Method.REFRESH)) == 438


def test_a_flood_of_requests_without_credentials_gets_few_answers() -> None:
    """The uplink that challenges take has a cap."""
    world = World()
    answers = 0
    for number in range(3000):
        request = Asker(world).message(Method.ALLOCATE, UDP).encode(fingerprint=False)
        answers += len(world.give(request, (("5.9.9.9", 1024 + number), 0)))
    assert answers == TURN_CHALLENGES_PER_SECOND
    assert world.server.statistics().counters["unanswered"] == 3000 - TURN_CHALLENGES_PER_SECOND


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ((), 400),
        (((AttributeType.REQUESTED_TRANSPORT, b"\x11"),), 400),
        (((AttributeType.REQUESTED_TRANSPORT, bytes((6, 0, 0, 0))),), 442),
        ((UDP, (FAMILY, bytes((2, 0, 0, 0)))), 0),
        ((UDP, (FAMILY, bytes((3, 0, 0, 0)))), 440),
        ((UDP, (FAMILY, b"")), 440),
        ((UDP, (AttributeType.DONT_FRAGMENT, b"")), 420),
        ((UDP, (0x7F01, b"????")), 420),
        ((UDP, (AttributeType.EVEN_PORT, b"\x80")), 508),
        ((UDP, (AttributeType.EVEN_PORT, b"\x00")), 0),
        ((UDP, (AttributeType.RESERVATION_TOKEN, bytes(8))), 508),
        ((UDP, (LIFETIME, b"")), 400),
    ],
)
def test_what_an_allocate_request_may_ask_for(
    attributes: tuple[tuple[int, bytes], ...], expected: int
) -> None:
    """Section 7.2, error by error."""
    assert code(Asker(World()).ask(Method.ALLOCATE, *attributes)) == expected


def test_lifetimes_are_cut_to_an_hour() -> None:
    """Section 7.2: at least ten minutes, at most an hour; zero gives the allocation back."""
    for asked, granted in ((1, 600), (1200, 1200), (1 << 31, 3600)):
        assert (
            number_untrusted(Asker(World()).ask(Method.ALLOCATE, UDP, lifetime(asked)), LIFETIME, 4)
            == granted
        )
    asker = allocated()
    assert number_untrusted(asker.ask(Method.REFRESH, lifetime(7200)), LIFETIME, 4) == 3600
    assert number_untrusted(asker.ask(Method.REFRESH, lifetime(0)), LIFETIME, 4) == 0
    assert asker.world.relays == {}
    assert code(asker.ask(Method.REFRESH)) == 437


def test_an_allocation_ends_with_its_life() -> None:
    """Unless it is refreshed."""
    asker = allocated()
    asker.world.wait(599)
    assert len(asker.world.relays) == 1
    asker.world.wait(2)
    assert asker.world.relays == {}
    assert asker.world.server.deadline() is None


def test_the_same_request_again_is_answered_the_same_and_another_is_437() -> None:
    """Section 7.2: a retransmission is told apart by its transaction id."""
    asker = Asker(World())
    asker.challenge()
    tid = bytes(range(12))
    first = asker.ask(Method.ALLOCATE, UDP, tid=tid)
    again = asker.ask(Method.ALLOCATE, UDP, tid=tid)
    assert [code(first), code(again)] == [0, 0]
    assert len(asker.world.relays) == 1
    assert code(asker.ask(Method.ALLOCATE, UDP)) == 437


def test_another_user_can_not_take_over_an_allocation() -> None:
    """Section 7.2: 441; renewed credentials of the same user are welcome."""
    asker = allocated()
    asker.who = credentials("eve")
    assert code(asker.ask(Method.REFRESH)) == 441
    asker.who = credentials("ada", lives=7200)
    assert code(asker.ask(Method.REFRESH)) == 0


def test_quotas_of_a_user_an_address_and_the_relay() -> None:
    """486 over a quota, 508 when the relay is full; what ends makes room."""
    world = World(RelayPolicy(allocations=6, per_user=2, per_address=3))

    def allocate(host: str, port: int, user: str) -> int:
        asker = Asker(world, ((host, port), 0), credentials(user))
        return code(asker.ask(Method.ALLOCATE, UDP))

    assert [allocate("5.0.2.1", port, "ada") for port in (1, 2, 3)] == [0, 0, 486]
    assert [allocate("5.0.2.1", port, "bob") for port in (4, 5)] == [0, 486]
    assert [allocate("2a05:d000::1", 1, "cyd"), allocate("2a05:d000::2", 1, "dan")] == [0, 0]
    assert allocate("2a05:d000::3", 1, "eve") == 0
    assert allocate("5.0.2.9", 1, "fay") == 508
    world.wait(700)
    assert allocate("2a05:d000::4", 1, "fay") == 0


def test_an_allocation_flood_is_bounded_and_leaves_those_who_are_in() -> None:
    """5,000 good requests of 500 users at 50 addresses: the cap holds, data goes on, all is given back."""
    world = World()
    friend = Asker(world)
    assert code(friend.ask(Method.ALLOCATE, UDP)) == 0
    assert code(friend.bind(0x4000, PEER)) == 0
    codes: Counter[int] = Counter()
    for number in range(5000):
        client = ((f"5.8.{number % 50}.1", 1024 + number), 0)
        world.now += 0.01
        codes[code(Asker(world, client, credentials(f"user{number % 500}")).ask(Method.ALLOCATE, UDP))] += 1
        if number % 500 == 0:
            before = len(world.sent)
            world.give(channel_data(0x4000, b"media"), friend.client)
            assert len(world.sent) == before + 1
    assert world.server.statistics().allocations == TURN_ALLOCATIONS_MAX
    assert set(codes) == {0, 508}
    assert codes[0] == TURN_ALLOCATIONS_MAX - 1
    world.wait(700)
    assert world.server.statistics().allocations == 0
    assert world.relays == {}


def test_one_ipv6_network_is_one_address() -> None:
    """A /64 costs nothing, so it counts as one."""
    world = World(RelayPolicy(per_address=2))
    codes = [
        code(Asker(world, ((f"2a05:d000::{n}", 9), 0), credentials(f"u{n}")).ask(Method.ALLOCATE, UDP))
        for n in range(1, 4)
    ]
    assert codes == [0, 0, 486]


def test_a_socket_that_can_not_be_opened_is_told() -> None:
    """508, or 440 when the machine lacks the family; nothing is left."""
    for failure, expected in (("full", 508), ("family", 440)):
        world = World()
        world.fail_opening = failure
        assert code(Asker(world).ask(Method.ALLOCATE, UDP)) == expected
        assert world.server.statistics().allocations == 0


FORBIDDEN = (
    "10.0.0.1", "127.0.0.1", "127.255.255.254", "169.254.1.1", "169.254.169.254", "172.16.0.1",
    "192.168.1.1", "100.64.0.1", "0.0.0.0", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1",
    "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "168.63.129.16", "100.100.100.200",
    "::", "::1", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
    "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1",
)  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
def test_peers_that_are_not_of_the_internet_are_forbidden(host: str) -> None:
    """RFC 6890 and what hides such an address: 403 for a permission and a channel, of either family."""
    family = 6 if ":" in host else 4
    asker = Asker(World())
    asker.ask(Method.ALLOCATE, UDP, (FAMILY, bytes((1 if family == 4 else 2, 0, 0, 0))))
    assert code(asker.about(Method.CREATE_PERMISSION, (host, 0))) == 403
    assert code(asker.bind(0x4000, (host, 4000))) == 403
    asker.indicate((host, 4000), b"x")
    assert asker.world.sent == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.1", 0), ("10.1.2.3", 0), ("fd00::1", 0), ("127.0.0.1", 403), ("224.0.0.1", 403),
        ("169.254.169.254", 403), ("100.100.100.200", 403), ("100.64.0.1", 0),
        ("fd00:ec2::254", 403), ("::ffff:10.0.0.1", 403), ("fe80::1", 403),
    ],
)  # fmt: skip
def test_a_lan_relay_serves_private_addresses_and_no_more(host: str, expected: int) -> None:
    """The switch lifts a LAN's own addresses, not this machine's or the cloud's."""
    asker = Asker(World(RelayPolicy(lan=True)))
    asker.ask(Method.ALLOCATE, UDP, (FAMILY, bytes((2 if ":" in host else 1, 0, 0, 0))))
    assert code(asker.about(Method.CREATE_PERMISSION, (host, 0))) == expected


def test_one_bad_peer_refuses_the_whole_request() -> None:
    """A request is granted whole or not at all; a family that differs is 443."""
    asker = allocated()
    assert code(asker.about(Method.CREATE_PERMISSION, ("2a05:d000:3::1", 0))) == 443
    assert code(asker.ask(Method.CREATE_PERMISSION)) == 400
    tid = bytes(12)
    both = [
        (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(peer, tid)) for peer in (PEER, ("10.0.0.1", 1))
    ]
    assert code(asker.ask(Method.CREATE_PERMISSION, *both, tid=tid)) == 403
    asker.indicate(PEER, b"x")
    assert asker.world.sent == []


def test_the_relays_own_machine_is_forbidden_but_for_relayed_addresses() -> None:
    """Two clients of one relay reach each other without a packet; no other port of the machine is reached."""
    world = World()
    world.server.own_hosts = frozenset({"5.0.1.1", "5.0.1.7"})
    ada = allocated(world)
    bob = allocated(world, client=(("5.0.4.4", 9), 0), who=credentials("bob"))
    ada_relayed, bob_relayed = world.relays[1], world.relays[2]
    assert code(ada.about(Method.CREATE_PERMISSION, ("5.0.1.7", 0))) == 403
    assert code(ada.bind(0x4000, bob_relayed)) == 0
    assert code(bob.bind(0x4001, ada_relayed)) == 0
    assert code(ada.bind(0x4002, ("5.0.1.1", 5353))) == 0
    world.server.receive(channel_data(0x4000, b"hello"), ada.client, world.now, world.now_ms)
    world.server.receive(channel_data(0x4002, b"attack"), ada.client, world.now, world.now_ms)
    assert world.flush() == [(channel_data(0x4001, b"hello"), bob.client)]
    assert world.sent == []
    assert world.server.statistics().counters["own-address"] == 1


def test_of_the_relays_own_machine_the_node_is_reached_but_no_relay() -> None:
    """Checks, answers, DTLS, RTP and frames of the DHT pass; a client can't allocate through itself."""
    world = World()
    world.server.own_hosts = frozenset({"5.0.1.1"})
    world.server.node_port = 4000
    ada = allocated(world)
    assert code(ada.bind(0x4000, ("5.0.1.1", 4000))) == 0
    assert code(ada.bind(0x4001, ("5.0.1.1", 4001))) == 0
    good = [b"\0\1check", b"\1\1answer", b"\1\x11error", b"\0\x11keep"]
    good += [b"\x16dtls", b"\x80rtp", b"\x04dht"]
    bad = [b"\0\3allocate", b"\0\4refresh", b"\0\x16send", b"\x40\0\0\0", b"\x7f\xff\0\0", b""]
    for data in good + bad:
        world.give(channel_data(0x4000, data), ada.client)
        world.give(channel_data(0x4001, data), ada.client)
    assert [(peer, data) for _, peer, data in world.sent] == [(("5.0.1.1", 4000), data) for data in good]


def test_low_ports_are_not_sent_to() -> None:
    """No DNS or NTP server gets anything from a relay."""
    asker = allocated()
    assert code(asker.bind(0x4000, (PEER[0], 53))) == 403
    assert code(asker.about(Method.CREATE_PERMISSION, PEER)) == 0
    asker.indicate((PEER[0], 53), b"x")
    assert asker.world.sent == []
    assert asker.world.server.statistics().counters["low-port"] == 1


def test_data_passes_only_where_it_is_permitted() -> None:
    """Sections 10 and 11: indications both ways, while the permission lasts."""
    asker = allocated()
    world, relayed = asker.world, asker.world.relays[1]
    asker.indicate(PEER, b"too early")
    assert world.from_peer(b"too early", relayed) == []
    assert code(asker.about(Method.CREATE_PERMISSION, PEER)) == 0
    asker.indicate(PEER, b"ping")
    assert world.sent == [(relayed, PEER, b"ping")]
    ((octets, client),) = world.from_peer(b"pong", relayed, (PEER[0], 4444))
    indication = decode_stun_untrusted(octets)
    assert (indication.method, indication.kind, client) == (
        Method.DATA,
        MessageClass.INDICATION,
        asker.client,
    )
    assert indication.get(AttributeType.DATA) == b"pong"
    assert xor_address_untrusted(indication, AttributeType.XOR_PEER_ADDRESS) == (PEER[0], 4444)
    world.wait(TURN_PERMISSION_LIFE)
    assert world.from_peer(b"late", relayed) == []
    asker.indicate(PEER, b"late")
    assert len(world.sent) == 1
    assert world.server.statistics().counters["no-permission"] == 4


def test_channels_carry_data_both_ways() -> None:
    """Section 12; on a stream the frames are padded."""
    for client, padding in (((CLIENT, 0), b""), ((CLIENT, 7), b"\0\0\0")):
        asker = allocated(client=client)
        world, relayed = asker.world, asker.world.relays[1]
        assert code(asker.bind(0x4123, PEER)) == 0
        world.give(channel_data(0x4123, b"hello") + padding, asker.client)
        assert world.sent == [(relayed, PEER, b"hello")]
        assert world.from_peer(b"world", relayed) == [
            (channel_data(0x4123, b"world") + padding, asker.client)
        ]
        assert world.server.statistics().to_peers == world.server.statistics().to_clients == 5


@pytest.mark.parametrize(
    "frame",
    [
        b"\x40", b"\x40\x00", b"\x40\x00\x00\x09short", b"\x41\x00\x00\x01x", b"\x7f\xff\x00\x00",
        b"\xff" * 20, b"\x40\x00\xff\xff" + bytes(65535), b"",
    ],
)  # fmt: skip
def test_channel_data_that_is_none_is_dropped(frame: bytes) -> None:
    """Short, unknown, or too long: counted, nothing sent."""
    asker = allocated()
    asker.bind(0x4000, PEER)
    assert asker.world.give(frame, asker.client) == []
    assert asker.world.give(frame, (("5.9.9.9", 9), 0)) == []
    assert asker.world.sent == []


def test_a_channel_belongs_to_one_peer() -> None:
    """Section 12.2: 400 for another peer or number while they last; numbers have a range."""
    asker = allocated()
    other = (PEER[0], 4001)
    assert code(asker.bind(0x4000, PEER)) == 0
    assert code(asker.bind(0x4000, other)) == 400
    assert code(asker.bind(0x4001, PEER)) == 400
    assert code(asker.bind(0x4000, PEER)) == 0
    assert code(asker.bind(0x3FFF, other)) == 400
    assert code(asker.bind(0x8000, other)) == 400
    assert code(asker.ask(Method.CHANNEL_BIND)) == 400
    asker.ask(Method.REFRESH, lifetime(3600))
    asker.world.wait(601)
    asker.challenge()
    assert code(asker.bind(0x4000, other)) == 0


def test_permissions_and_channels_have_caps() -> None:
    """508 beyond them; what has expired makes room."""
    asker = allocated()
    for number in range(TURN_PERMISSIONS_MAX):
        assert code(asker.about(Method.CREATE_PERMISSION, (f"5.1.0.{number}", 0))) == 0
    assert code(asker.about(Method.CREATE_PERMISSION, ("5.2.0.1", 0))) == 508
    assert code(asker.bind(0x4000, ("5.2.0.1", 4000))) == 508
    asker.world.wait(TURN_PERMISSION_LIFE)
    for number in range(TURN_CHANNELS_MAX):
        assert code(asker.bind(0x4000 + number, ("5.2.0.1", 4000 + number))) == 0
    assert code(asker.bind(0x4FFF, ("5.2.0.1", 9000))) == 508


def test_bandwidth_has_a_cap_for_each_and_for_all() -> None:
    """What is over it is dropped; the burst is half a second's."""
    world = World(RelayPolicy(rate=20_000, total_rate=30_000))
    ada, bob = allocated(world), allocated(world, client=(("5.0.4.4", 9), 0), who=credentials("bob"))
    for asker in (ada, bob):
        asker.bind(0x4000, PEER)
        for _ in range(20):
            world.give(channel_data(0x4000, bytes(1000)), asker.client)
    assert len(world.sent) == 15
    counters = world.server.statistics().counters
    assert (counters["over-rate"], counters["over-total-rate"]) == (20, 5)
    world.wait(0.1)
    world.give(channel_data(0x4000, bytes(1000)), ada.client)
    assert len(world.sent) == 16


def test_a_stream_that_closes_takes_its_allocation_along() -> None:
    """Section 3.1: the 5-tuple is gone."""
    asker = allocated(client=(CLIENT, 3))
    asker.world.server.closed(asker.client)
    asker.world.flush()
    assert asker.world.relays == {}
    asker.world.server.closed(asker.client)
    assert asker.world.server.statistics().allocations == 0


def test_a_relay_answers_binding_requests() -> None:
    """It is a STUN server, too."""
    reply = Asker(World()).bare(Method.BINDING)
    assert xor_address_untrusted(reply, AttributeType.XOR_MAPPED_ADDRESS) == CLIENT


def test_requests_without_an_allocation_are_437() -> None:
    """Refresh, permission and channel."""
    asker = Asker(World())
    assert code(asker.ask(Method.REFRESH)) == 437
    assert code(asker.about(Method.CREATE_PERMISSION, PEER)) == 437
    assert code(asker.bind(0x4000, PEER)) == 437


def test_a_socket_that_opens_after_its_allocation_has_ended_is_closed() -> None:
    """The shell may be slow; nothing is left open."""
    world = World()
    world.server.opened(99, ("5.0.1.1", 1), world.now)
    (command,) = world.server.commands()
    assert command.relay == 99
