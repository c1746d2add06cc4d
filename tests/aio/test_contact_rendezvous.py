"""Whole nodes that find each other by rendezvous secrets: handed over, replaced, and with no inbox at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.config import Config
from meshcall.node import Node
from meshcall.session import Call
from meshcall.views import Calling, Connected
from tests.aio.test_node import StartNode, ended, event_of, incoming, start, testnet

__all__ = ["start", "testnet"]


async def becomes(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds."""
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"it never became true that {what}") from None


async def talk(caller: Node, callee: Node, whom: str | None = None) -> Call:
    """A confirmed call."""
    call = await caller.call(whom or callee.id_text())
    theirs = await incoming(callee)
    await theirs.answer()
    await asyncio.gather(event_of(call, Connected), event_of(theirs, Connected))
    return call


async def hang_up(call: Call, callee: Node) -> None:
    """End it at both ends."""
    await call.hangup()
    await ended(call)
    await becomes(lambda: callee.status().calls == 0, "the callee's call is over")


def both_are_contacts(alice: Node, bob: Node) -> None:
    """Each has the other in the book."""
    alice.contacts.add(bob.id_text(), "bob")
    bob.contacts.add(alice.id_text(), "alice")


def has(holder: Node, owner: Node) -> bool:
    """Whether ``holder`` has the present secret of ``owner``, and the owner knows."""
    theirs, ours = holder.contacts.get(owner.peer_id), owner.contacts.get(holder.peer_id)
    if theirs is None or ours is None:
        return False
    current = owner._handover._keys.current
    return (theirs.secret, theirs.generation, ours.known) == (
        current.secret,
        current.generation,
        current.generation,
    )


def served(node: Node) -> set[str]:
    """The kinds of rendezvous that are watched, with the presence shown at each."""
    where = node._post._where
    return {place.series.kind for place in where._places.values() if place.name in where._shown}


async def is_served(node: Node, kind: str = "contact") -> None:
    """The node's rendezvous of ``kind`` is watched and its presence stored."""
    await becomes(lambda: kind in served(node), f"the {kind} rendezvous is served")
    await becomes(lambda: not node._work, "everything is stored")
    for key, place in node._post._where._places.items():
        if place.series.kind == kind:
            async with asyncio.timeout(10):
                await node._post._where._watches[key].wait_held(4)


async def invited(node: Node) -> str:
    """An invite of ``node``, whose rendezvous is served."""
    link = node.create_invite(once=True, expires=600)
    await is_served(node, "invite")
    return link


async def led_by(call: Call) -> str:
    """What led to the peer."""
    return (await event_of(call, Calling)).by


async def test_the_first_call_goes_by_the_id_and_the_next_by_the_secret(start: StartNode) -> None:
    """Handed over in the confirmed call, both ways, and used from then on; without it the inbox serves."""
    alice, bob = await start("alice"), await start("bob")
    both_are_contacts(alice, bob)
    first = await talk(alice, bob)
    assert await led_by(first) == "inbox"
    await becomes(lambda: has(alice, bob) and has(bob, alice), "both hold each other's secret")
    await hang_up(first, bob)
    for caller, callee in ((alice, bob), (bob, alice)):
        await is_served(callee)
        call = await talk(caller, callee)
        assert await led_by(call) == "contact"
        assert caller.status().counters["found-by-contact"] == 1
        await hang_up(call, callee)


async def test_strangers_are_handed_nothing(start: StartNode) -> None:
    """A call alone makes no contact: neither side gives its secret or keeps the other's."""
    alice, bob = await start("alice"), await start("bob")
    alice.contacts.add(bob.id_text(), "bob")  # Bob does not have Alice
    call = await talk(alice, bob)
    await call.chat("done")
    await becomes(
        lambda: bob.status().counters.get("rendezvous-of-no-contact", 0) == 1, "Alice's secret was refused"
    )
    await hang_up(call, bob)
    assert bob.contacts.get(alice.peer_id) is None
    row = alice.contacts.get(bob.peer_id)
    assert row is not None
    assert (row.secret, row.known) == (b"", 0)


async def test_who_becomes_a_contact_in_the_call_is_handed_it_then(start: StartNode) -> None:
    """And what the other side gave before that is kept."""
    alice, bob = await start("alice"), await start("bob")
    alice.contacts.add(bob.id_text(), "bob")
    call = await talk(alice, bob)
    await becomes(
        lambda: bob.status().counters.get("rendezvous-of-no-contact", 0) == 1, "Alice's secret was refused"
    )
    bob.contacts.add(alice.id_text(), "alice")
    await becomes(lambda: has(alice, bob) and has(bob, alice), "both hold each other's secret")
    await hang_up(call, bob)


async def test_an_invite_hands_over_both_secrets_without_a_call(start: StartNode) -> None:
    """By way of the invite's own rendezvous; the first call goes by the secret already."""
    alice, bob = await start("alice", name="Alice"), await start("bob", name="Bob")
    link = await invited(alice)
    await bob.accept_invite(link)
    assert bob.status().counters["found-by-invite"] == 1
    await becomes(lambda: has(alice, bob) and has(bob, alice), "both hold each other's secret")
    await becomes(lambda: "invite" not in served(alice), "a used invite is served no more")
    await is_served(alice)
    call = await talk(bob, alice, "Alice")
    assert await led_by(call) == "contact"
    await hang_up(call, alice)


async def test_an_invite_brings_who_knows_nobody_into_the_dht(start: StartNode, tmp_path: Path) -> None:
    """It carries nodes: no host is configured, no LAN is looked at, and the inviter becomes a contact."""
    alice = await start("alice", name="Alice")
    link = await invited(alice)
    config = Config(home=tmp_path / "bob", mdns=False, mainline=False, interfaces=("lo",), source="none")
    async with Node(config) as bob:
        assert bob.status().dht.nodes == 0
        contact = await bob.accept_invite(link)
        assert contact.peer_id == alice.id_text()
        await becomes(lambda: bob.status().dht.nodes > 0, "Bob has joined")
        rungs = {view.rung: view for view in bob.status().dht.bootstrap}
        assert 1 <= rungs["invite"].answered <= rungs["invite"].asked <= limits.INVITE_NODES_MAX
        await becomes(lambda: alice.contacts.get(bob.peer_id) is not None, "Alice has Bob")


async def test_contacts_only_without_an_inbox(start: StartNode) -> None:
    """Invited people and contacts get through; who knows the ID finds nothing, and is not heard."""
    alice = await start("alice", name="Alice", contacts_only=True)
    bob = await start("bob", name="Bob", contacts_only=True)
    carol = await start("carol")
    link = await invited(alice)
    await bob.accept_invite(link)
    await becomes(lambda: has(alice, bob) and has(bob, alice), "both hold each other's secret")
    for caller, callee in ((alice, bob), (bob, alice)):
        await is_served(callee)
        call = await talk(caller, callee)
        assert await led_by(call) == "contact"
        await hang_up(call, callee)
    summary = await ended(await carol.call(alice.id_text()))
    assert summary.reason == "offline"
    assert [mark for mark in summary.timeline if mark == "presence"] == []
    assert served(alice) == {"contact"}


@pytest.mark.parametrize("contacts_only", [False, True])
async def test_a_removed_contact_is_kept_out_and_the_others_are_told(
    start: StartNode, contacts_only: bool
) -> None:
    """The secret is replaced; who stays learns the new one by sealed message and calls by it."""
    alice = await start("alice", contacts_only=contacts_only, accept_strangers=False)
    bob, carol = await start("bob"), await start("carol")
    for other, name in ((bob, "bob"), (carol, "carol")):
        link = await invited(alice)
        await other.accept_invite(link)
        alice.contacts.rename(other.id_text(), name)
        await becomes(lambda o=other: has(o, alice) and has(alice, o), f"{name} holds the secret")  # type: ignore[misc]
    before = alice._handover._keys.current
    alice.contacts.remove("carol")
    after = alice._handover._keys.current
    assert after.generation > before.generation
    await becomes(lambda: has(bob, alice), "Bob was told of the new secret")
    await becomes(lambda: not alice._handover._keys.serves_replaced, "the old one is served no more")
    await is_served(alice)
    call = await talk(bob, alice)
    assert await led_by(call) == "contact"
    await hang_up(call, alice)
    assert carol.contacts.secret(alice.peer_id) == before.secret
    assert (await ended(await carol.call(alice.id_text(), timeout=2))).reason in ("offline", "no-answer")
    assert alice.status().counters["rendezvous-replaced"] == 1


async def test_who_missed_the_new_secret_gets_through_by_the_id(start: StartNode) -> None:
    """What is left over at the old rendezvous does not keep a remaining contact from calling."""
    alice, bob, carol = await start("alice"), await start("bob"), await start("carol")
    for other in (bob, carol):
        both_are_contacts(alice, other) if other is bob else alice.contacts.add(carol.id_text(), "carol")
        if other is bob:
            call = await talk(alice, bob)
            await becomes(lambda: has(bob, alice), "Bob holds the secret")
            await hang_up(call, bob)
    await is_served(alice)
    old = bob.contacts.secret(alice.peer_id)
    await alice.contacts.note(carol.peer_id, given=1)
    alice._handover._debts.clear()
    # What was stored before stays found: nobody takes it back, as if its holders were out of reach
    alice._post._where._use_dht = False
    alice.contacts.remove("carol")
    alice._handover._debts.clear()
    await alice._post.refresh()
    bob._finder.forget(alice.peer_id)
    began = asyncio.get_running_loop().time()
    call = await bob.call(alice.id_text())
    assert bob.contacts.secret(alice.peer_id) == old
    await incoming(alice)
    assert asyncio.get_running_loop().time() - began < limits.CALL_OFFLINE_AFTER
    assert await led_by(call) == "contact"
    await call.hangup()
    await ended(call)


async def test_secrets_survive_a_restart(start: StartNode, tmp_path: Path) -> None:
    """Ours, theirs, and who has which."""
    alice, bob = await start("alice"), await start("bob")
    both_are_contacts(alice, bob)
    call = await talk(alice, bob)
    await becomes(lambda: has(alice, bob) and has(bob, alice), "both hold each other's secret")
    await hang_up(call, bob)
    before, row = bob._handover._keys.current, bob.contacts.get(alice.peer_id)
    await bob.__aexit__(None, None, None)
    async with Node(bob.config) as again:
        assert again._handover._keys.current == before
        assert again.contacts.get(alice.peer_id) == row
        await is_served(again)
        call = await talk(alice, again)
        assert await led_by(call) == "contact"
        await hang_up(call, again)


async def test_on_a_lan_the_peer_itself_answers_at_both_keys(start: StartNode) -> None:
    """No node between: the same frames, the same order, and after a removal nothing at the old key."""
    alice = await start("alice", lan_only=True, bootstrap=())
    bob = await start("bob", lan_only=True, bootstrap=())
    for here, there in ((alice, bob), (bob, alice)):
        here._finder._lan_addresses = lambda peer, port=there.port: (("127.0.0.1", port),)
    both_are_contacts(alice, bob)
    for by in ("inbox", "contact"):
        call = await talk(alice, bob)
        calling = await event_of(call, Calling)
        assert (calling.via, calling.by) == ("lan", by)
        await becomes(lambda: has(alice, bob) and has(bob, alice), "both hold each other's secret")
        await becomes(lambda: served(bob) == {"inbox", "contact"}, "it is served")
        await hang_up(call, bob)
    bob.contacts.remove("alice")
    await becomes(lambda: served(bob) == {"inbox"}, "the old secret is served no more")
    alice._finder.forget(bob.peer_id)
    found = await alice._finder.find(bob.peer_id)
    assert found is not None
    assert found.by == "inbox"
