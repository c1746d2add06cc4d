"""A machine that is asked at its address answers there, whatever multicast did (zeroconf's contract)."""

from __future__ import annotations

import os
from typing import Any

import pytest
from zeroconf import DNSIncoming, Zeroconf  # type: ignore[attr-defined]

from meshcall.aio.mdns import LanService
from meshcall.discovery.lan import SERVICE_TYPE, LanAnnouncement
from meshcall.identity.keys import SigningKey

PEER = SigningKey.generate(os.urandom).peer_id


def service(port: int) -> LanService:
    """One on loopback that hears nothing."""
    return LanService(
        port,
        lambda: LanAnnouncement.of(PEER, 0),
        lambda seen: None,
        lambda instance: None,
        nonce=os.urandom(16),
        interfaces=("lo",),
    )


def engine(of: LanService) -> Zeroconf:
    """What it runs on."""
    assert of._zeroconf is not None
    return of._zeroconf.zeroconf


async def test_who_is_asked_answers_by_unicast(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is told at once who asks: both know each other then."""
    asked, asking = service(4000), service(4001)
    await asked.start()
    await asking.start()
    sent: list[tuple[Any, str | None]] = []
    try:
        monkeypatch.setattr(
            engine(asking), "async_send", lambda out, addr=None, **_: sent.append((out, addr))
        )
        asking.ask("192.0.2.7")
        (query, place), (news, same_place) = sent
        assert place == same_place == "192.0.2.7"
        cache = engine(asked).cache
        for name in (SERVICE_TYPE, asked.instance):  # its own multicast was never heard
            cache.async_remove_records(list(cache.entries_with_name(name)))
        incoming = DNSIncoming(query.packets()[0])
        answers = engine(asked).query_handler.async_response([incoming], False)
        assert answers is not None
        assert [getattr(record, "alias", "") for record in answers.ucast] == [asked.instance]
        told = DNSIncoming(news.packets()[0])
        assert asking.instance in {getattr(record, "alias", "") for record in told.answers()}
    finally:
        monkeypatch.undo()
        await asking.close()
        await asked.close()
    asking.ask("192.0.2.7")  # nothing happens: it is closed
