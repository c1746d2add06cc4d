"""The UDP port: taken ports, missing families, batches, errors that are counted."""

from __future__ import annotations

import asyncio
import errno
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from meshcall.address import Address
from meshcall.aio import udp as module
from meshcall.aio.files import StateDb
from meshcall.aio.ice.port import IcePort
from meshcall.aio.udp import UdpPort
from meshcall.errors import InvalidConfig, PortTaken
from meshcall.last_run import open_port
from meshcall.limits import UDP_BATCH, UDP_DRAIN

HERE = ("127.0.0.1",)


class Inbox:
    """Collects datagrams."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Address]] = []
        self._more = asyncio.Event()

    def __call__(self, data: bytes, address: Address) -> None:
        self.got.append((data, address))
        self._more.set()

    async def wait(self, count: int) -> list[tuple[bytes, Address]]:
        """At least so many have come."""
        async with asyncio.timeout(5):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()
        return self.got


async def test_datagrams_go_to_the_protocol_of_their_first_octet() -> None:
    """Each handler gets its own; what nobody wants, and what is empty, is counted."""
    left, right = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    low, high = Inbox(), Inbox()
    right.register(range(0x04, 0x10), low)
    right.register(range(20, 64), high)
    try:
        for data in (b"\x04low", b"", b"\xffnobody", b"\x14high"):
            left.send(data, ("127.0.0.1", right.port))
        assert await low.wait(1) == [(b"\x04low", ("127.0.0.1", left.port))]
        assert (await high.wait(1))[0][0] == b"\x14high"
        statistics = right.statistics()
        assert statistics.counters == {"empty": 1, "unwanted": 1}
        assert (statistics.received, left.statistics().sent) == (4, 4)
        assert repr(right) == f"<UdpPort {right.port} families=(4,)>"
        right.unregister(range(0x04, 0x10))
        left.send(b"\x04late", ("127.0.0.1", right.port))
        left.send(b"\x14last", ("127.0.0.1", right.port))
        await high.wait(2)
        assert right.statistics().counters["unwanted"] == 2
    finally:
        await left.close()
        await right.close()


async def test_first_octets_have_one_owner() -> None:
    """Two protocols can't share one."""
    port = await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    try:
        port.register(range(4, 16), inbox)
        with pytest.raises(ValueError, match="taken"):
            port.register(range(15, 20), Inbox())
        port.register(range(4, 16), inbox)
        port.unregister(range(4, 16))
        port.register(range(15, 20), Inbox())
    finally:
        await port.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_taken_port_is_reported(host: str) -> None:
    """The user gets one sentence with the port in it, and no socket is left open."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.socket(family, socket.SOCK_DGRAM)
        taken.bind((host, 0))
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(number)) as caught:
            await UdpPort.open(number, hosts=("127.0.0.1", "::1"))
        assert caught.value.exit_code == 1


async def test_both_families_have_one_port_number() -> None:
    """IPv4 and IPv6 datagrams come in at the same number."""
    port = await UdpPort.open(0, hosts=("127.0.0.1", "::1"))
    other = await UdpPort.open(0, hosts=("127.0.0.1", "::1"))
    inbox = Inbox()
    port.register(range(4, 16), inbox)
    try:
        if port.families != (4, 6):
            pytest.skip("this machine has no IPv6")
        other.send(b"\x04four", ("127.0.0.1", port.port))
        other.send(b"\x04six", ("::1", port.port))
        got = await inbox.wait(2)
        assert sorted(got) == [(b"\x04four", ("127.0.0.1", other.port)), (b"\x04six", ("::1", other.port))]
    finally:
        await port.close()
        await other.close()


@pytest.mark.parametrize("missing_at", ["socket", "bind"])
@pytest.mark.parametrize(
    ("missing", "left", "unreachable"), [(socket.AF_INET6, 4, "::1"), (socket.AF_INET, 6, "127.0.0.1")]
)
async def test_a_machine_with_one_family_has_a_port_of_that(
    missing: int, left: int, unreachable: str, missing_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is not in the kernel, or not configured: sends to it are counted."""

    class Lacking(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **kwargs: Any) -> None:
            if family == missing and missing_at == "socket":
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

        def bind(self, address: Any) -> None:
            if self.family == missing:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr("meshcall.aio.udp.socket.socket", Lacking)
    port = await UdpPort.open(0)
    try:
        assert port.families == (left,)
        port.send(b"\x04", (unreachable, 9))
        assert port.statistics().counters == {"send-no-family": 1}
        assert [":" in host for host, _ in IcePort(port).bases] == [left == 6]
    finally:
        await port.close()


async def test_the_port_of_the_last_run_is_used_again_unless_it_is_taken(tmp_path: Path) -> None:
    """Then another one is, and remembered."""
    state = StateDb.open(tmp_path / "state.db", now_ms=0)
    first = await open_port(0, state)
    number = first.port
    await first.close()
    again = await open_port(0, state)
    assert again.port == number
    other = await open_port(0, state)  # another program has it
    assert other.port != number
    for port in (again, other):
        await port.close()
    last = await open_port(0, state)
    assert last.port == other.port
    await last.close()
    state.close()


async def test_send_never_raises() -> None:
    """Wrong ports, names, unknown scopes, too long, unreachable, closed: counted."""
    port = await UdpPort.open(0, hosts=("127.0.0.1", "::1"))
    targets: list[tuple[bytes, Address]] = [
        (b"x", ("127.0.0.1", 0)),
        (b"x", ("127.0.0.1", 70000)),
        (b"x", ("127.0.0.1", -1)),
        (b"x", ("localhost", 9)),
        (b"x", ("no.such.name.invalid", 9)),
        (b"x", ("fe80::1%nosuchif0", 9)),
        (b"x", ("", 9)),
        (b"x", ("1.2.3.4.5", 9)),
        (bytes(70000), ("127.0.0.1", 9)),
        (b"x", ("255.255.255.255", 9)),
        (b"x", ("127.0.0.1\0", 9)),
    ]
    for data, address in targets:
        port.send(data, address)
    statistics = port.statistics()
    assert statistics.sent == 0
    assert sum(statistics.counters.values()) == len(targets)
    await port.close()
    port.send(b"x", ("127.0.0.1", 9))
    await port.close()
    assert port.statistics().counters["send-no-family"] >= 1


async def test_a_dead_destination_does_not_break_the_socket() -> None:
    """Port unreachable is no error of ours; the next datagram comes in."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    port.register(range(4, 16), inbox)
    gone = await UdpPort.open(0, hosts=HERE)
    number = gone.port
    await gone.close()
    try:
        for _ in range(5):
            port.send(b"\x04", ("127.0.0.1", number))
        other.send(b"\x04alive", ("127.0.0.1", port.port))
        assert (await inbox.wait(1))[0][0] == b"\x04alive"
    finally:
        await port.close()
        await other.close()


async def test_a_flood_leaves_others_their_turn() -> None:
    """Many datagrams wait: the loop runs something else between two lots of them."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    port.register(range(4, 16), inbox)
    for _ in range(UDP_DRAIN + 100):
        other.send(b"\x04flood", ("127.0.0.1", port.port))
    turns: list[int] = []
    try:
        async with asyncio.timeout(5):
            while len(inbox.got) < UDP_DRAIN + 100:
                turns.append(len(inbox.got))
                await asyncio.sleep(0)
        assert UDP_DRAIN in turns
        assert max(later - earlier for earlier, later in pairwise(turns)) <= UDP_DRAIN
    finally:
        await port.close()
        await other.close()


async def test_what_is_awaited_goes_before_a_flood() -> None:
    """Of what strangers sent a few are handled and the others counted; what is waited for all comes."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    port.register(range(4, 16), inbox, lambda data, address: data == b"\x04reply")
    for number in range(UDP_DRAIN - 100):
        other.send(b"\x04reply" if number % 10 == 9 else b"\x04flood", ("127.0.0.1", port.port))
    replies = (UDP_DRAIN - 100) // 10
    try:
        async with asyncio.timeout(5):
            while len(inbox.got) < UDP_BATCH + replies:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        assert [data for data, _ in inbox.got].count(b"\x04reply") == replies
        assert port.statistics().counters == {"overload": UDP_DRAIN - 100 - replies - UDP_BATCH}
        assert port.statistics().received == UDP_DRAIN - 100
    finally:
        await port.close()
        await other.close()


@pytest.mark.parametrize(
    "sizes",
    [(1200,) * 4, (1200, 1200, 7), (1000,) * 150 + (3,), (5, 5), (9,), (800, 1200), (1200, 0), (7, 7, 9), ()],
)
async def test_what_is_sent_together_comes_as_datagrams(sizes: tuple[int, ...]) -> None:
    """Each is one, in order and counted, whether the system took them together or not."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    other.register(range(256), inbox)
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    try:
        port.send_all(sent, ("127.0.0.1", other.port))
        wanted = [data for data in sent if data]
        assert [data for data, _ in await inbox.wait(len(wanted))] == wanted
        assert {source for _, source in inbox.got} <= {("127.0.0.1", port.port)}
        assert port.statistics().sent == len(sent)
        assert port._trains
    finally:
        await port.close()
        await other.close()


async def test_a_train_of_a_stranger_is_as_many_datagrams() -> None:
    """Who sends many by one call gets no more attention."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    port.register(range(4, 16), inbox, lambda data, address: False)
    try:
        other.send_all([b"\x04flood"] * 60, ("127.0.0.1", port.port))
        other.send_all([b"\x05flood"] * 60, ("127.0.0.1", port.port))
        await inbox.wait(UDP_BATCH)
        assert len(inbox.got) == UDP_BATCH
        assert port.statistics().counters == {"overload": 120 - UDP_BATCH}
        assert port.statistics().received == 120
    finally:
        await port.close()
        await other.close()


class _Refusing:
    """A socket that has no trains, or a full buffer."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self._number = number
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendmsg(self, *_: object) -> int:
        self.asked += 1
        raise OSError(self._number, "no")


@pytest.mark.parametrize(
    ("number", "target", "asked", "sent", "counters"),
    [
        (errno.EIO, "127.0.0.1", 1, 6, {}),
        (errno.EINVAL, "127.0.0.1", 1, 6, {}),
        (errno.EINVAL, "no.name", 0, 0, {"send-address": 6}),
        (errno.EPERM, "127.0.0.1", 2, 6, {}),
        (errno.EAGAIN, "127.0.0.1", 2, 0, {"send-full": 6}),
    ],
)
async def test_a_system_without_trains_is_asked_once(
    number: int, target: str, asked: int, sent: int, counters: dict[str, int]
) -> None:
    """Each datagram goes alone then, and later ones too; other errors are no reason for that."""
    port = await UdpPort.open(0, hosts=HERE)
    refusing = _Refusing(port._sockets[4], number)
    port._sockets[4] = refusing  # type: ignore[assignment]
    try:
        for _ in range(2):
            port.send_all([b"\x04one", b"\x04two", b"\x04end"], (target, 9))
        assert (refusing.asked, port.statistics().sent) == (asked, sent)
        assert port.statistics().counters == counters
    finally:
        await port.close()


async def test_trains_go_on_where_nothing_can_be_sent_at_all() -> None:
    """An address that the system refuses alone as well says nothing about trains."""
    port = await UdpPort.open(0, hosts=HERE)
    try:
        port.send_all([b"\x04one", b"\x04two"], ("127.0.0.1", 0))
        port.send_all([b"\x04one", b"\x04two"], ("::1", 9))
        assert port._trains
        assert port.statistics().sent == 0
        assert sum(port.statistics().counters.values()) == 4
    finally:
        await port.close()


async def test_signalling_longer_than_a_datagram_is_dropped() -> None:
    """1,201 octets that start like a DHT frame are counted; DTLS and media may be longer."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    inbox = Inbox()
    port.register(range(256), inbox)
    try:
        other.send(b"\x04" + bytes(1200), ("127.0.0.1", port.port))
        other.send(b"\x80" + bytes(1400), ("127.0.0.1", port.port))
        assert len((await inbox.wait(1))[0][0]) == 1401
        assert port.statistics().counters == {"too-long": 1}
    finally:
        await port.close()
        await other.close()


async def test_a_handler_may_close_the_port() -> None:
    """In the middle of a batch: nothing more is read, nothing is raised."""
    port, other = await UdpPort.open(0, hosts=HERE), await UdpPort.open(0, hosts=HERE)
    closing: list[asyncio.Task[None]] = []
    called = asyncio.Event()

    def close(data: bytes, address: Address) -> None:
        closing.append(asyncio.get_running_loop().create_task(port.close()))
        called.set()

    port.register(range(4, 16), close)
    for _ in range(3):
        other.send(b"\x04", ("127.0.0.1", port.port))
    try:
        async with asyncio.timeout(5):
            await called.wait()
        await asyncio.gather(*closing)
        assert port.families == ()
    finally:
        await port.close()
        await other.close()


async def test_hosts_must_be_ours_and_one_of_a_family() -> None:
    """An address of another machine, or two of one family, is a wrong configuration."""
    with pytest.raises(InvalidConfig, match=r"203\.0\.113\.9"):
        await UdpPort.open(0, hosts=("203.0.113.9",))
    with pytest.raises(InvalidConfig, match="family"):
        await UdpPort.open(0, hosts=("127.0.0.1", "127.0.0.2"))


async def test_a_link_local_source_keeps_its_scope() -> None:
    """Otherwise it can't be answered."""
    assert module._source(("fe80::1", 5, 0, 1)) == (f"fe80::1%{socket.if_indextoname(1)}", 5)
    assert module._source(("fe80::1", 5, 0, 999999)) == ("fe80::1%999999", 5)
    assert module._source(("2001:db8::1", 5, 0, 0)) == ("2001:db8::1", 5)
    assert module._source(("192.0.2.1", 5)) == ("192.0.2.1", 5)


async def test_datagrams_may_live_for_a_few_routers_only() -> None:
    """And for as many as the system wants after that."""
    port = await UdpPort.open(0, hosts=("127.0.0.1",))
    lives: list[int] = []
    for hops in (None, 5, 2, None):
        port.limit_hops(hops)
        lives.append(port._sockets[4].getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
    await port.close()
    port.limit_hops(5)
    assert lives == [lives[0], 5, 2, lives[0]]
    assert lives[0] > 5
