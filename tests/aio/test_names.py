"""Candidates with ``.local`` names: who is asked, how often, and what an answer may bring."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from meshcall import limits
from meshcall.aio.clock import SystemClock
from meshcall.aio.mdns import LanService
from meshcall.aio.rtc.endpoint import RtcEndpoint
from meshcall.aio.rtc.names import Names, Resolve
from meshcall.discovery.lan import LanAnnouncement
from meshcall.ice.candidate import Candidate, CandidatePolicy, encode_candidates
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.media.endpoint import ControlOpen, EndpointEvent
from meshcall.media.plan import MediaPlan
from meshcall.signaling.description import decode_description_untrusted

LOCAL = MediaPlan(allow_loopback=True, interfaces=("lo",), audio=False, video=False)
LOOPBACK = "127.0.0.1"


def name(number: int) -> str:
    return f"{uuid.UUID(int=number)}.local"


def candidate(number: int, port: int = 5000) -> Candidate:
    return Candidate("host", "udp", name(number), port, 2_000_000_000)


def answers(*ips: str) -> Callable[[str], Awaitable[list[str]]]:
    async def resolve(_: str) -> list[str]:
        return list(ips)

    return resolve


async def looked_up(
    resolve: Callable[[str], Awaitable[list[str]]], *wanted: Candidate
) -> tuple[list[Candidate], Counter[str]]:
    """What becomes of these candidates."""
    found: list[Candidate] = []
    counters: Counter[str] = Counter()
    names = Names(
        resolve,
        policy=lambda: CandidatePolicy(allow_mdns=True),
        counters=counters,
        on_found=found.extend,
    )
    for one in wanted:
        names.look_up(one)
    await asyncio.sleep(0.01)
    await names.close()
    return found, counters


async def test_what_a_name_stands_for_keeps_all_but_the_address() -> None:
    """Port, priority and kind are the peer's, the address is the LAN's; at most one of each family."""
    found, counters = await looked_up(answers("192.168.1.7", "fd00::7", "192.168.1.8"), candidate(1))
    assert found == [replace(candidate(1), address=ip) for ip in ("192.168.1.7", "fd00::7")]
    assert not counters


@pytest.mark.parametrize(
    "address",
    [LOOPBACK, "::1", "224.0.0.251", "0.0.0.0", "255.255.255.255", "169.254.169.254", "::ffff:10.0.0.1",
     "fe80::1%eth0", "fd00:ec2::254", "not an address", name(2)],
)  # fmt: skip
async def test_a_neighbour_aims_no_checks_where_the_peer_may_not(address: str) -> None:
    """Whoever answers in the name's place brings in nothing that the filter keeps from the peer."""
    found, _ = await looked_up(answers(address), candidate(1))
    assert found == []


async def test_low_ports_stay_refused() -> None:
    """A name is no way around the filter's ports."""
    found, counters = await looked_up(answers("192.168.1.7"), candidate(1, port=53))
    assert (found, counters) == ([], {"candidate-port": 1})


async def test_a_name_is_asked_for_once_and_few_are() -> None:
    """What a peer names costs a bounded number of questions on the LAN."""
    asked: list[str] = []

    async def resolve(wanted: str) -> list[str]:
        asked.append(wanted)
        return []

    flood = [candidate(number % 20, port=5000 + number) for number in range(400)]
    found, counters = await looked_up(resolve, *flood)
    assert found == []
    assert len(asked) == len(set(asked)) == limits.ICE_NAMES_MAX
    assert counters["candidate-unresolved"] == limits.ICE_NAMES_MAX
    assert counters["candidate-too-many-names"] > 0


async def test_closing_ends_the_questions() -> None:
    """Nothing is told afterwards, and nothing is asked."""
    ended = asyncio.Event()

    async def resolve(_: str) -> list[str]:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return [LOOPBACK]

    begin = time.monotonic()
    found, _ = await looked_up(resolve, candidate(1))
    assert ended.is_set()
    assert found == []
    assert time.monotonic() - begin < 5


# --- in a call ------------------------------------------------------------------------------------


def endpoint(plan: MediaPlan = LOCAL, resolve: Resolve | None = None) -> RtcEndpoint:
    return RtcEndpoint(plan, SystemClock(), resolve=resolve)


async def opened(events: AsyncIterator[EndpointEvent]) -> None:
    async for event in events:
        if isinstance(event, ControlOpen):
            return


@pytest.mark.parametrize("by", ["the description", "a later message"])
async def test_a_call_by_a_name_that_is_slow_to_resolve(by: str) -> None:
    """The answer waits for nobody; the candidate joins when its name is known, and carries the call."""
    known = asyncio.Event()

    async def resolve(_: str) -> list[str]:
        await known.wait()
        return [LOOPBACK]

    async with endpoint() as left, endpoint(resolve=resolve) as right:
        offer = decode_description_untrusted(await left.offer())
        hidden = tuple(replace(one, address=name(7)) for one in offer.candidates if one.address == LOOPBACK)
        shown = hidden if by == "the description" else ()
        async with asyncio.timeout(5):
            answer = decode_description_untrusted(
                await right.answer(replace(offer, candidates=shown).encode())
            )
            if not shown:
                await right.add_candidates(encode_candidates(hidden))
            # The caller is told no address: it can't be found by its own checks.
            await left.accept(replace(answer, candidates=()).encode())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await opened(right.events())
            known.set()
            await opened(right.events())


@pytest.mark.parametrize("plan", [replace(LOCAL, allow_lan=False), LOCAL])
async def test_names_are_asked_for_only_where_private_addresses_may_be_checked(plan: MediaPlan) -> None:
    """Without that right, and without mDNS, they are refused and counted."""
    asked: list[str] = []

    async def resolve(wanted: str) -> list[str]:
        asked.append(wanted)
        return [LOOPBACK]

    async with endpoint() as left:
        offer = decode_description_untrusted(await left.offer())
        hidden = replace(offer, candidates=(candidate(1),)).encode()
        async with endpoint(plan, resolve=None if plan.allow_lan else resolve) as right:
            await right.answer(hidden)
            await asyncio.sleep(0.05)
            assert right.statistics().counters["candidate-name"] == 1
    assert asked == []


# --- on the wire ----------------------------------------------------------------------------------


@asynccontextmanager
async def node() -> AsyncIterator[LanService]:
    said = LanAnnouncement.of(PeerId.from_key(SigningKey.from_seed(bytes(32)).public), 0)
    service = LanService(
        4000, lambda: said, lambda seen: False, lambda gone: None, nonce=os.urandom(16), interfaces=("lo",)
    )
    await service.start()
    try:
        yield service
    finally:
        await service.close()


@pytest.mark.parametrize("ips", [["192.0.2.7"], ["fd00::7"], ["192.0.2.7", "fd00::7"]])
async def test_a_responder_is_asked_for_both_families(ips: list[str]) -> None:
    """A and AAAA of a name that somebody here has, as browsers have them."""
    host = name(uuid.uuid4().int)
    responder = AsyncZeroconf(interfaces=[LOOPBACK])
    info = AsyncServiceInfo(
        "_browser._udp.local.", f"{host[:8]}._browser._udp.local.", port=9, server=f"{host}.",
        parsed_addresses=ips,
    )  # fmt: skip
    responder.zeroconf.registry.async_add(info)
    try:
        async with node() as service:
            begin = time.monotonic()
            assert await service.resolve_untrusted(host) == ips
            assert time.monotonic() - begin < limits.ICE_NAME_PATIENCE
    finally:
        await responder.async_close()


async def test_a_name_that_nobody_has_is_given_up() -> None:
    """In the time that is allowed; a service that is closed knows none."""
    async with node() as service:
        begin = time.monotonic()
        assert await service.resolve_untrusted(name(uuid.uuid4().int)) == []
        assert time.monotonic() - begin < limits.ICE_NAME_PATIENCE + 1
    assert await service.resolve_untrusted(name(1)) == []
