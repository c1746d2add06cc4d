"""The TURN client as a machine, mostly against our server."""

from __future__ import annotations

from meshcall.limits import TURN_CHANNELS_MAX, TURN_CLIENT_QUEUE, TURN_KEEPALIVE, TURN_PERMISSIONS_MAX
from meshcall.stun.attributes import failure, success
from meshcall.stun.message import AttributeType, MessageClass, Method, StunMessage, decode_stun_untrusted
from meshcall.turn.client import TurnClient
from meshcall.turn.credentials import issue
from meshcall.turn.events import Allocated, Ended, Received, Refused
from meshcall.turn.policy import RelayPolicy
from tests.unit.turn.world import CLIENT, PEER, SERVER, UNIX, Caller, World, credentials


def test_it_allocates_with_one_challenge() -> None:
    """Two round trips, then the address is known."""
    world = World()
    caller = Caller(world).start()
    assert caller.seen == [Allocated(("5.0.1.1", 49153), CLIENT)]
    assert caller.turn.relayed == ("5.0.1.1", 49153)
    assert caller.turn.mapped == CLIENT
    assert world.server.statistics().counters == {"allocate": 1, "unauthenticated": 1}


def test_what_is_sent_at_once_waits_for_the_allocation_and_the_channel() -> None:
    """Nothing is lost, the order is kept, and channels are used from then on."""
    for transport, stream in (("udp", 0), ("tcp", 4)):
        world = World()
        caller = Caller(world, transport, stream=stream)  # type: ignore[arg-type]
        caller.turn.send_to(PEER, b"1", world.now)
        caller.turn.send_to(PEER, b"2", world.now)
        caller.start()
        caller.turn.send_to(PEER, b"3", world.now)
        ((frame, server),) = caller.turn.transmits()
        assert (frame[:5], server) == (b"\x40\x00\x00\x013", SERVER)
        assert len(frame) == (8 if stream else 5)
        world.give(frame, caller.client)
        assert [data for _, _, data in world.sent] == [b"1", b"2", b"3"]
        caller.peer_sends(b"back")
        assert caller.seen[-1] == Received(PEER, b"back")


def test_a_permitted_host_may_send_before_we_do() -> None:
    """ICE checks come from ports that we have not seen yet."""
    world = World()
    caller = Caller(world)
    caller.turn.permit([PEER[0]], world.now)
    caller.start()
    caller.peer_sends(b"check", (PEER[0], 4321))
    assert caller.seen[-1] == Received((PEER[0], 4321), b"check")
    caller.turn.send_to((PEER[0], 4321), b"answer", world.now)
    caller.run()
    assert [data for _, _, data in world.sent] == [b"answer"]


def test_a_refused_host_is_told_and_harms_no_other() -> None:
    """403: what waited is dropped."""
    world = World()
    caller = Caller(world).start()
    caller.turn.send_to(("10.0.0.1", 4000), b"x", world.now)
    caller.turn.send_to(PEER, b"y", world.now)
    caller.turn.permit(["192.168.0.1"], world.now)
    caller.run()
    assert caller.seen[1:] == [Refused("10.0.0.1", 403), Refused("192.168.0.1", 403)]
    assert [data for _, _, data in world.sent] == [b"y"]


def test_lost_requests_are_sent_again() -> None:
    """Two of them lost: a little later there is an allocation."""
    world = World()
    caller = Caller(world)
    caller.lose = 2
    caller.start()
    assert caller.seen == []
    caller.wait(1.0)
    assert isinstance(caller.seen[0], Allocated)


def test_a_dead_server_is_known_in_seven_seconds() -> None:
    """And nothing is sent to it after that."""
    for transport in ("udp", "tcp"):
        caller = Caller(World(), transport)
        caller.lose = 1000
        caller.start().wait(7.0)
        assert caller.seen == [Ended("timeout")]
        assert caller.turn.deadline() is None
        assert caller.lose == (995 if transport == "udp" else 999)


def test_wrong_and_expired_credentials_end_it_after_one_try() -> None:
    """No loop of challenges."""
    for who in (issue(b"wrong", "ada", UNIX + 60), issue(b"the relay's secret", "ada", UNIX - 60)):
        world = World()
        caller = Caller(world, who=who).start()
        assert caller.seen == [Ended("error", 401)]
        assert sum(world.server.statistics().counters.values()) == 2


def test_everything_is_kept_up_for_hours() -> None:
    """Allocation, permission and channel are renewed, stale nonces answered."""
    world = World()
    caller = Caller(world).start()
    caller.turn.send_to(PEER, b"1", world.now)
    caller.turn.permit(["5.0.7.7"], world.now)
    caller.run()
    for hour in range(3):
        caller.wait(3600.0)
        caller.turn.send_to(PEER, b"2", world.now)
        caller.run()
        assert len(world.sent) == hour + 2
        caller.peer_sends(b"3", ("5.0.7.7", 9999))
        assert caller.seen[-1] == Received(("5.0.7.7", 9999), b"3")
    assert sum(isinstance(event, Ended) for event in caller.seen) == 0
    assert len(caller.turn.transmits()) == 0


def test_an_idle_client_keeps_its_mapping_open_over_udp_only() -> None:
    """A Binding indication every quarter of a minute."""
    for transport, at_least in (("udp", 4), ("tls", 0)):
        world = World()
        caller = Caller(world, transport, stream=int(transport == "tls")).start()  # type: ignore[arg-type]
        caller.turn.transmits()
        sent = 0
        for _ in range(4):
            world.now += TURN_KEEPALIVE
            caller.turn.handle_timer(world.now)
            for octets, _ in caller.turn.transmits():
                message = decode_stun_untrusted(octets)
                assert (message.method, message.kind) == (Method.BINDING, MessageClass.INDICATION)
                assert world.give(octets, caller.client) == []
                sent += 1
        assert sent == at_least


def test_closing_gives_the_allocation_back() -> None:
    """One Refresh with a lifetime of zero; then silence."""
    world = World()
    caller = Caller(world).start()
    caller.turn.close(world.now)
    caller.turn.close(world.now)
    caller.run()
    assert world.relays == {}
    assert caller.seen[1:] == [Ended("closed")]
    caller.turn.send_to(PEER, b"x", world.now)
    assert (caller.turn.transmits(), caller.turn.deadline(), caller.turn.relayed) == ([], None, None)


def test_a_relay_that_forgot_us_is_noticed_at_the_refresh() -> None:
    """437: ended, with the code."""
    world = World()
    caller = Caller(world).start()
    world.server = World().server
    caller.wait(600.0)
    assert caller.seen[-1] == Ended("error", 437)


def test_forged_responses_and_strangers_data_do_not_count() -> None:
    """Without integrity no success is believed; indications of hosts that we never permitted are dropped."""
    world = World()
    caller = Caller(world).start()
    caller.turn.send_to(PEER, b"x", world.now)
    ((octets, _),) = caller.turn.transmits()
    request = decode_stun_untrusted(octets)
    for forged in (success(request), failure(request, 403), failure(request, 437)):
        caller.turn.receive(forged.encode(), world.now)
    assert caller.turn.counters == {"rejected-integrity": 3}
    stranger = StunMessage(
        Method.DATA,
        MessageClass.INDICATION,
        bytes(12),
        ((AttributeType.XOR_PEER_ADDRESS, bytes((0, 1)) + bytes(6)), (AttributeType.DATA, b"x")),
    )
    caller.turn.receive(stranger.encode(), world.now)
    caller.turn.receive(b"\x4f\xff\x00\x00", world.now)
    caller.turn.receive(b"", world.now)
    assert caller.turn.events() == []
    for reply in world.give(octets, caller.client):
        caller.turn.receive(reply, world.now)
    assert world.give(caller.turn.transmits()[0][0], caller.client) == []
    assert len(world.sent) == 1


def test_more_peers_than_channels_are_reached_by_indications() -> None:
    """The cap of channels costs only their economy."""
    world = World(RelayPolicy(rate=1e9, total_rate=1e9))
    caller = Caller(world).start()
    for number in range(TURN_CHANNELS_MAX + 3):
        caller.turn.send_to((PEER[0], 4000 + number), b"x", world.now)
        caller.run()
    assert len(world.sent) == TURN_CHANNELS_MAX + 3


def test_a_peer_that_names_addresses_for_hours_costs_no_endless_permissions() -> None:
    """No more hosts than a server permits; what is in use stays permitted."""
    caller = Caller(World()).start()
    caller.turn.send_to(PEER, b"first", caller.world.now)
    caller.run()
    for number in range(1000):
        caller.turn.send_to((f"5.9.{number // 250}.{number % 250 + 1}", 4000), b"x", caller.world.now)
        caller.run()
    assert len(caller.turn._peers.hosts()) <= TURN_PERMISSIONS_MAX
    caller.turn.send_to(PEER, b"last", caller.world.now)
    caller.run()
    assert caller.world.sent[-1][1:] == (PEER, b"last")


def test_what_waits_has_a_cap() -> None:
    """The oldest go."""
    world = World()
    caller = Caller(world)
    for number in range(TURN_CLIENT_QUEUE + 5):
        caller.turn.send_to(PEER, bytes((number,)), world.now)
    caller.start()
    assert [data[0] for _, _, data in world.sent] == list(range(5, TURN_CLIENT_QUEUE + 5))


def test_a_stream_of_garbage_ends_it() -> None:
    """And so does one that was closed."""
    for garbage in (b"HTTP/1.1 400 Bad Request\r\n", b"\0\1\0\0" + bytes(16), b"\x40\0\xff\xff"):
        caller = Caller(World(), "tcp", stream=1).start()
        caller.turn.receive(garbage, caller.world.now)
        assert caller.turn.events() == [Ended("lost")]
    client = TurnClient(SERVER, credentials(), "tcp", random=World().random.randbytes)
    client.start(0.0)
    client.lost()
    assert client.events() == [Ended("lost")]
