"""Whether others may route through us, found out by being dialled by strangers.

We ask a node (dial_back, with its token); it asks another one in a third network (dial), which says our nonce
to the address that the first saw us at (dialled).

    we --dial_back(token, nonce)--> helper --dial(token, nonce, our address)--> dialler
     ^------------------------------dialled(nonce)--------------------------------|

Law 1: a dial proves something only from an IP that we sent nothing to for a while, to which our NAT, if there
is one, has no opening, and only once per nonce.
Law 2: we route after ``DHT_DIAL_PROOFS`` networks reached us at one address and ``DHT_DIAL_STABLE`` passed;
we stop when proofs run out or our address is another one.
Law 3: a helper names only the address that asked, after its token, and each request sets off one datagram no
longer than itself; a dialler believes the helper, so what a liar gains is one small datagram for each of its
own, a few a second, and not twice to one IP address within ``DHT_DIAL_PAUSE``.
"""

from __future__ import annotations

from meshcall.address import Address, is_lan
from meshcall.dht.alarms import Alarm
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.compact import family, pack_address, unpack_address_untrusted
from meshcall.dht.core import Core
from meshcall.dht.limiter import Bucket
from meshcall.dht.messages import Dial, DialBack, Dialled, Refused, Response
from meshcall.dht.networks import region_of
from meshcall.dht.transactions import Call
from meshcall.limits import (
    DHT_CONTACTED_KEPT,
    DHT_DIAL_INTERVAL,
    DHT_DIAL_INTERVAL_MAX,
    DHT_DIAL_INTERVAL_PROVEN,
    DHT_DIAL_LIFE,
    DHT_DIAL_NONCES_KEPT,
    DHT_DIAL_PAUSE,
    DHT_DIAL_PROOFS,
    DHT_DIAL_QUIET,
    DHT_DIAL_STABLE,
    DHT_DIAL_WAIT,
    DHT_DIALS_PER_SECOND,
    DHT_TOKENS_KEPT,
)


class Roles:
    """Ephemeral or router: decides for one engine, and dials for others."""

    __slots__ = (
        "_alarm",
        "_budget",
        "_contacted",
        "_core",
        "_dialled",
        "_interval",
        "_nonces",
        "_place",
        "_proofs",
        "_since",
        "confined",
        "decides",
    )

    def __init__(self, core: Core, now: float, *, decides: bool) -> None:
        """``decides``: False where the role is given, as on a LAN."""
        self._core = core
        self.decides = decides
        self.confined = False
        """Our address is lent by a relay: nobody is to route through us, so nobody is asked to dial us."""
        self._contacted: ExpiringCache[str, bool] = ExpiringCache(DHT_CONTACTED_KEPT, DHT_DIAL_QUIET)
        self._nonces: ExpiringCache[bytes, str] = ExpiringCache(DHT_DIAL_NONCES_KEPT, DHT_DIAL_WAIT)
        """What we wait to be told, with the IP of the helper."""
        self._proofs: dict[bytes, float] = {}
        """Networks that reached us, with when they did last."""
        self._place: Address | None = None
        self._since = now
        self._interval = DHT_DIAL_INTERVAL
        self._budget = Bucket(DHT_DIALS_PER_SECOND, DHT_DIALS_PER_SECOND, now)
        self._dialled: ExpiringCache[str, bool] = ExpiringCache(DHT_TOKENS_KEPT, DHT_DIAL_PAUSE)
        self._alarm: Alarm = core.alarms.set(now + DHT_DIAL_INTERVAL, self._look)
        core.transactions.on_sent = self._sent

    @property
    def proofs(self) -> int:
        """Networks that have reached us."""
        return len(self._proofs)

    @property
    def since(self) -> float:
        """Since when we are at this address, monotonic seconds."""
        return self._since

    def _sent(self, address: Address, now: float) -> None:
        if self.decides:
            self._contacted.put(address[0], True, now)

    def forget(self, now: float) -> None:
        """We are elsewhere now."""
        self._proofs.clear()
        self._nonces.clear()
        self._place = None
        self._since = now
        self._interval = DHT_DIAL_INTERVAL
        self._alarm.cancel()
        self._alarm = self._core.alarms.set(now + DHT_DIAL_INTERVAL, self._look)
        self._decide(now)

    def _decide(self, now: float) -> None:
        if not self.decides:
            return
        self._proofs = {n: when for n, when in self._proofs.items() if now - when < DHT_DIAL_LIFE}
        enough = len(self._proofs) >= DHT_DIAL_PROOFS
        routes = enough and (self._core.routes or now - self._since >= DHT_DIAL_STABLE)
        if routes != self._core.routes:
            self._core.counters["role-router" if routes else "role-ephemeral"] += 1
            self._core.routes = routes

    # --- for us ---

    def _look(self, now: float) -> None:
        """From time to time: is our address the same, are there proofs enough, ask for another one."""
        core = self._core
        here = core.observed(4) or core.observed(6)
        if self.decides and here is not None and not self.confined:
            if self._place is not None and here != self._place:
                core.counters["address-changed"] += 1
                self._place = here
                self._proofs.clear()
                self._since, self._interval = now, DHT_DIAL_INTERVAL
            self._place = here
            self._decide(now)
            self._ask(here, now)
        enough = len(self._proofs) >= DHT_DIAL_PROOFS
        pause = DHT_DIAL_INTERVAL_PROVEN if enough else self._interval
        if enough and not core.routes:
            pause = min(pause, max(1.0, self._since + DHT_DIAL_STABLE - now))
        self._interval = min(2 * self._interval, DHT_DIAL_INTERVAL_MAX)
        self._alarm = core.alarms.set(now + pause, self._look)

    def _ask(self, here: Address, now: float) -> None:
        core = self._core
        helpers = [c for c in core.tables[family(here)] if not c.failures]
        if not helpers:
            return
        helper = helpers[int.from_bytes(core.random(4), "big") % len(helpers)]
        nonce = core.random(8)
        self._nonces.put(nonce, helper.ip, now)
        self._request_dial(helper.address, nonce, now, self)

    def _request_dial(self, helper: Address, nonce: bytes, now: float, listener: Roles | None) -> None:
        core = self._core
        token = core.tokens.get(helper, now) or b""
        core.transactions.request(
            helper, lambda tid: DialBack(tid, core.node_id, core.flags, token, nonce), listener, now
        )

    def on_dialled(self, message: Dialled, address: Address, now: float) -> None:
        """Somebody says a nonce."""
        core = self._core
        helper = self._nonces.get(message.nonce, now)
        if helper is None or region_of(helper) == region_of(address[0]):
            core.counters["dialled-unasked"] += 1
            return
        self._nonces.discard(message.nonce)
        if self._contacted.get(address[0], now):
            core.counters["dialled-known"] += 1
            return
        core.counters["dialled"] += 1
        self._interval = DHT_DIAL_INTERVAL
        self._proofs[region_of(address[0])] = now
        self._decide(now)

    # --- for others ---

    def dial_back(self, request: DialBack, address: Address, now: float) -> bool:
        """Pass it on to a node in a third network; whether there is one, and time for it."""
        core = self._core
        regions = {region_of(address[0])}
        here = core.observed(family(address))
        if here is not None:
            regions.add(region_of(here[0]))
        able = [
            c
            for c in core.tables[family(address)]
            if not c.failures and region_of(c.ip) not in regions and is_lan(c.ip) == is_lan(address[0])
        ]
        if not able or not self._may_dial(address, now):
            return False
        dialler = able[int.from_bytes(core.random(4), "big") % len(able)]
        self._pass_on(dialler.address, request.nonce, pack_address(address), now, self)
        return True

    def _pass_on(
        self, dialler: Address, nonce: bytes, packed: bytes, now: float, listener: Roles | None
    ) -> None:
        core = self._core
        token = core.tokens.get(dialler, now) or b""
        core.transactions.request(
            dialler, lambda tid: Dial(tid, core.node_id, core.flags, token, nonce, packed), listener, now
        )

    def dial(self, request: Dial, address: Address, now: float) -> bool:
        """Say the nonce to the address that the helper names; whether that is done."""
        core = self._core
        target = unpack_address_untrusted(request.address)
        if core.is_martian(target, address) or core.is_own(target) or target[0] == address[0]:
            core.counters["dial-martian"] += 1
            return False
        if not self._may_dial(target, now):
            return False
        core.send(Dialled(request.tid, core.node_id, core.flags, request.nonce), target)
        return True

    def _may_dial(self, target: Address, now: float) -> bool:
        if self._dialled.get(target[0], now) or not self._budget.take(now):
            self._core.counters["dials-full"] += 1
            return False
        self._dialled.put(target[0], True, now)
        return True

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """The helper or the dialler did it, or wants a fresh token: asked once more (Listener)."""
        request = call.request
        if isinstance(message, Refused) and isinstance(request, Dial):
            self._pass_on(call.address, request.nonce, request.address, now, None)
        elif isinstance(message, Refused) and isinstance(request, DialBack):
            self._request_dial(call.address, request.nonce, now, None)

    def on_slow(self, call: Call, now: float) -> None:
        """It was sent again (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """Who asked will ask somebody else (Listener)."""
