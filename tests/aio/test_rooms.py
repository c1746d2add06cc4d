"""Rooms of whole nodes on loopback, with played media: over the DHT, and as if on one LAN."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import av
import pytest

from meshcall import errors, limits
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.lateness import lateness_of_loop
from meshcall.config import Config
from meshcall.identity.keys import SigningKey
from meshcall.media.mixing import tiles
from meshcall.node import Node
from meshcall.room.crowd import TILE, WHOLE
from meshcall.room_session import RoomSession
from meshcall.testing.testnet import Testnet
from meshcall.views import NodeEvent, RoomChat, RoomEnded, RoomView
from tests.aio.mixes import files_in, loud, luma, pictures_in, sound_in, write_film
from tests.attacks.nodes import Stage, play_media

played_media = pytest.mark.usefixtures("played")

StartNode = Callable[..., Any]
E = TypeVar("E", bound=NodeEvent)


class WrongClock(SystemClock):
    """A clock that somebody has set."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def now_ms(self) -> int:
        return super().now_ms() + int(1000 * self.ahead)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Nobody's media are real."""
    return play_media(monkeypatch, 7)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartNode]:
    """Starts nodes by name on a small DHT; all are stopped after the test."""
    async with Testnet(8) as net, AsyncExitStack() as stack:

        async def node(who: str, *, ahead: float = 0.0, **changes: Any) -> Node:
            config = Config(
                home=tmp_path / who,
                name=who,
                mdns=False,
                mainline=False,
                bootstrap=net.bootstrap,
                interfaces=("lo",),
                source="none",
            )
            made = Node(replace(config, **changes), clock=WrongClock(ahead))
            await stack.enter_async_context(made)
            async with asyncio.timeout(10):
                while made.status().dht.watches < 8 or not made.status().counters.get("sent-store"):  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.02)
            return made

        yield node


async def until(what: Callable[[], object], seconds: float = 15) -> None:
    """Return when ``what`` is so."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - each turn moves the room on
            await asyncio.sleep(0.01)


def names(node: Node, room: str = "-") -> list[str]:
    """Who is linked with ``node`` in its room, and itself."""
    return sorted(member.name for member in node.rooms.view(room).members if member.state == "here")


async def agree(*nodes: Node, seconds: float = 15) -> None:
    """All are in one room and see each other."""
    wanted = sorted(node.settings.now.name for node in nodes)
    await until(lambda: all(names(node) == wanted for node in nodes), seconds)


def show_lan(here: Node, *others: Node) -> None:
    """``here`` hears what the others announce, as mDNS would have it."""
    for other in others:
        here._lan.rooms.seen(other.id_text(), other.rooms.announcements())
    here.rooms.lan_changed()


class Heard:
    """The events of a node from now on."""

    def __init__(self, node: Node) -> None:
        self.events: list[NodeEvent] = []
        self._task = asyncio.ensure_future(self._listen(node))

    async def _listen(self, node: Node) -> None:
        async for event in node.events():
            self.events.append(event)

    async def first(self, kind: type[E]) -> E:
        """The first event of this kind; nothing is heard after it."""
        await until(lambda: [event for event in self.events if isinstance(event, kind)])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return next(event for event in self.events if isinstance(event, kind))

    async def ended(self) -> str:
        """Why the first room ended."""
        return (await self.first(RoomEnded)).reason


@played_media
async def test_a_room_over_the_internet(start: StartNode) -> None:
    """By its link: three meet without a LAN, talk, and one goes; nothing rang, nothing is in the history."""
    ann, ben, cem = [await start(who) for who in ("ann", "ben", "cem")]
    made: RoomView = await ann.rooms.create("Tea")
    assert (made.state, made.mine, made.creator) == ("joined", True, ann.id_text())
    link = ann.rooms.invite("tea").uri
    joined = await ben.rooms.join(link)
    assert (joined.id, joined.state, joined.mine) == (made.id, "joined", False)
    assert (await cem.rooms.join(ben.rooms.invite("-").uri)).id == made.id
    await agree(ann, ben, cem)
    heard = Heard(cem)
    await asyncio.sleep(0)
    ann.rooms.say("Tea", "salut ✓")
    chat = await heard.first(RoomChat)
    assert (chat.name, chat.text, chat.room, chat.sender) == ("ann", "salut ✓", made.id, "peer")
    ben.rooms.set_state("-", hand=True)
    await until(lambda: [m.hand for m in cem.rooms.view("-").members if m.name == "ben"] == [True])
    await ann.rooms.leave("Tea")
    assert ann.rooms.view("tea").state == "known"
    await agree(ben, cem)
    for node in (ann, ben, cem):
        assert node.calls() == []
        assert await node.history() == []


@played_media
async def test_who_goes_and_comes_back_at_once_is_linked_with_all_again(start: StartNode) -> None:
    """Offers cross then, and letters with them: none of them is lost."""
    ann, ben, cem = [await start(who) for who in ("ann", "ben", "cem")]
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("tea").uri
    for node in (ben, cem):
        await node.rooms.join(link)
    for node in (ben, cem, ben, cem, ben):
        await agree(ann, ben, cem)
        await node.rooms.leave("Tea")
        began = asyncio.get_running_loop().time()
        await node.rooms.join(link)
        await agree(ann, ben, cem)
        assert asyncio.get_running_loop().time() - began < limits.ROOM_LINK_RING


async def test_a_crowd_is_shown_in_tiles(start: StartNode, played: Stage) -> None:
    """From five people on, at both ends of each link, from its beginning; large again when they are four."""
    first, *others = [await start(who) for who in ("ann", "ben", "cem", "dan", "eve")]
    await first.rooms.create("Tea")
    link = first.rooms.invite("tea").uri
    for node in others:
        await node.rooms.join(link)
    await agree(first, *others)
    await until(lambda: {one.shown for one in played.endpoints} == {TILE})
    assert others[-1].rooms.view("-").members[0].layer in (-1, TILE[0])
    eves = [one.plan.shown for one in played.endpoints if one.plan.peer == others[-1].id_text()]
    assert eves == [TILE] * 4, "who comes as the fifth is not sent large pictures first"
    first.rooms.ask_layer("-", "ben", "camera", 180, 15)
    await others[-1].rooms.leave("-")
    await agree(first, *others[:-1])

    def asked() -> dict[str, int]:
        return {member.name: member.layer for member in first.rooms.view("-").members}

    await until(lambda: asked() == {"ann": -1, "ben": 180, "cem": WHOLE[0], "dan": WHOLE[0]})
    await until(lambda: {one.shown for one in played.endpoints} == {WHOLE, (180, 15)})


async def test_a_machine_that_does_not_keep_up_asks_for_less(start: StartNode, played: Stage) -> None:
    """Of all but whom somebody asked for by hand, and says so; alone it does not look."""
    ann, ben, cem = [await start(who) for who in ("ann", "ben", "cem")]
    lateness = lateness_of_loop()
    await ann.rooms.create("Tea")
    assert not lateness.listened
    link = ann.rooms.invite("tea").uri
    for node in (ben, cem):
        await node.rooms.join(link)
    await agree(ann, ben, cem)
    ann.rooms.ask_layer("-", "ben", "camera", *WHOLE)
    assert not ann.rooms.view("-").strained

    def asked(node: Node) -> dict[str, int]:
        return {member.name: member.layer for member in node.rooms.view("-").members if not member.me}

    at = asyncio.get_running_loop().time()
    while not all(node.rooms.view("-").strained for node in (ann, ben, cem)):
        at += limits.ARRIVALS_PROBE  # all three have one loop
        lateness.tell(2 * limits.STRAIN_LATE, at)
    assert asked(ann)["ben"] == WHOLE[0]
    assert asked(ann)["cem"] < WHOLE[0]
    heights = sorted(height for node in (ann, ben, cem) for height in asked(node).values())
    assert heights[-2] < WHOLE[0] == heights[-1]
    await until(lambda: sorted(one.shown[0] for one in played.endpoints if one.shown) == heights)
    for node in (cem, ben):
        await node.rooms.leave("-")
    await agree(ann)
    assert not lateness.listened
    assert not ann.rooms.view("-").strained, "of whom?"


async def test_who_is_gone_makes_no_crowd(
    start: StartNode, played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lets us in may not know yet that three went: tiles are asked for until the first word on a link."""
    ann, ben = await start("ann"), await start("ben")
    gone = [SigningKey.generate(system_random).peer_id for _ in range(3)]
    enter = RoomSession.enter
    monkeypatch.setattr(RoomSession, "enter", lambda self, members=(): enter(self, (*members, *gone)))
    await ann.rooms.create("Tea")
    await ben.rooms.join(ann.rooms.invite("tea").uri)
    await agree(ann, ben)
    shown = {one.plan.shown for one in played.endpoints if one.plan.peer == ann.id_text()}
    assert shown == {TILE}, "else nothing was tried"

    def asked() -> dict[str, int]:
        return {member.name: member.layer for member in ben.rooms.view("-").members if member.state == "here"}

    await until(lambda: asked() == {"ann": WHOLE[0], "ben": -1})
    await until(lambda: WHOLE in {one.shown for one in played.endpoints if one.plan.peer == ben.id_text()})


@played_media
async def test_a_room_is_gone_into_again_after_a_restart(start: StartNode, tmp_path: Path) -> None:
    """With its secret, and with whom it had; a room that was left is known, one that was forgotten is not."""
    ann = await start("ann")
    made = await ann.rooms.create("Tea")
    config = Config(
        home=tmp_path / "ben", name="ben", mdns=False, mainline=False, interfaces=("lo",), source="none",
        bootstrap=ann.config.bootstrap,
    )  # fmt: skip
    async with Node(config) as ben:
        await ben.rooms.join(ann.rooms.invite("tea").uri)
        await agree(ann, ben)
    await until(lambda: names(ann) == ["ann"])
    async with Node(config) as ben:
        assert ben.rooms.view("-").id == made.id
        await agree(ann, ben)
        await ben.rooms.leave("-")
    async with Node(config) as ben:
        assert [(room.name, room.state) for room in ben.rooms.show().rooms] == [("Tea", "known")]
        await ben.rooms.join("tea")
        await agree(ann, ben)
        await ben.rooms.forget("tea")
        with pytest.raises(errors.NoSuchRoom):
            ben.rooms.view("tea")
    async with Node(config) as ben:
        assert ben.rooms.show().rooms == []


@played_media
async def test_in_by_name_by_code_and_by_knocking(start: StartNode) -> None:
    """As on a LAN. A wrong code opens nothing, a locked door asks the members."""
    ann, ben, cem, dee = [await start(who) for who in ("ann", "ben", "cem", "dee")]
    made = await ann.rooms.create("Tea time")
    show_lan(ben, ann)
    (here,) = ben.rooms.show().here
    assert (here.name, here.members, here.joined) == ("Tea time", 1, False)
    assert (await ben.rooms.join("TEA time")).id == made.id
    await agree(ann, ben)

    code = ben.rooms.code("-").code
    await until(lambda: any(one.nameplate for one in ben.rooms.announcements()))
    show_lan(cem, ann, ben)
    wrong = code.rpartition("-")[0] + ("-tiger" if not code.endswith("tiger") else "-zebra")
    with pytest.raises(errors.RoomCodeWrong):
        await cem.rooms.join(wrong)
    assert (await cem.rooms.join(code.upper())).id == made.id
    await agree(ann, ben, cem)

    await ann.rooms.lock("-", locked=True)
    await until(lambda: cem.rooms.view("-").locked)
    await until(lambda: all(one.locked for one in cem.rooms.announcements()))
    show_lan(dee, cem)
    waiting = await dee.rooms.join("tea time")
    assert waiting.state == "waiting"
    await until(lambda: ann.rooms.view("-").knocks)
    assert [knock.name for knock in ann.rooms.view("-").knocks] == ["dee"]
    heard = Heard(dee)
    await asyncio.sleep(0)
    ann.rooms.admit("-", "dee", admit=True)
    assert await heard.ended() == "admitted"
    await agree(ann, ben, cem, dee)


@played_media
async def test_a_machine_of_the_room_is_named_by_its_address(start: StartNode) -> None:
    """Nobody is seen, and no mDNS gets through: its own node tells who can say the name, or the code."""
    ann, ben, cem = [await start(who) for who in ("ann", "ben", "cem")]
    made = await ann.rooms.create("Tea", secret=True)
    place = f"127.0.0.1:{ann.port}"
    assert ben.rooms.show().here == []
    code = ann.rooms.code("-").code
    await until(lambda: any(one.nameplate for one in ann.rooms.announcements()))
    assert (await ben.rooms.join(code, at=place)).id == made.id
    await agree(ann, ben)
    waiting = await cem.rooms.join("tea", at=place)  # a secret room: who knows its name knocks
    assert waiting.state == "waiting"
    await until(lambda: ann.rooms.view("-").knocks)
    ann.rooms.admit("-", "cem", admit=True)
    await agree(ann, ben, cem)


@played_media
async def test_several_with_wrong_clocks_join_at_once(start: StartNode) -> None:
    """As long as no two differ by more than two minutes."""
    ann, ben, cem, dee = [
        await start(who, ahead=ahead) for who, ahead in (("ann", 0), ("ben", 90), ("cem", -25), ("dee", 45))
    ]
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("tea").uri
    await asyncio.gather(*(node.rooms.join(link) for node in (ben, cem, dee)))
    await agree(ann, ben, cem, dee)
    assert [node.rooms.view("-").trouble for node in (ann, ben, cem, dee)] == [""] * 4


@played_media
async def test_two_clocks_too_far_apart_make_no_link_and_both_are_told(start: StartNode) -> None:
    """Each of them links with all others; the room is one, and who the other is is said with what to do."""
    ann, ben, cem = [await start(who, ahead=ahead) for who, ahead in (("ann", 0), ("ben", 90), ("cem", -90))]
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("tea").uri
    await asyncio.gather(*(node.rooms.join(link) for node in (ben, cem)))
    await until(lambda: names(ann) == ["ann", "ben", "cem"])
    await until(lambda: all(node.rooms.view("-").trouble for node in (ben, cem)))
    for node, other in ((ben, cem), (cem, ben)):
        view = node.rooms.view("-")
        who = f"{other.peer_id.short}|{other.settings.now.name}"
        assert re.search(f"clocks .* of ({who}) differ too much", view.trouble)
        assert sorted(member.name for member in view.members) == ["ann", "ben", "cem"]
        assert names(node) == sorted(["ann", node.settings.now.name])
    assert ann.rooms.view("-").trouble == ""
    ben.rooms._tools.clock.ahead = 0
    await agree(ann, ben, cem, seconds=2 * limits.ROOM_SEEK_RARE + 4 * limits.ROOM_CONNECT_RETRY_MAX)
    assert [node.rooms.view("-").trouble for node in (ann, ben, cem)] == [""] * 3


@played_media
@pytest.mark.parametrize("ahead", [-300, 300])
async def test_who_comes_with_a_wrong_clock_is_told(start: StartNode, ahead: float) -> None:
    """At once, with what to do; and so is who comes back into a room that it knows."""
    ann, ben = await start("ann"), await start("ben", ahead=ahead)
    await ann.rooms.create("Tea")
    with pytest.raises(errors.ClockWrong, match="clock") as caught:
        await ben.rooms.join(ann.rooms.invite("tea").uri)
    assert "set the clock" in (caught.value.hint or "")
    ben.rooms._tools.clock.ahead = 0
    await ben.rooms.join(ann.rooms.invite("tea").uri)
    await agree(ann, ben)
    await ben.rooms.leave("-")
    ben.rooms._tools.clock.ahead = ahead
    await ben.rooms.join("tea")
    await until(lambda: "differ too much" in ben.rooms.view("-").trouble)


@played_media
async def test_who_is_refused_is_told(start: StartNode) -> None:
    """And who gives up waits no more."""
    ann, ben = await start("ann"), await start("ben")
    await ann.rooms.create("Tea")
    await ann.rooms.lock("-", locked=True)
    await until(lambda: all(one.locked for one in ann.rooms.announcements()))
    show_lan(ben, ann)
    heard = Heard(ben)
    assert (await ben.rooms.join("tea")).state == "waiting"
    await until(lambda: ann.rooms.view("-").knocks)
    ann.rooms.admit("-", ben.id_text(), admit=False)
    assert await heard.ended() == "declined"
    assert ben.rooms.show().rooms == []
    with pytest.raises(errors.NoSuchMember):
        ann.rooms.admit("-", "ben", admit=True)


@played_media
async def test_removed_by_the_creator_and_blocked_for_oneself(start: StartNode) -> None:
    """Who made the room puts out for good; everybody hides whom they like, contacts that are blocked too."""
    ann, ben, cem = [await start(who) for who in ("ann", "ben", "cem")]
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("tea").uri
    for node in (ben, cem):
        await node.rooms.join(link)
    await agree(ann, ben, cem)
    with pytest.raises(errors.NotCreator):
        await ben.rooms.remove("-", "cem")
    with pytest.raises(errors.NoSuchMember):
        await ann.rooms.remove("-", "nobody")
    with pytest.raises(errors.UsageError):
        await ann.rooms.remove("-", "ann")
    await ben.rooms.block("-", "cem", blocked=True)
    await until(lambda: names(ben) == ["ann", "ben"])
    assert [one.name for one in ben.rooms.view("-").blocked] == ["cem"]
    with pytest.raises(errors.NoSuchMember):
        await ben.rooms.block("-", "ann", blocked=False)
    await ben.rooms.block("-", "cem", blocked=False)
    assert ben.rooms.view("-").blocked == []
    await agree(ann, ben, cem)
    ben.contacts.add(cem.id_text(), "cem")
    ben.contacts.block("cem")
    await until(lambda: names(ben) == ["ann", "ben"])
    with pytest.raises(errors.UsageError, match="altogether"):
        await ben.rooms.block("-", "cem", blocked=False)
    await until(lambda: names(cem) == ["ann", "cem"])
    await until(lambda: names(ann) == ["ann", "ben", "cem"])
    heard = Heard(cem)
    await asyncio.sleep(0)
    await ann.rooms.remove("-", "cem")
    assert await heard.ended() == "removed"
    await agree(ann, ben)
    ann.rooms.ask_layer("-", cem.id_text(), "camera", 360, 15)  # a page may be told later than it asks
    with pytest.raises(errors.NoSuchMember):
        ann.rooms.ask_layer("-", "cem", "camera", 360, 15)
    with pytest.raises(errors.RoomRefused):
        await cem.rooms.join(link)


@played_media
async def test_what_a_page_says_of_a_room_that_is_just_over_is_no_error(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not told yet. Whoever says it later, or without a page, learns that we are not in it."""
    ann = await start("ann")
    tea = await ann.rooms.create("Tea", page="p1")
    await ann.rooms.leave("Tea")
    assert ann.rooms.set_state(tea.id, hand=True).state == "known"
    with pytest.raises(errors.NotInRoom):
        ann.rooms.say(tea.id, "hello")
    await ann.rooms.create("Cake")
    await ann.rooms.leave("Cake")
    with pytest.raises(errors.NotInRoom):
        ann.rooms.set_state("Cake", hand=True)
    monkeypatch.setattr(limits, "ROOM_TOLD_WITHIN", 0.0)
    await ann.rooms.create("Pie", page="p1")
    await ann.rooms.leave("Pie")
    with pytest.raises(errors.NotInRoom):
        ann.rooms.set_state("Pie", hand=True)


@played_media
async def test_a_blocked_contact_that_comes_later_is_blocked_in_the_room(start: StartNode) -> None:
    """It is shown among the blocked, and not as a member that never connects."""
    ann, ben, cem = [await start(who) for who in ("ann", "ben", "cem")]
    ben.contacts.add(cem.id_text(), "cem")
    ben.contacts.block("cem")
    await ann.rooms.create("Tea")
    link = ann.rooms.invite("tea").uri
    await ben.rooms.join(link)
    await cem.rooms.join(link)
    await until(lambda: names(ann) == ["ann", "ben", "cem"])
    await until(lambda: names(ben) == ["ann", "ben"])
    assert [one.contact for one in ben.rooms.view("-").blocked] == ["cem"]


@played_media
async def test_room_mates_call_each_other_as_before(start: StartNode) -> None:
    """A call beside the link; and who takes no strangers' calls is not rung by being in a room with them."""
    ann, ben = await start("ann"), await start("ben", accept_strangers=False)
    await ann.rooms.create("Tea")
    await ben.rooms.join(ann.rooms.invite("-").uri)
    await agree(ann, ben)
    unheard = await ann.call(ben.id_text())
    await until(lambda: ben.status().counters.get("offer-of-room-mate"))
    assert ben.calls() == []
    await unheard.hangup()
    call = await ben.call(ann.id_text())
    await until(lambda: [one.state for one in ann.calls() if one.direction == "in"] == ["incoming"])
    await ann.get_call(call.id).answer()
    await call.wait_connected()
    assert names(ann) == ["ann", "ben"]
    await call.hangup()
    await call.wait_ended()
    assert names(ann) == names(ben) == ["ann", "ben"]


@played_media
async def test_an_offer_without_the_secret_is_refused(start: StartNode) -> None:
    """A tag that proves nothing opens no link and rings nowhere."""
    ann, eve = await start("ann"), await start("eve")
    await ann.rooms.create("Tea")
    await eve.rooms.create("Tea")
    session = next(iter(eve.rooms._sessions.values()))
    session.links.connect(ann.peer_id)
    await until(lambda: ann.status().counters.get("room-link-refused"))
    await until(lambda: session.links.get(ann.peer_id) is None)
    assert names(ann) == ["ann"]
    assert ann.calls() == []


@played_media
async def test_a_member_that_begins_anew_and_anew_is_refused(start: StartNode) -> None:
    """A few links in a row are what a poor network takes; each costs an endpoint."""
    ann, ben = await start("ann"), await start("ben")
    await ann.rooms.create("Tea")
    await ben.rooms.join(ann.rooms.invite("-").uri)
    await agree(ann, ben)
    links = next(iter(ann.rooms._sessions.values())).links
    begun = [links._may_begin(ben.peer_id) for _ in range(int(limits.ROOM_LINKS_BURST) + 1)]
    assert begun[-1] is False
    other = next(iter(ben.rooms._sessions.values())).links
    links.connect = lambda peer: None
    other.drop(ann.peer_id)
    await until(lambda: links.get(ben.peer_id) is None)
    other.connect(ann.peer_id)
    await until(lambda: ann.status().counters.get("room-link-refused"))


@played_media
async def test_what_is_shared_and_can_not_be_is_told(start: StartNode, played: Stage, tmp_path: Path) -> None:
    """At once, or when somebody comes: then the share ends, and neither the room nor the link."""
    ann, bob = await start("ann"), await start("bob")
    await ann.rooms.create("Tea")
    for source in ("none", "mic", str(tmp_path / "nothing.mkv")):
        with pytest.raises(errors.SourceUnusable):
            await ann.rooms.share("tea", source)
    assert (await ann.rooms.share("tea", "testsrc")).sharing == "testsrc"
    await bob.rooms.join(ann.rooms.invite("tea").uri)
    await agree(ann, bob)
    await until(lambda: [m.screen for m in bob.rooms.view("tea").members if m.name == "ann"] == [True])
    session = next(iter(ann.rooms._sessions.values()))
    (link,) = session.links
    link.on_share_failed("no display")
    view = ann.rooms.view("tea")
    assert (view.sharing, view.trouble) == ("", "nothing is shared any more: no display")
    await until(lambda: [m.screen for m in bob.rooms.view("tea").members if m.name == "ann"] == [False])
    await agree(ann, bob)
    assert (await ann.rooms.share("tea", "testsrc")).trouble == ""
    assert ann.rooms.unshare("tea").sharing == ""


async def test_who_shares_no_screen_is_told_why(start: StartNode, played: Stage) -> None:
    """A page has its own button; who came without pictures has no place for any; workers read one source."""
    ann = await start("ann", media_workers=True)
    await ann.rooms.create("Tea")
    with pytest.raises(errors.UsageError, match="media-workers"):
        await ann.rooms.share("tea", "testsrc")
    await ann.rooms.create("Sound", video=False)
    with pytest.raises(errors.UsageError, match="without pictures"):
        await ann.rooms.share("sound", "testsrc")
    await ann.rooms.create("Page", page="1")
    with pytest.raises(errors.UsageError, match="page"):
        await ann.rooms.share("page", "testsrc")


async def test_what_can_not_be_done_is_told(start: StartNode, tmp_path: Path) -> None:
    """Before anything is made or asked."""
    ann = await start("ann")
    with pytest.raises(errors.InvalidRoom):
        await ann.rooms.create("\u202e")
    with pytest.raises(errors.SourceUnusable):
        await ann.rooms.create("Tea", source=str(tmp_path / "nothing.mkv"))
    (tmp_path / "file").touch()
    with pytest.raises(errors.RecordTargetExists):
        await ann.rooms.create("Tea", record=tmp_path / "file")
    with pytest.raises(errors.RecordTargetExists):
        await ann.rooms.create("Tea", record_mixed=tmp_path / "file")
    with pytest.raises(errors.UsageError, match="browser"):
        await ann.rooms.create("Tea", record_mixed=tmp_path / "all", page="p1")
    with pytest.raises(errors.HostUnknown):
        await ann.rooms.join("Tea", at="no.such.host.invalid:7")
    with pytest.raises(errors.NoSuchRoom):
        ann.rooms.invite("-")
    for number in range(limits.ROOMS_JOINED_MAX):
        await ann.rooms.create(f"Room {number}")
    with pytest.raises(errors.UsageError, match="leave one"):
        await ann.rooms.create("One more")
    with pytest.raises(errors.NoSuchRoom, match="several"):
        ann.rooms.view("-")
    with pytest.raises(errors.UsageError):
        ann.rooms.say("room 1", "x" * (limits.CHAT_MAX + 1))
    await ann.rooms.leave("room 1")
    with pytest.raises(errors.NotInRoom):
        ann.rooms.say("room 1", "hello")
    assert len(ann.rooms.announcements()) == limits.ROOMS_JOINED_MAX - 1


@played_media
async def test_nobody_is_found_under_that_name(start: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for as long as a cold machine takes to hear of it, and no longer."""
    monkeypatch.setattr(limits, "ROOM_JOIN_PATIENCE", 0.3)
    ann = await start("ann")
    with pytest.raises(errors.RoomNotFound) as caught:
        await ann.rooms.join("Tea")
    assert caught.value.exit_code == 4
    assert "--at" in (caught.value.hint or "")


def received(node: Node) -> tuple[int, int]:
    """Pictures and seconds of sound that came from the other member."""
    (other,) = [member for member in node.rooms.view("-").members if not member.me]
    return other.received.video_frames, int(other.received.audio_seconds)


async def test_media_flow_are_muted_and_recorded(start: StartNode, tmp_path: Path) -> None:
    """Both ways; who mutes sends nothing more; each member is in a file of its own."""
    ann, ben = await start("ann", source="testsrc"), await start("ben", source="testsrc:880")
    await ann.rooms.create("Tea", record=tmp_path / "tea")
    await ben.rooms.join(ann.rooms.invite("-").uri)
    await agree(ann, ben)
    await until(lambda: min(*received(ann), *received(ben)) > 0, 30)
    (member,) = [one for one in ben.rooms.view("-").members if one.name == "ann"]
    assert (member.audio, member.video, member.received.height) == (True, True, 480)
    ann.rooms.set_state("-", video=False)
    await until(lambda: [one.video for one in ben.rooms.view("-").members if one.name == "ann"] == [False])
    await asyncio.sleep(0.5)
    frames, _ = received(ben)
    await asyncio.sleep(0.7)
    assert received(ben)[0] == frames
    ann.rooms.set_state("-", video=True)
    await until(lambda: received(ben)[0] > frames, 10)
    await ann.rooms.leave("-")
    files = list((tmp_path / "tea").iterdir())
    assert len(files) == 1
    assert ben.peer_id.short in files[0].name
    await until(lambda: files[0].stat().st_size > 10_000, 5)


async def test_a_room_is_recorded_in_one_file(start: StartNode, tmp_path: Path) -> None:
    """Each member's tone and picture, and ours, while it is there; finished when the node has stopped."""
    films = {"ann": (500, 235), "ben": (900, 126), "cem": (1400, 60)}
    for who, (tone, value) in films.items():
        await asyncio.to_thread(write_film, tmp_path / f"{who}.mkv", tone, value, 30)
    ann, ben, cem = [await start(who, source=str(tmp_path / f"{who}.mkv")) for who in films]
    await ann.rooms.create("Tea", record_mixed=tmp_path / "tea")
    link = ann.rooms.invite("-").uri
    await ben.rooms.join(link)
    await agree(ann, ben)
    await until(lambda: min(received(ann)) > 0, 30)
    await cem.rooms.join(link)
    await agree(ann, ben, cem)

    def all_came() -> bool:
        others = [one.received for one in ann.rooms.view("-").members if not one.me]
        return all(one.video_frames > 5 and one.audio_seconds > 1.5 for one in others)

    await until(all_came, 30)
    await cem.rooms.leave("-")
    await agree(ann, ben)
    await asyncio.sleep(1.5)
    await ann.__aexit__(None, None, None)
    (name,) = files_in(tmp_path / "tea")
    assert name.endswith("-mixed.mkv")
    assert readable(tmp_path / "tea" / name)
    sound = sound_in(tmp_path / "tea" / name)
    heard = [
        {who for who, (tone, _) in films.items() if loud(sound, tone, step / 4, step / 4 + 0.25)}
        for step in range(len(sound) // 12_000)
    ]
    assert heard.count({"ann", "ben", "cem"}) >= 3
    assert heard[-2] == {"ann", "ben"}
    shown = pictures_in(tmp_path / "tea" / name)
    three, two = tiles(3, 1280, 720), tiles(2, 1280, 720)
    values = [value for _, value in films.values()]
    assert any(
        all(abs(luma(one, at) - value) < 6 for at, value in zip(three, values, strict=True)) for one in shown
    )
    late = [one for one in shown if one.time < shown[-1].time - 0.5][-1]
    assert [luma(late, at) for at in two] == pytest.approx(values[:2], abs=6)


def readable(path: Path) -> bool:
    """Whether a recording is finished: only then its length is known."""
    try:
        with av.open(str(path)) as container:
            return bool(container.duration)
    except av.FFmpegError:
        return False
