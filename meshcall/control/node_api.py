"""What the local API needs of a node: two protocols that :class:`meshcall.node.Node` and its calls satisfy.

Law 1: the server sees a node through these alone, so it can be tested with any object that has them.
Law 2: every method raises :class:`meshcall.errors.MeshcallError` for what a user did or met, nothing else
on purpose; any other exception is a bug, answered with the code ``internal``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from meshcall.identity.peer_id import PeerId
from meshcall.media.page import ToPage
from meshcall.netcheck_views import NetcheckView
from meshcall.ping_views import PingEvent
from meshcall.views import (
    CallEvent,
    CallView,
    ContactView,
    DhtLookupView,
    DhtPingView,
    DhtStateView,
    HistoryView,
    LayerKind,
    NodeEvent,
    NodeStatus,
    PeerView,
    RelayCoturnView,
    RelayCredentialsView,
    RoomCodeView,
    RoomInviteView,
    RoomsView,
    RoomView,
    SettingsView,
    VerificationView,
)


class CallApi(Protocol):
    """One call."""

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""

    def view(self) -> CallView:
        """The call as it is now."""

    async def answer(
        self,
        *,
        source: str | None = None,
        record: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> None:
        """Answer an incoming call; returns when the answer is on its way."""

    async def decline(self, words: str = "") -> None:
        """Decline an incoming call."""

    async def hangup(self) -> None:
        """End the call in any state: a call that still rings is cancelled. Idempotent."""

    @property
    def peer_id(self) -> PeerId:
        """The other end."""

    def tell_media(self, *, audio: bool, video: bool, screen: bool) -> None:
        """Tell the peer what is muted and what is shown."""

    def verification(self) -> VerificationView:
        """The words that both people compare; raises :class:`meshcall.errors.NotVerifiable`."""

    async def chat(self, text: str) -> None:
        """Send a line of chat; the call must be connected."""

    def events(self) -> AsyncIterator[CallEvent]:
        """Every event of the call since its start, then each as it comes; ends after ``Ended``.

        Subscribes when called, not at the first ``anext``, so that nothing is missed. If the iterator has an
        ``aclose``, it is awaited when nobody listens any more.
        """


class PingApi(Protocol):
    """One ping."""

    async def stop(self) -> None:
        """End it. Idempotent."""

    def events(self) -> AsyncIterator[PingEvent]:
        """Every event since its start, then each as it comes; ends after ``PingEnded``."""


class ContactsApi(Protocol):
    """The contact book. A peer is named by a contact's name, a full ID or a URI, never by a short form."""

    def add(self, text: str, name: str) -> ContactView:
        """``text``: ID or URI; ``name`` empty: the one in the URI."""

    def list(self) -> list[ContactView]:
        """All contacts, by name."""

    def verify(self, peer_id: PeerId) -> ContactView:
        """Mark a contact as verified."""

    def rename(self, name: str, new: str) -> ContactView:
        """Give a contact another name."""

    def remove(self, name: str) -> None:
        """Forget a contact."""

    def block(self, name: str) -> ContactView:
        """Never let this contact or ID ring again."""

    def unblock(self, name: str) -> ContactView:
        """Undo :meth:`block`."""


class SettingsApi(Protocol):
    """What people set while the daemon runs."""

    @property
    def now(self) -> SettingsView:
        """What holds now, and where each value comes from."""

    def change(self, wanted: Mapping[str, object]) -> SettingsView:
        """Set these, by name; None leaves one as it is. Kept on the disk, and in force at once."""


class DhtApi(Protocol):
    """The DHT, for people who look at it."""

    def state(self) -> DhtStateView:
        """How our node is."""

    async def lookup(self, text: str) -> DhtLookupView:
        """Search a storage key (40 hex digits), or the presence of a peer (name, ID or link)."""

    async def ping(self, text: str) -> DhtPingView:
        """Ask whoever is at HOST:PORT who it is."""


class RoomsApi(Protocol):
    """The rooms. One is named by its ID, 4 or more digits of it, or its name; a member by ID or shown name.

    What can't be done raises :class:`meshcall.errors.MeshcallError`: ``NoSuchRoom``, ``NoSuchMember``,
    ``NotInRoom``, ``NotCreator`` and what the methods name.
    """

    def show(self) -> RoomsView:
        """Those that we are in or know, and those on this LAN."""

    def view(self, room: str) -> RoomView:
        """One that we are in or know."""

    async def create(
        self,
        name: str,
        *,
        secret: bool = False,
        lan_only: bool = False,
        source: str | None = None,
        record: Path | None = None,
        record_mixed: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> RoomView:
        """Make a room and go in; on the disk when this returns. Raises ``InvalidRoom``."""

    async def join(
        self,
        text: str,
        *,
        at: str = "",
        source: str | None = None,
        record: Path | None = None,
        record_mixed: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> RoomView:
        """Go in by name, code or link; returns when we are in, or have knocked.

        Raises ``RoomNotFound``, ``RoomSilent``, ``RoomRefused``, ``RoomCodeWrong``.
        """

    async def leave(self, room: str) -> RoomView:
        """Go, or do not wait any longer to be let in."""

    async def forget(self, room: str) -> None:
        """Leave it, and forget its secret."""

    def invite(self, room: str) -> RoomInviteView:
        """A link that leads in."""

    def code(self, room: str) -> RoomCodeView:
        """A new short code; the one before works no more."""

    def set_state(
        self,
        room: str,
        *,
        audio: bool | None = None,
        video: bool | None = None,
        screen: bool | None = None,
        hand: bool | None = None,
        speaking: bool | None = None,
    ) -> RoomView:
        """What the others are shown of us; None: as before."""

    async def share(self, room: str, source: str) -> RoomView:
        """Show the pictures of this source to all, beside our camera, in the place of what was shared before.

        Raises ``SourceUnusable``; ``UsageError`` in a room that a page is in, or for a daemon with workers.
        """

    def unshare(self, room: str) -> RoomView:
        """Share nothing any more."""

    def say(self, room: str, text: str) -> None:
        """A line of chat to all."""

    async def lock(self, room: str, *, locked: bool) -> RoomView:
        """Whether who comes without the secret knocks."""

    def admit(self, room: str, peer: str, *, admit: bool) -> RoomView:
        """Let in who knocks, or do not."""

    async def remove(self, room: str, peer: str) -> RoomView:
        """Put a member out for good."""

    async def block(self, room: str, peer: str, *, blocked: bool) -> RoomView:
        """See and hear nothing of a member, or do again."""

    def ask_layer(self, room: str, peer: str, kind: LayerKind, height: int, fps: int) -> None:
        """Tell a member how large its pictures are shown; by the ID of who is not there, nobody."""


class PagesApi(Protocol):
    """Pages that are open, and their calls' media."""

    def __len__(self) -> int:
        """How many are open."""

    def open(self, send: Callable[[ToPage], None]) -> str:
        """A page is there; returns its name. ``send`` must neither wait nor raise."""

    def receive(self, page: str, data: str) -> None:
        """A message of that page; whatever it is, nothing is raised."""

    def close(self, page: str) -> None:
        """It is gone, and its calls with it. Idempotent."""


class NodeApi(Protocol):
    """A running node."""

    @property
    def pages(self) -> PagesApi:
        """The pages."""

    @property
    def contacts(self) -> ContactsApi:
        """The contact book."""

    @property
    def settings(self) -> SettingsApi:
        """The settings."""

    @property
    def rooms(self) -> RoomsApi:
        """The rooms."""

    @property
    def dht(self) -> DhtApi:
        """What can be seen of the DHT."""

    def id_text(self) -> str:
        """Our ID: 56 characters."""

    def uri_text(self) -> str:
        """Our ID as a link, with our name if we have one."""

    def status(self) -> NodeStatus:
        """What the node is and does now."""

    async def netcheck(self) -> NetcheckView:
        """What the network lets us do, asked and measured now."""

    def relay_coturn(self) -> RelayCoturnView:
        """The configuration of a coturn that this node can lend."""

    def relay_credentials(self, seconds: int) -> RelayCredentialsView:
        """Credentials for the relay that we lend, good for so long."""

    def peers(self) -> list[PeerView]:
        """Contacts and peers on the LAN."""

    async def call(
        self,
        peer: str,
        *,
        source: str | None = None,
        record: Path | None = None,
        timeout: float = 60,
        wait: float = 0,
        page: str = "",
        video: bool = True,
    ) -> CallApi:
        """Start a call and return at once; what comes of it is told by ``events()``.

        ``timeout`` (s): how long the peer may ring; ``wait`` (s): how long to keep trying an offline peer.
        Raises for what is known at once: bad ID, own ID, unknown contact, unusable source or record target.
        """

    async def ping(self, peer: str, *, count: int, interval: float, until_direct: bool) -> PingApi:
        """Try the paths to a peer, without a call; returns at once. Raises as :meth:`call` does."""

    def calls(self) -> list[CallView]:
        """Live calls, and the last ended ones."""

    async def history(self, *, limit: int = 100, missed: bool = False) -> list[HistoryView]:
        """The newest calls, newest first; ``missed``: only those that nobody took."""

    async def see_missed(self, call_ids: Sequence[str]) -> None:
        """Somebody has looked at these missed calls."""

    def get_call(self, call_id: str | None) -> CallApi:
        """The call with this full ID; :class:`meshcall.errors.NoSuchCall`."""

    def create_invite(self, *, once: bool, expires: float) -> str:
        """A link that makes whoever opens it a contact; ``expires`` in seconds from now."""

    async def accept_invite(self, text: str) -> ContactView:
        """Make the inviter a contact, and tell it about us."""

    def events(self) -> AsyncIterator[NodeEvent]:
        """Events from now on. Subscribes when called, and is closed as a call's events are."""
