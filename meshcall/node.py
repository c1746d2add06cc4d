"""A node: the public face of meshcall.

    async with Node(Config.lan(home)) as node:
        call = await node.call("alice")
        await call.wait_connected()

Law 1: one TaskGroup owns every task; when the node is left, nothing of it runs any more.
Law 2: nothing that a peer does ends the node; a bug in one call ends that call, and is logged.
Law 3: what a user asks for raises :class:`meshcall.errors.MeshcallError` or is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from meshcall import __version__, limits, surroundings
from meshcall.address import Address, format_address, parse_place
from meshcall.admission import Admission
from meshcall.aio.carrier import DhtCarrier
from meshcall.aio.clock import Clock, SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.files import HomeLock, StateDb, open_home
from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.port import IcePort
from meshcall.aio.lan import Lan
from meshcall.aio.mainline import Mainline
from meshcall.aio.nat import NatWatch
from meshcall.aio.network import NetworkWatcher
from meshcall.aio.page.desk import PageDesk
from meshcall.aio.portmap import PortMapper
from meshcall.aio.udp import UdpPort
from meshcall.aio.worker.pool import Workers
from meshcall.bootstrap_ladder import BootstrapLadder
from meshcall.broadcast import Broadcast
from meshcall.call.ping import PingPlan
from meshcall.config import Config
from meshcall.contacts import ContactBook
from meshcall.dht.compact import is_public
from meshcall.dht.saved import saved_contacts
from meshcall.dht_tools import DhtTools, resolve_place
from meshcall.errors import MeshcallError, StateUnwritable
from meshcall.finder import Finder
from meshcall.handover import Handover
from meshcall.history import History
from meshcall.ice.nat import NatView
from meshcall.ice.network import Network
from meshcall.identity.keys import Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import PeerUri
from meshcall.introductions import Introductions
from meshcall.last_run import (
    TableFile,
    identity_of,
    mapping_secret_of,
    node_key_of,
    open_port,
)
from meshcall.letters import Letter
from meshcall.media.endpoint import MediaEndpoint
from meshcall.media.page import IceServerView
from meshcall.media.plan import MediaPlan, parse_ice_server
from meshcall.media_loader import make_endpoint, prepare_media, probe_source
from meshcall.missed import MissedNotes
from meshcall.netcheck import Netcheck, Sources
from meshcall.netcheck_views import NetcheckView
from meshcall.portmap.mapping import Service
from meshcall.post import Post
from meshcall.relay_finder import RelayFinder
from meshcall.relay_role import RelayRole
from meshcall.rendezvous_keys import RendezvousKeys
from meshcall.room_board import RoomBoard
from meshcall.room_links import LinkTools
from meshcall.rooms import Rooms
from meshcall.settings import SettingsBook
from meshcall.signaling.invite import Invite
from meshcall.signaling.messages import (
    ContactRequest,
    Hangup,
    HangupReason,
    Missed,
    Offer,
    PingOffer,
    RoomLetter,
)
from meshcall.switchboard import Switchboard
from meshcall.tunnels import Tunnels
from meshcall.turn.gateways import is_gateway
from meshcall.turn.grant import contact_key
from meshcall.views import (
    CallView,
    ContactRequested,
    ContactsChanged,
    ContactView,
    DhtStatusView,
    HistoryView,
    Lagged,
    LanStatus,
    NodeEvent,
    NodeStatus,
    PeerView,
    PortMappingView,
    Presence,
    PresenceChanged,
    RelayCoturnView,
    RelayCredentialsView,
    RelayView,
    SettingsChanged,
    SettingsView,
    Warned,
)

if TYPE_CHECKING:
    from meshcall.pinger import Ping, Pinger
    from meshcall.session import Call

_log = logging.getLogger("meshcall.node")


class Node:
    """One identity on one machine: reachable, calling and called. Use it as an async context manager."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        passphrase: str | None = None,
    ) -> None:
        """Nothing is opened yet. ``passphrase`` unlocks the key, if it is locked."""
        self.config = config
        self._clock = clock or SystemClock()
        self._random = random or system_random
        self._passphrase = passphrase
        self._events: Broadcast[NodeEvent] = Broadcast(limits.EVENTS_UNREAD_MAX, self._lagged)
        self._work: set[asyncio.Task[None]] = set()
        self._counters: Counter[str] = Counter()
        self._warnings: list[str] = []
        self._started = 0.0
        self._stack = contextlib.AsyncExitStack()
        self._group: asyncio.TaskGroup
        self._settings: SettingsBook
        self._identity: SigningKey
        self._state: StateDb
        self._udp: UdpPort
        self._ice: IcePort
        self._service: Service
        self._port_mapper: PortMapper
        self._nat: NatWatch
        self._dht: DhtNode
        self._dht_tools: DhtTools
        self._post: Post
        self._finder: Finder
        self._handover: Handover
        self._introductions: Introductions
        self._history: History
        self._missed: MissedNotes
        self._pages = PageDesk(
            clock=self._clock,
            random=self._random,
            counters=self._counters,
            servers=self._page_servers,
        )
        self._workers: Workers | None = None
        """The media of calls; None: they are in this process."""
        self._calls: Switchboard
        self._admission: Admission
        self._rooms: Rooms
        self._pings: Pinger | None = None
        self._netcheck: Netcheck
        self._relay: RelayRole
        self._relays: RelayFinder
        self._carrier: DhtCarrier
        self._tunnels: Tunnels | None = None
        self._lan: Lan
        self._ladder: BootstrapLadder
        self._contacts: ContactBook
        self._me: PeerId
        self._open = False

    # --- start and stop ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start. Raises :class:`MeshcallError` for a home, key, port or state that can't be used."""
        try:
            await self._start()
        except BaseException:
            self._open = False
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        stack, clock, config = self._stack, self._clock, self.config
        self._started = clock.now()
        home = open_home(config.home)
        lock = HomeLock(home)
        lock.acquire()
        stack.callback(lock.release)
        self._settings = SettingsBook(home.settings, config, on_change=self._settings_changed)
        if self._settings.warning:
            self._warn(self._settings.warning)
        self._identity = identity_of(home, self._passphrase, self._random)
        self._me = PeerId.from_key(self._identity.public)
        self._state = StateDb.open(home.state, now_ms=clock.now_ms())
        stack.callback(self._state.close)
        for warning in self._state.warnings:
            self._warn(warning)
        self._state.end_open_calls(clock.now_ms(), "shutdown")
        self._contacts = ContactBook(
            self._me,
            self._state,
            clock.now_ms,
            self._contacts_changed,
            before_leaving=lambda row: self._handover.leaves(row),
        )
        keys = RendezvousKeys(
            self._me, self._state, clock=clock, random=self._random, contacts_only=config.contacts_only
        )
        self._udp = await open_port(config.port, self._state)
        stack.push_async_callback(self._udp.close)
        stack.push_async_callback(self._close_tunnels)
        self._ice = IcePort(
            self._udp,
            counters=self._counters,
            answers=True,
            mapped=self._mapped,
            path_lost=lambda: self._dht.look_around(),
            network=self.network,
        )
        self._service = Service("udp", self._udp.port)
        # A relay that was asked for is a way in by TCP, too, for those whose UDP is blocked
        listens = config.relay and config.relay_port is None
        self._port_mapper = PortMapper(
            [self._service, *([Service("tcp", self._udp.port)] if listens else [])],
            clock=clock,
            random=self._random,
            secret=mapping_secret_of(self._state, self._random),
            interfaces=config.interfaces,
            enabled=config.port_mapping and not config.lan_only,
        )
        stack.push_async_callback(self._port_mapper.close)
        table = TableFile(home.dht, clock.now_ms)
        saved, damage = table.load()
        if damage:
            self._warn(damage)
        self._carrier = DhtCarrier(self._udp, random=self._random)
        node_key = node_key_of(self._state, self._random)
        self._dht = DhtNode(
            self._carrier,
            node_key=node_key,
            clock=clock,
            random=self._random,
            lan=config.lan_only,
            state=saved,
            on_notify=lambda notify: self._post.on_notify(notify),
            on_state=lambda octets: self._spawn(table.keep(octets)),
        )
        self._nat = self._ice.nat = NatWatch(self._dht, self._udp, clock=clock, random=self._random)
        await self._dht.start()
        stack.push_async_callback(self._dht.close)
        stack.callback(lambda: table.save(self._dht.save()))
        self._relay = RelayRole(
            config,
            self._state,
            self._dht,
            self._ice,
            self._udp,
            node_key=node_key,
            clock=clock,
            random=self._random,
            secrets=keys.secrets,
            on_warning=self._warn,
        )
        stack.push_async_callback(self._relay.close)
        self._carrier.outside, self._carrier.inside = self._relay.outside, self._relay.inside
        await self._relay.start()
        hosts = tuple(text for text in config.bootstrap if not is_gateway(text))
        self._dht_tools = DhtTools(
            self._dht,
            self._me,
            self._contacts,
            clock=clock,
            enabled=self._uses_dht,
            bootstrap=hosts,
            saved_ms=lambda: table.saved_ms,
        )
        self._lan = Lan(
            config,
            self._me,
            port=self._udp.port,
            clock=clock,
            random=self._random,
            name=lambda: self._settings.now.name if self._settings.now.visible else None,
            known=self._contacts.peer_ids,
            on_change=self._lan_changed,
            on_service=lambda: self._ladder.lan_changed(),
            rooms=lambda: self._rooms.announcements(),
            on_rooms=lambda: self._rooms.lan_changed(),
        )
        self._ladder = BootstrapLadder(
            self._dht,
            clock=clock,
            hosts=hosts,
            lan_only=config.lan_only,
            lan_services=self._lan.services,
            saved=saved_contacts(saved),
            mainline=self._mainline(),
            on_joined=self._joined,
            on_warning=self._warn,
        )
        if config.media_workers:
            self._workers = Workers()
            stack.push_async_callback(self._workers.close)
        self._group = await stack.enter_async_context(asyncio.TaskGroup())
        if not config.lan_only:
            self._tunnels = Tunnels(
                self._carrier,
                self._dht,
                self._ice,
                clock=clock,
                random=self._random,
                state=self._state,
                gateways=[text for text in config.bootstrap if is_gateway(text)],
                lenders=lambda: self._relays.streams(),
                contact_keys=lambda: [contact_key(row.secret) for row in self._contacts.rows() if row.secret],
                on_changed=self._way_changed,
                spawn=self._spawn,
                counters=self._counters,
            )
        self._finder = Finder(
            self._dht,
            clock=clock,
            lan_addresses=lambda peer: self._lan.addresses(peer) or self._rooms.reached(peer),
            use_dht=self._uses_dht,
            counters=self._counters,
            secret_of=self._contacts.secret,
        )
        self._relays = RelayFinder(
            self._dht,
            clock=clock,
            random=self._random,
            secrets=lambda: [row.secret for row in self._contacts.rows() if row.secret],
            spawn=self._spawn,
            counters=self._counters,
            udp_blocked=lambda: self._carrier.tunnel is not None,
        )
        self._ice.lenders = self._relays
        self._admission = admission = Admission(
            self._contacts,
            accept_strangers=lambda: self._settings.now.accept_strangers,
            answer_pings=config.answer_pings,
            now=clock.now,
            is_open=lambda: self._open,
            in_call=lambda peer: self._calls.live(peer) is not None or self._rooms.has_link(peer),
            is_mate=lambda peer: self._rooms.is_mate(peer),
            has_room=lambda: self._rooms.has_any(),
        )
        self._post = Post(
            self._identity,
            self._dht,
            self._state,
            keys,
            clock=clock,
            random=self._random,
            use_dht=self._uses_dht,
            admit=admission.admits,
            charge=admission.spend,
            trusts=admission.trusts,
            on_letter=self._letter,
            on_warning=self._warn,
            spawn=self._spawn,
            counters=self._counters,
            presence_name=lambda: self._settings.now.name if self._settings.now.visible else "",
        )
        stack.callback(self._post.close)
        self._handover = Handover(
            keys,
            self._contacts,
            name=lambda: self._settings.now.name,
            post=self._post,
            finder=self._finder,
            clock=clock,
            spawn=self._spawn,
            counters=self._counters,
        )
        self._introductions = Introductions(
            self._me,
            lambda: self._settings.now.name,
            contacts=self._contacts,
            state=self._state,
            post=self._post,
            handover=self._handover,
            clock=clock,
            random=self._random,
            spawn=self._spawn,
            bootstrap=self._invited,
            on_contact=self._contact_made,
            on_warning=self._warn,
        )
        self._history = History(
            self._state,
            self._contacts,
            clock=clock,
            spawn=self._spawn,
            publish=self._events.publish,
            counters=self._counters,
        )
        self._missed = MissedNotes(
            self._state,
            self._contacts,
            post=self._post,
            finder=self._finder,
            clock=clock,
            in_call=lambda peer: self._calls.live(peer) is not None,
            counters=self._counters,
        )
        self._calls = Switchboard(
            self._me,
            config,
            self._settings,
            identity=self._identity,
            contacts=self._contacts,
            post=self._post,
            finder=self._finder,
            secrets=self._handover,
            history=self._history,
            missed=self._missed,
            make_endpoint=self._make_endpoint,
            prepare_media=self._prepare_media,
            probe_source=self._probe_source,
            clock=clock,
            random=self._random,
            spawn=self._spawn,
            publish=self._events.publish,
            counters=self._counters,
            network=self.network,
        )
        self._rooms = Rooms(
            self._me,
            config,
            tools=LinkTools(
                identity=self._identity,
                name=lambda: self._settings.now.name,
                contacts=self._contacts,
                post=self._post,
                finder=self._finder,
                secrets=self._handover,
                make_endpoint=self._make_endpoint,
                prepare_media=self._prepare_media,
                clock=clock,
                random=self._random,
                spawn=self._spawn,
                counters=self._counters,
                network=self.network,
            ),
            state=self._state,
            lan=self._lan,
            base_plan=self._calls.plan,
            is_verified=self._is_verified,
            publish=self._events.publish,
            board=RoomBoard(self._dht, clock, self._random),
            reach=self._reach,
            nodes=lambda: self._way_in()[0],
        )
        self._pages.on_gone = self._rooms.page_gone
        self._netcheck = Netcheck(
            self._dht,
            self._lan,
            port=self._udp.port,
            bootstrap=config.bootstrap,
            policy=HostPolicy(config.interfaces, "lo" in config.interfaces),
            mdns=config.mdns,
            sources=Sources(
                nat=self.nat,
                clock_skew=self._post.clock_skew,
                relays=self.relays,
                lender=lambda: self._relays.pick(()),
                port_mapping=self.port_mapping,
                tunnel=lambda: None if self._tunnels is None else self._tunnels.shown,
            ),
            clock=clock,
            random=self._random,
        )
        # Before anything runs: a start that fails from here on must stop what never ends by itself
        tasks: list[asyncio.Task[None]] = []
        stack.push_async_callback(self._lan.close)
        stack.push_async_callback(self._wind_up, tasks)
        tasks.append(self._keep_up(self._port_mapper.run))
        self._open = True  # from the first watch on, an offer that waited for us may come
        await self._post.refresh()
        tasks += [self._keep_up(work.run) for work in (self._post, self._missed, self._handover)]
        self._rooms.start()
        if config.mdns:
            await self._lan.start()
        watcher = NetworkWatcher(self._network_changed, clock=clock, names=config.interfaces)
        tasks += [self._keep_up(work.run) for work in (self._ladder, watcher, self._nat)]
        if self._uses_dht and not config.lan_only:
            tasks.append(self._keep_up(self._relays.run))
        if config.relay is not False:
            tasks.append(self._keep_up(self._relay.run))
        if self._tunnels is not None:
            tasks.append(self._keep_up(self._tunnels.run))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every call, tell the peers, give everything back."""
        self._open = False
        # Not told of ``error``: the TaskGroup would wrap the user's own exception
        await self._stack.aclose()

    async def _wind_up(self, tasks: list[asyncio.Task[None]]) -> None:
        """Before the TaskGroup is left: hang up, let the messages leave, stop what runs for ever."""
        if self._tunnels is not None:
            self._tunnels.stop()
        try:
            live = [call for call in self._calls if not call.ended]
            for call in live:
                await call.shut_down()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.SHUTDOWN_PATIENCE):
                    await self._rooms.close()
            if self._pings is not None:
                await self._pings.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.SHUTDOWN_PATIENCE):
                    for call in live:
                        await call.wait_ended()
                    while self._work:
                        await asyncio.wait(self._work)
        finally:
            for task in [*self._work, *tasks]:
                task.cancel()
            self._events.close()

    @property
    def _uses_dht(self) -> bool:
        """On a LAN alone the DHT is made of those whom mDNS finds."""
        return self.config.mdns or not self.config.lan_only

    def network(self) -> Network:
        """What we know of the network that we are in."""
        servers = self.config.ice_servers
        found = surroundings.look(
            observed=self._dht.engine.observed(),
            rungs=self._ladder.status(),
            nat=self._nat.view(),
            port_mapping=self._port_mapper.view().state,
            relays=self._relays.ready() + sum(text.startswith("turn") for text in servers),
        )
        return found if self._carrier.tunnel is None else replace(found, udp=False)

    def _mainline(self) -> Mainline | None:
        """The last rung of the ladder, if it is wanted and there."""
        config = self.config
        if config.lan_only or not config.mainline or not Mainline.is_available():
            return None
        return Mainline(config.mainline_bootstrap, clock=self._clock)

    def _mapped(self) -> set[Address]:
        """Our UDP port's addresses elsewhere; by a tunnel others see the gateway's, which is none of them."""
        if self._carrier.tunnel is not None:
            return set()
        return {*self._port_mapper.external(self._service), *self._dht.engine.observed()}

    def _way_changed(self, gateway_node: Address | None) -> None:
        """The DHT goes by a tunnel now, with a node at its other end, or by UDP again: as if elsewhere."""
        self._dht.engine.confine(gateway_node is not None)
        self._finder.network_changed()
        self._dht.network_changed()
        self._ladder.network_changed()
        self._post.hasten()
        if gateway_node is not None:
            self._spawn(self._join_at(gateway_node))

    async def _close_tunnels(self) -> None:
        if self._tunnels is not None:
            await self._tunnels.close()

    async def _join_at(self, node: Address) -> None:
        await self._dht.bootstrap([node])

    def _joined(self) -> None:
        """The DHT has let us in."""
        self._post.hasten()
        self._relays.hasten()

    def _network_changed(self) -> None:
        """Other interfaces, addresses or routes, or back from sleep."""
        if self._tunnels is not None:
            self._tunnels.network_changed()
        self._ice.network_changed()
        self._finder.network_changed()
        self._nat.network_changed()
        self._dht.network_changed()
        self._ladder.network_changed()
        self._port_mapper.network_changed()
        self._relays.hasten()
        self._post.hasten()
        self._rooms.network_changed()
        self._spawn(self._lan.network_changed())

    # --- tasks ------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(self._guard(work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began
        return task

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """A bug in one piece of work is logged and counted; it does not end the node."""
        try:
            await work
        except StateUnwritable as error:
            self._warn(str(error))
        except Exception:  # noqa: BLE001 - that is the point
            self._counters["bugs"] += 1
            _log.exception("a task failed")

    def _keep_up(self, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Work that lasts as long as the node: after a bug it begins anew."""

        async def keep_up() -> None:
            while True:
                await self._guard(run())
                await asyncio.sleep(limits.WORK_RESTART)

        return self._group.create_task(keep_up())

    # --- who we are -------------------------------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        """Our ID."""
        return self._me

    def nat(self, family: int = 4) -> NatView:
        """What is known of the NAT before our UDP port, for IPv4 or IPv6."""
        return self._nat.view(family)

    @property
    def contacts(self) -> ContactBook:
        """The contact book."""
        return self._contacts

    @property
    def settings(self) -> SettingsBook:
        """What people set while the node runs."""
        return self._settings

    @property
    def rooms(self) -> Rooms:
        """The rooms."""
        return self._rooms

    @property
    def dht(self) -> DhtTools:
        """What can be seen of the DHT."""
        return self._dht_tools

    @property
    def pages(self) -> PageDesk:
        """The call pages that are open."""
        return self._pages

    @property
    def port(self) -> int:
        """Our UDP port."""
        return self._udp.port

    def id_text(self) -> str:
        """Our ID: 56 characters."""
        return self._me.text

    def uri(self) -> PeerUri:
        """Our ID as a link, with our name if we have one."""
        return PeerUri(self._me, self._settings.now.name)

    def uri_text(self) -> str:
        """The link as text."""
        return self.uri().format()

    def status(self) -> NodeStatus:
        """What the node is and does now."""
        dht = self._dht.status()
        observed = [format_address(a) for a in (dht.observed4, dht.observed6) if a is not None]
        counters = self._counters + Counter(self._udp.statistics().counters)
        counters += Counter(dht.counters) + self._lan.counters + self._ladder.counters
        counters += Counter(self._port_mapper.counters())
        counters += self._relay.counters()
        warnings = list(self._warnings)
        if self._lan.fault:
            warnings.append(f"discovery on the LAN does not work: {self._lan.fault}")
        return NodeStatus(
            peer_id=self._me.text,
            name=self._settings.now.name,
            port=self._udp.port,
            addresses=observed,
            lan=LanStatus(enabled=self.config.mdns, peers=self._lan.count()),
            dht=DhtStatusView(
                enabled=self._uses_dht,
                nodes=dht.contacts,
                stored=dht.records.values,
                watches=sum(dht.own_watches.values()),
                role="router" if dht.routes else "ephemeral",
                bootstrap=self._ladder.status(),
                announced=self._ladder.announced,
                tunnel=self._tunnels.shown if self._tunnels is not None else "",
            ),
            port_mapping=self.port_mapping(),
            relay=self._relay.view(),
            relays=self._relays.ready(),
            calls=self._calls.live_count(),
            rooms=self._rooms.count(),
            missed=self._history.unseen,
            uptime_s=round(self._clock.now() - self._started, 1),
            version=__version__,
            counters=dict(sorted(counters.items())),
            warnings=warnings,
        )

    def port_mapping(self) -> PortMappingView:
        """Whether a router lets others in to our port."""
        return self._port_mapper.view()

    async def relays(self) -> list[RelayView]:
        """The relays that calls may use: configured ones, measured now, and those that others lend."""
        return await self._relays.views(self.config.ice_servers)

    async def netcheck(self) -> NetcheckView:
        """What the network lets us do, asked and measured now; takes up to a few seconds."""
        return await self._netcheck.check()

    def relay_coturn(self) -> RelayCoturnView:
        """The configuration of a coturn that this node can lend."""
        return self._relay.coturn()

    def relay_credentials(self, seconds: int) -> RelayCredentialsView:
        """Credentials for our relay, good for so long. Raises :class:`RelayOff`."""
        return self._relay.credentials(seconds)

    def peers(self) -> list[PeerView]:
        """Contacts, by name, then who else is on the LAN and lets itself be seen."""
        views = [self._peer_view(PeerId.parse(contact.peer_id)) for contact in self._contacts.list()]
        known = {view.peer_id for view in views}
        strangers = [peer for peer in self._lan.peers() if peer.text not in known and peer != self._me]
        return views + [self._peer_view(peer) for peer in strangers]

    def _peer_view(self, peer: PeerId) -> PeerView:
        row = self._contacts.get(peer)
        addresses = self._lan.addresses(peer)
        presence: Presence = "lan" if addresses else self._finder.presence(peer)
        return PeerView(
            peer_id=peer.text,
            short=peer.short,
            name=row.name if row else "",
            self_name=self._lan.self_name(peer),
            contact=row is not None,
            verified=row.verified if row else False,
            blocked=row.blocked if row else False,
            presence=presence,
            addresses=[format_address(address) for address in addresses],
            last_seen_ms=self._lan.last_seen_ms(peer),
        )

    # --- events -----------------------------------------------------------------------------------

    def events(self) -> AsyncIterator[NodeEvent]:
        """Events of all calls and of the node, from now on."""
        return self._events.subscribe()

    def _lagged(self, dropped: int) -> NodeEvent:
        return Lagged(at_ms=self._clock.now_ms(), dropped=dropped)

    def _warn(self, message: str) -> None:
        if message in self._warnings:
            return
        _log.warning("%s", message)
        self._warnings.append(message)
        del self._warnings[: -limits.WARNINGS_MAX]
        self._events.publish(Warned(at_ms=self._clock.now_ms(), message=message))

    def _contacts_changed(self) -> None:
        self._lan.contacts_changed()
        self._calls.contacts_changed()
        self._rooms.contacts_changed()
        self._events.publish(ContactsChanged(at_ms=self._clock.now_ms()))

    def _settings_changed(self, before: SettingsView) -> None:
        """Those who see us see it at once; what is asked when a call comes needs no telling."""
        now = self._settings.now
        if (now.name, now.visible) != (before.name, before.visible):
            self._post.hasten()
            self._spawn(self._lan.announce())
        self._events.publish(SettingsChanged(at_ms=self._clock.now_ms(), settings=now))

    def _lan_changed(self, peer: PeerId) -> None:
        view = self._peer_view(peer)
        if view.presence == "lan":
            self._missed.sighted(peer)
        self._events.publish(PresenceChanged(at_ms=self._clock.now_ms(), peer=view))

    # --- calls ------------------------------------------------------------------------------------

    async def call(
        self,
        peer: str | PeerId,
        *,
        source: str | None = None,
        record: Path | None = None,
        timeout: float = limits.CALL_RING,
        wait: float = 0,
        page: str = "",
        video: bool = True,
    ) -> Call:
        """Start a call and return at once; what comes of it is told by ``call.events()``.

        ``timeout`` (s): how long the peer may ring; ``wait`` (s): how long to keep trying an offline peer.
        ``page``: the open page whose browser carries the media; ``video``: pictures, too.
        Calling somebody who is calling us answers. Raises for what is known at once: bad ID, own ID, unknown
        contact, unusable source or record target, too many calls.
        """
        peer_id = peer if isinstance(peer, PeerId) else self._contacts.resolve(peer)
        return await self._calls.dial(
            peer_id, source=source, record=record, timeout=timeout, wait=wait, page=page, video=video
        )

    async def ping(
        self,
        peer: str | PeerId,
        *,
        count: int = limits.PING_COUNT,
        interval: float = limits.PING_INTERVAL,
        until_direct: bool = False,
    ) -> Ping:
        """Try the paths to a peer, without a call; returns at once, ``events()`` tells what comes of it.

        ``count`` probes, one each ``interval`` seconds; ``until_direct``: no more after the first reply that
        no relay carried. Only contacts are answered. Raises as :meth:`call` does.
        """
        peer_id = peer if isinstance(peer, PeerId) else self._contacts.resolve(peer)
        return self._pinger.ping(peer_id, PingPlan(count, interval, until_direct))

    def _prepare_media(self) -> None:
        """Somebody calls: our own media engine is loaded, unless a page is open that has one."""
        if len(self._pages):
            return
        if self._workers is None:
            prepare_media()
        else:
            self._workers.prepare()

    async def _probe_source(self, source: str) -> None:
        if self._workers is None:
            await probe_source(source)
        else:
            await self._workers.probe(source)

    async def _make_endpoint(self, plan: MediaPlan) -> MediaEndpoint:
        if plan.page:
            return self._pages.make(plan)
        if self._workers is not None:
            return await self._workers.make(plan, self._ice, self._lan.resolve_untrusted)
        return await make_endpoint(plan, self._ice, self._lan.resolve_untrusted)

    def _page_servers(self) -> list[IceServerView]:
        """What a browser may ask for its address and for a relay: peers, and what the user named."""
        found = [IceServerView(urls=[f"stun:{format_address(one)}"]) for one in self._dht.neighbours(4)]
        for text in self.config.ice_servers:
            server = parse_ice_server(text)
            found.append(
                IceServerView(urls=[server.uri], username=server.username, credential=server.credential)
            )
        return [*found, *self._relays.page_servers()]

    @property
    def _pinger(self) -> Pinger:
        """Made when the first ping comes or goes: a node that only listens does without a megabyte of ICE."""
        if self._pings is None:
            from meshcall.aio.ice.checking import make_ice
            from meshcall.pinger import Pinger

            self._pings = Pinger(
                self._me,
                post=self._post,
                finder=self._finder,
                make_ice=lambda on_event: make_ice(self.config, self._ice, self._counters, on_event),
                name_of=self._contacts.name,
                network=self.network,
                clock=self._clock,
                random=self._random,
                spawn=self._spawn,
                counters=self._counters,
                allow_loopback="lo" in self.config.interfaces,
            )
        return self._pings

    def calls(self) -> list[CallView]:
        """Live calls, and the last ended ones, newest first."""
        return self._calls.views()

    async def history(self, *, limit: int = 100, missed: bool = False) -> list[HistoryView]:
        """The newest calls, newest first; ``missed``: only those that nobody took."""
        return await self._history.calls(limit=limit, missed=missed)

    async def see_missed(self, call_ids: Sequence[str]) -> None:
        """Somebody has looked at these missed calls: they are not counted any more."""
        await self._history.see(call_ids)

    def get_call(self, call_id: str | None) -> Call:
        """The call with that ID, or the only live one; raises :class:`NoSuchCall`."""
        return self._calls.get(call_id)

    # --- letters ----------------------------------------------------------------------------------

    def _letter(self, letter: Letter) -> None:
        """A message passed all gates."""
        if not self._open:
            return
        opened = letter.opened
        self._missed.sighted(opened.sender)
        if isinstance(opened.message, RoomLetter):
            self._rooms.letter(letter)
            return
        if self._rooms.link_letter(letter) or opened.message == Hangup(HangupReason.LINK):
            return
        if isinstance(opened.message, Offer) and not self._admission.may_ring(opened.sender):
            self._counters["offer-of-room-mate"] += 1  # it may write, for it is in a room with us, not call
            return
        if isinstance(opened.message, ContactRequest):
            self._introductions.requested(opened.sender, opened.message)
            return
        if isinstance(opened.message, Missed):
            self._history.told(opened.sender, opened.message)
            return
        is_ping = isinstance(opened.message, PingOffer) or opened.message == Hangup(HangupReason.PING)
        if not ((is_ping or self._pings is not None) and self._pinger.letter(letter)):
            self._calls.letter(letter)

    # --- invites ----------------------------------------------------------------------------------

    def create_invite(self, *, once: bool, expires: float) -> str:
        """A link that makes whoever opens it a contact; ``expires`` in seconds from now."""
        nodes, gateways = self._way_in()
        return self._introductions.invite(once=once, expires=expires, nodes=nodes, gateways=gateways).format()

    def _way_in(self) -> tuple[list[Address], list[Address]]:
        """DHT nodes and gateways through which whoever gets a link of ours can find us."""
        dht = self._dht.status()
        mapped = [one for one in self._port_mapper.external(self._service) if ":" not in one[0]]
        four = mapped[0] if mapped else dht.observed4
        ours = [address for address in (four, dht.observed6) if address is not None]
        if self._tunnels is not None and self._tunnels.node is not None:
            ours = [self._tunnels.node]  # a relayed address is gone tomorrow
        nodes = [*ours, *self._dht.neighbours()]
        if any(is_public(address) for address in ours):
            nodes = [address for address in nodes if is_public(address)]  # a LAN's mean nothing elsewhere
        gateways = [*self._relay.gateways(), *(self._tunnels.known() if self._tunnels is not None else ())]
        return nodes, gateways

    async def _invited(self, invite: Invite) -> None:
        """Join through what an invite names."""
        if self._tunnels is not None:
            self._tunnels.invited(invite.gateways)
        await self._ladder.invited(invite.nodes)

    async def accept_invite(self, text: str) -> ContactView:
        """Make the inviter a contact, and tell it about us.

        When the inviter is offline it is told later, while the invite is valid and this node runs.
        """
        return await self._introductions.accept(text)

    # --- rooms ------------------------------------------------------------------------------------

    def _is_verified(self, peer: PeerId) -> bool:
        row = self._contacts.get(peer)
        return row is not None and row.verified

    async def _reach(self, text: str) -> list[Address]:
        """Ask the machine at HOST or HOST:PORT who is there, by mDNS and as a DHT node; where that may be."""
        host, port = parse_place(text)
        places = await resolve_place(host, port or self._udp.port)
        for place in places:
            self._lan.ask(place[0])
            if port:
                self._spawn(self._join_at(place))
        return places if port else []

    def _contact_made(self, contact: ContactView) -> None:
        self._events.publish(ContactRequested(at_ms=self._clock.now_ms(), contact=contact))


__all__ = ["Config", "MeshcallError", "Node"]
