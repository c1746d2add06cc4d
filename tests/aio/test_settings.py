"""What is set while a node runs holds at once, for whoever is asked next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshcall.aio import mdns
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.lan import Lan
from meshcall.config import Config
from meshcall.discovery.lan import LanAnnouncement
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.invite import Invite
from meshcall.views import Connected, Incoming, SettingsChanged

from .test_node import StartNode, ended, event_of, incoming, start, testnet

__all__ = ["start", "testnet"]


async def test_a_new_name_is_in_calls_invites_and_links(start: StartNode) -> None:
    """The next of each has it; listeners are told."""
    alice, bob = await start("alice"), await start("bob")
    events = alice.events()
    alice.settings.change({"name": "Alice"})
    told = await anext(events)
    await events.aclose()
    assert isinstance(told, SettingsChanged)
    assert told.settings.name == alice.status().name == alice.uri().name == "Alice"
    assert Invite.parse(alice.create_invite(once=True, expires=60)).name == "Alice"
    call = await alice.call(bob.id_text())
    assert (await event_of(await incoming(bob), Incoming)).self_name == "Alice"
    await call.hangup()
    await ended(call)


async def test_who_is_visible_is_found_with_the_name(start: StartNode) -> None:
    """The presence is published again without a wait for its time."""
    alice = await start("alice", name="Alice")
    before = alice.status().counters["sent-store"]
    alice.settings.change({"visible": True})
    async with asyncio.timeout(10):
        while alice._post._where._presences[-1].name != "Alice":  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        while alice.status().counters["sent-store"] <= before:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)


async def test_who_may_ring_and_who_is_answered_is_asked_at_each_call(start: StartNode) -> None:
    """Strangers are kept out from now on; contacts are answered from now on."""
    alice, bob = await start("alice"), await start("bob")
    bob.settings.change({"accept_strangers": False, "auto_answer": "contacts"})
    assert (await ended(await alice.call(bob.id_text(), timeout=1))).reason in ("offline", "no-answer")
    bob.contacts.add(alice.id_text(), "alice")
    await event_of(await alice.call(bob.id_text()), Connected)


async def test_the_lan_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name, and without the ID, until one is visible."""
    said: list[LanAnnouncement] = []

    class Service:
        def __init__(
            self, port: int, announcement: Callable[[], LanAnnouncement], *_: Any, **__: Any
        ) -> None:
            self._announcement = announcement

        async def start(self) -> None:
            said.append(self._announcement())

        update = start

        async def close(self) -> None:
            pass

    monkeypatch.setattr(mdns, "LanService", Service)
    me = PeerId.from_key(SigningKey.from_seed(bytes(32)).public)
    names: list[str | None] = [None, "Ada"]
    lan = Lan(
        Config(home=Path("/nowhere")),
        me,
        port=4242,
        clock=SystemClock(),
        random=system_random,
        name=lambda: names[0],
        known=list,
        on_change=lambda peer: None,
    )
    await lan.announce()  # not started: there is nobody to tell
    await lan.start()
    del names[0]
    await lan.announce()
    await lan.close()
    assert [(one.visible, one.name) for one in said] == [(None, ""), (me, "Ada")]
