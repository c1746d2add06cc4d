"""An ICE agent (RFC 8445, RFC 8838, RFC 7675): a pure machine that finds a path, keeps it alive, replaces it.

Law 1: octets in, octets and events out; time is an argument; nothing here reads a clock or touches a socket.
Law 2: drain all output (``transmits``, ``events``) before the next input.
Law 3: ``receive`` never raises, whatever the octets; what is not understood is counted by reason.
Law 4: the first valid pair carries the call at once, a relayed one, too; it is left for a better one as soon
as that works, and never the other way round while the better one lives.

Who controls nominates in its checks, so that the first answer is a path (one round trip): while nothing is
selected in all of them, later only in those of better pairs, and again and again of the selected one. Who is
controlled takes the best of the pairs that were nominated at the beginning; after that, the last one.

    agent.receive(data, source, base, now)  \\
    agent.handle_timer(now)                  >  then  transmits(), events(), deadline()
    agent.start(...), agent.add_...(...)    /
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from meshcall import limits
from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import (
    ROLE_CONFLICT,
    Check,
    Credentials,
    encode_answer,
    encode_check,
    encode_role_conflict,
    read_check_untrusted,
)
from meshcall.ice.checklist import CheckList
from meshcall.ice.consent import check_interval, is_dead, spares
from meshcall.ice.events import Broken, Gathered, IceEvent, Lost, Measured, NoPath, Selected, Why
from meshcall.ice.gathering import Gathering
from meshcall.ice.network import Network
from meshcall.ice.overlap import Overlap
from meshcall.ice.pair import Pair, PairState, as_peer_reflexive, candidate_priority
from meshcall.ice.reprobe import Reprobe
from meshcall.ice.silence import Silence
from meshcall.ice.verdict import Evidence, no_path
from meshcall.stun.attributes import error_untrusted, xor_address_untrusted
from meshcall.stun.message import (
    TRANSACTION_ID_SIZE,
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A check whose answer is waited for."""

    pair: Pair
    at: float
    check: Check


class IceAgent:
    """One end of one call's ICE session, with one stream and one component."""

    def __init__(
        self,
        local: Credentials,
        *,
        controlling: bool,
        random: Callable[[int], bytes],
        counters: Counter[str] | None = None,
        origin: float = 0.0,
    ) -> None:
        """``random(n)`` returns n octets. ``counters`` counts what was refused, by reason. ``origin``: of
        what this process does again and again, see :class:`meshcall.ice.silence.Silence`.
        """
        self.local = local
        self.remote: Credentials | None = None
        """The peer's; None before :meth:`start`."""
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.selected: Pair | None = None
        """What :meth:`send` goes over."""
        self.network: Callable[[], Network] = Network
        """What the node knows of its own network, for the verdict that there is no path."""
        self._random = random
        self._tie_breaker = self._number(8)
        self._gathering = Gathering(random)
        self._list = CheckList(self.counters)
        self._list.set_role(controlling)
        self._overlap = Overlap()
        self._reprobe = Reprobe()
        self._silence = Silence(origin)
        self._sent: dict[bytes, _Sent] = {}
        self._heard: dict[bytes, Address] = {}
        self._early: deque[tuple[Address, Address, Check]] = deque(maxlen=limits.ICE_EARLY_CHECKS_MAX)
        self._transmits: list[tuple[bytes, Address, Address]] = []
        self._events: list[IceEvent] = []
        self._pace_at = float("-inf")
        self._verdict_at = _NEVER
        self._lost_at = _NEVER
        self._selected_at = _NEVER
        self._renewed_at = _NEVER
        self._verdict_by = _NEVER
        self._over = False

    # --- what it is told ---

    @property
    def controlling(self) -> bool:
        """Our role (RFC 8445 section 6.1.1); it may change on a conflict."""
        return self._list.controlling

    @controlling.setter
    def controlling(self, value: bool) -> None:
        self._list.set_role(value)

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The peer's, those that were learned from its checks included."""
        return list(self._list.remote.values())

    @property
    def pairs(self) -> list[Pair]:
        """All there are."""
        return list(self._list)

    def add_local(self, candidate: Candidate, now: float) -> None:
        """A candidate of ours. Host and relayed ones make pairs; a reflexive one has its base's."""
        self._list.add_local(candidate)
        self._put_off_verdict(now)
        self._check_waiting(now)

    def ask_server(self, server: Address, now: float) -> None:
        """Have a STUN server tell of reflexive candidates."""
        self._gathering.ask(tuple(self._list.local), server, now)

    @property
    def gathering(self) -> bool:
        """Whether a STUN server may still answer."""
        return self._gathering.busy

    def remove_local(self, base: Address, now: float) -> None:
        """That address is no longer ours, or its relay is gone."""
        for pair in self._list.remove_local(base):
            self._fail(pair)
        if self.selected is not None and self.selected.base == base:
            self._died(now)

    def add_remote(self, candidates: Iterable[Candidate], now: float) -> None:
        """Candidates that the peer named and that may be checked."""
        known = None if self.selected is None else self.selected.remote
        self._renew_checks(now)
        for candidate in candidates:
            self._list.add_remote(candidate)
            if known is not None:
                self._list.retry((candidate.address, candidate.port))
        if self.selected is not None and self.selected.remote is not known:
            self._events.append(Selected(self.selected.local, self.selected.remote, "named"))
        self._put_off_verdict(now)
        self._check_waiting(now)

    def start(self, remote: Credentials, now: float) -> None:
        """The peer's description is there: check what is known, and what the peer has checked already."""
        self.remote = remote
        travel = 0.0 if self.controlling else limits.ICE_ANSWER_TRAVEL
        self._verdict_by = now + limits.ICE_NO_PATH_MAX
        self._verdict_at = min(now + limits.ICE_NO_PATH + travel, self._verdict_by)
        while self._early:
            self._checked(*self._early.popleft(), now)
        self._check_waiting(now)

    def restart(self, remote: Credentials, now: float) -> None:
        """The peer has begun its ICE anew, with other credentials (RFC 8445 section 2.4).

        Ours stay as they are, and so does what was proven: it is the same peer, and its candidates follow.
        """
        self.remote = remote
        self.network_changed(now)

    def network_changed(self, now: float) -> None:
        """Our routes are other ones: look at every pair that may work, at once."""
        for pair in self._list:
            if pair.valid:
                pair.suspect(now)
                pair.due = now
            elif pair.destination in self._list.proven:
                self._begin(pair, now)

    def probe(self, now: float) -> None:
        """Check the selected pair once more, whatever its consent says; its answer is told as Measured."""
        if self.selected is not None and self.selected.valid and not self._over:
            self._send_check(self.selected, now)

    def carriers(self, now: float) -> list[Pair]:
        """The pairs that a packet goes over now: none, the selected one, or that and a second one."""
        if self.selected is None:
            return []
        second = self._overlap.second(self._list, self.selected, now)
        return [self.selected] if second is None else [self.selected, second]

    def heard(self) -> None:
        """A datagram of the peer's came that is no STUN."""
        self._silence.heard()

    def silence(self, now: float) -> float:
        """Seconds for which the selected pair owes an answer; 0: it owes none."""
        pair = self.selected
        return max(0.0, now - pair.asked_at) if pair is not None and pair.unanswered else 0.0

    def awaits(self, transaction: bytes) -> bool:
        """Whether an answer with this transaction id is to a request of ours."""
        return transaction in self._sent or self._gathering.awaits(transaction)

    @property
    def proven(self) -> AbstractSet[Address]:
        """Where packets are the peer's from: it has proven to know our password there. Always one set."""
        return self._list.proven

    def lone_check(self) -> bytes:
        """A check that belongs to no pair: who gets it checks back, which is what counts."""
        assert self.remote is not None, "a check needs the peer's password"
        priority = candidate_priority("prflx", "0.0.0.0")  # noqa: S104 - of IPv4
        check = Check(priority, self.controlling, self._tie_breaker)
        return encode_check(check, self._random(TRANSACTION_ID_SIZE), self.local, self.remote)

    # --- what comes ---

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        """A STUN message that came from ``source`` to ``base``."""
        try:
            message = decode_stun_untrusted(data)
            if message.method is not Method.BINDING:
                raise Rejected("method")
            if message.kind is MessageClass.REQUEST:
                self._receive_check(message, source, base, now)
            elif message.kind is not MessageClass.INDICATION:
                self._receive_answer(message, source, base, now)
        except Rejected as error:
            self.counters[f"ice-{error.reason}"] += 1

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""
        if self._over:
            return
        self._gathering.handle_timer(now)
        for transaction, sent in tuple(self._sent.items()):
            if now - sent.at >= limits.ICE_CHECK_LIFE:
                del self._sent[transaction]
        if now >= self._silence.at and self._silence.look(now) and self.selected is not None:
            self.selected.due = min(self.selected.due, now)
        for pair in self._list:
            if pair.due <= now:
                self._due(pair, now)
        if now >= self._reprobe.at:
            self._probe_again(now)
        self._check_waiting(now)
        if now >= self._lost_at:
            self._end(Lost())
        elif now >= self._verdict_at:
            self._verdict()

    # --- what it wants ---

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is to be called; None: never."""
        if self._over:
            return None
        times = [
            self._verdict_at,
            self._lost_at,
            self._gathering.deadline(),
            self._reprobe.at,
            self._silence.at,
        ]
        if self.remote is not None:
            times += [pair.due for pair in self._list]
            if any(pair.state is PairState.WAITING for pair in self._list):
                times.append(self._pace_at)
        soonest = min(times)
        return None if soonest == _NEVER else soonest

    def transmits(self) -> list[tuple[bytes, Address, Address]]:
        """(datagram, destination, base) to be sent now."""
        taken, self._transmits = self._transmits + self._gathering.transmits(), []
        return taken

    def events(self) -> list[IceEvent]:
        """What has happened, in order."""
        taken, self._events = self._events, []
        return taken

    # --- checks of the peer ---

    def _receive_check(self, request: StunMessage, source: Address, base: Address, now: float) -> None:
        check = read_check_untrusted(request, self.local, self.remote)
        self._hear(request.transaction_id, source)
        if check.controlling == self.controlling and not self._settle_roles(check):
            self._transmits.append((encode_role_conflict(request, self.local), source, base))
            return
        self._transmits.append((encode_answer(request, source, self.local), source, base))
        if request.unknown_required() or self._over:
            return
        if self.remote is None:
            self._early.append((source, base, check))
        else:
            self._checked(source, base, check, now)

    def _hear(self, transaction: bytes, source: Address) -> None:
        """A transaction belongs to where it came from first; raises :class:`Rejected` for another source."""
        first = self._heard.pop(transaction, source)
        self._heard[transaction] = first
        if len(self._heard) > limits.ICE_HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        if first != source:
            raise Rejected("replayed")

    def _settle_roles(self, check: Check) -> bool:
        """Both claim one role: the larger tie-breaker controls. False: the peer is to change, not we."""
        if (self._tie_breaker >= check.tie_breaker) == self.controlling:
            return False
        self._list.set_role(not self.controlling)
        return True

    def _checked(self, source: Address, base: Address, check: Check, now: float) -> None:
        """A good check came: check back at once (RFC 8445 sections 7.3.1.4 and 7.3.1.5)."""
        is_new = source not in self._list.remote
        pair = self._list.learn(base, source, check.priority)
        if pair is None:
            return
        if is_new and self.selected is not None and self.selected.valid:
            # The peer has a new address: does it still hear us at the old one?
            self.selected.suspect(now)
            self.selected.due = min(self.selected.due, now)
        if check.nominates and not self.controlling:
            pair.nominated_at = now
        if pair.valid:
            self._choose(now)
        elif now - pair.sent_at >= limits.ICE_PACE:
            self._begin(pair, now)

    # --- answers to ours ---

    def _receive_answer(self, message: StunMessage, source: Address, base: Address, now: float) -> None:
        if self._gathering.awaits(message.transaction_id):
            candidate = self._gathering.answered_untrusted(message, source)
            if candidate is not None:
                self._list.add_local(candidate)
                self._events.append(Gathered(candidate))
            return
        sent = self._sent.get(message.transaction_id)
        if sent is None or self.remote is None:
            raise Rejected("transaction")
        if not message.has_integrity(self.remote.key):
            raise Rejected("integrity")
        if (source, base) != (sent.pair.destination, sent.pair.base):
            raise Rejected("source")
        if message.kind is MessageClass.ERROR:
            del self._sent[message.transaction_id]
            self._refused(error_untrusted(message), sent, now)
            return
        mapped = xor_address_untrusted(message, AttributeType.XOR_MAPPED_ADDRESS)
        if mapped is None:
            raise Rejected("attribute")
        del self._sent[message.transaction_id]
        if self._list.get(base, source) is sent.pair and not self._over:
            self._answered(sent, mapped, now)

    def _answered(self, sent: _Sent, mapped: Address, now: float) -> None:
        pair = sent.pair
        self._list.proven.add(pair.destination)
        self._list.see_mapped(pair, mapped)
        pair.state = PairState.SUCCEEDED
        pair.unanswered = 0
        pair.rtt = now - sent.at
        if sent.check.nominates and self.controlling:
            pair.nominated = True
        self._plan_next(pair, now)
        self._choose(now)
        if pair is self.selected:
            if self._lost_at != _NEVER:
                self._lost_at = _NEVER
                self._events.append(Selected(pair.local, pair.remote, "revived"))
            self._events.append(Measured(pair.rtt))

    def _refused(self, code: int, sent: _Sent, now: float) -> None:
        self.counters[f"ice-refused-{code}"] += 1
        if code == ROLE_CONFLICT and sent.check.controlling == self.controlling:
            self._list.set_role(not self.controlling)
            self._tie_breaker = self._number(8)
        if code == ROLE_CONFLICT:
            self._begin(sent.pair, now)
        elif not sent.pair.valid:
            self._fail(sent.pair)

    # --- checks of ours ---

    def _check_waiting(self, now: float) -> None:
        """First checks, one for each pace."""
        while self.remote is not None and now >= self._pace_at:
            pair = self._list.next_waiting()
            if pair is None:
                return
            self._begin(pair, now)
            self._pace_at = now + limits.ICE_PACE

    def _probe_again(self, now: float) -> None:
        """A relay carries the call: look at the direct pairs that failed or are about to."""
        self._reprobe.begin_round(now)
        self._renew_checks(now)
        for pair in self._list:
            if (pair.state is PairState.FAILED or pair.exhausted) and not pair.indirect:
                pair.wait(limits.ICE_REPROBE_COPIES)

    def _begin(self, pair: Pair, now: float) -> None:
        if not pair.valid:
            pair.state = PairState.IN_PROGRESS
        pair.sent = 0
        self._repeat(pair, now)

    def _repeat(self, pair: Pair, now: float) -> None:
        """Send a copy; the last one waits longer."""
        if self._lost_at != _NEVER and pair.destination in self._list.proven:
            self._send_check(pair, now)
            pair.due = now + limits.CONSENT_REVIVE
            return
        allowed = self._list.may_check(pair)
        if allowed:
            self._send_check(pair, now)
        pair.sent += 1
        last = not allowed or pair.sent >= pair.copies
        pause = limits.ICE_RETRY * 2 ** max(0, pair.sent - 2)
        pair.due = now + (limits.ICE_CHECK_LIFE if last else pause)
        if last:
            pair.sent = pair.copies

    def _send_check(self, pair: Pair, now: float) -> None:
        assert self.remote is not None, "no pair is checked before start()"
        nominates = self.controlling and self._wants(pair)
        own = self._list.local.get(pair.base, pair.local)
        priority = as_peer_reflexive(own.priority, own.kind)
        check = Check(priority, self.controlling, self._tie_breaker, nominates)
        transaction = self._random(TRANSACTION_ID_SIZE)
        if len(self._sent) >= limits.ICE_CHECKS_WAITED_MAX:
            self._sent.pop(next(iter(self._sent)))
        self._sent[transaction] = _Sent(pair, now, check)
        pair.sent_at = now
        octets = encode_check(check, transaction, self.local, self.remote)
        self._transmits.append((octets, pair.destination, pair.base))

    def _wants(self, pair: Pair) -> bool:
        """Whether we would have the peer use it."""
        old = self.selected
        return old is None or pair is old or not old.valid or pair.priority > old.priority

    def _due(self, pair: Pair, now: float) -> None:
        if pair.valid:
            self._keep(pair, now)
        elif pair.state is PairState.IN_PROGRESS and pair.sent < pair.copies:
            self._repeat(pair, now)
        else:
            self._fail(pair)

    def _fail(self, pair: Pair) -> None:
        pair.state = PairState.FAILED
        pair.due = _NEVER

    # --- consent ---

    def _keep(self, pair: Pair, now: float) -> None:
        """A consent check of a valid pair (RFC 7675 section 5.1)."""
        if is_dead(pair):
            self._fail(pair)
            if pair is self.selected:
                self._died(now)
            return
        if pair is self.selected or pair.unanswered or pair in spares(self._list, self.selected):
            if not pair.unanswered:
                pair.asked_at = now
            pair.unanswered += 1
            self._send_check(pair, now)
        if pair is self.selected and pair.in_doubt(now):
            self._question_others(pair, now)
        self._plan_next(pair, now)

    def _question_others(self, doubted: Pair, now: float) -> None:
        """Whatever killed ``doubted``, a relay for instance, may have killed others, too: which ones live?

        Each is asked once, so that copies, and then the call, go over one that answers.
        """
        others = (pair for pair in self._list if pair.valid and pair is not doubted and not pair.unanswered)
        unasked = [pair for pair in others if pair.sent_at < doubted.asked_at]
        for pair in sorted(unasked, key=lambda one: -one.priority)[: limits.ICE_DOUBT_CHECKS]:
            pair.suspect(now)
            self._send_check(pair, now)
            self._plan_next(pair, now)

    def _plan_next(self, pair: Pair, now: float) -> None:
        kept = spares(self._list, self.selected)
        pair.due = now + check_interval(pair, self.selected, kept, self._part())

    def _died(self, now: float) -> None:
        """The selected pair is dead: another valid one at once, or all are tried again for a while."""
        self._choose(now)
        if self.selected is not None and self.selected.valid:
            return
        if self._lost_at == _NEVER:
            self._lost_at = now + limits.CONSENT_LOST
            self._events.append(Broken())
            self._renew_checks(now)
        for pair in self._list:
            if pair.state is PairState.FAILED and pair.destination in self._list.proven:
                self._begin(pair, now)

    def _renew_checks(self, now: float) -> None:
        """A call that lives may look for new paths again and again, but not faster than others can bear."""
        if now - self._renewed_at >= limits.ICE_CHECKS_RENEW:
            self._renewed_at = now
            self._list.renew_checks()

    # --- choosing ---

    def _choose(self, now: float) -> None:
        valid = [pair for pair in self._list if pair.valid]
        old = self.selected
        if (
            old is not None and not old.valid
        ):  # what is being asked, and does not answer, may have died with it
            valid = [pair for pair in valid if not pair.in_doubt(now)] or valid
        best = self._best_nominated(valid)
        if old is not None and not old.valid:
            best = best or max(valid, key=lambda pair: pair.priority, default=None)
            why: Why = "failover"
        elif old is None:
            why = "first"
        else:
            why = "better" if best is not None and best.priority > old.priority else "nominated"
        if best is not None and best is not old:
            self._overlap.changed(old, now)
            if not self._list.settled:
                self._list.settled, self._renewed_at = True, now
            self.selected, self._selected_at = best, now
            self._reprobe.selected(best.indirect, now)
            self._silence.begin(now)
            self._verdict_at = self._lost_at = _NEVER
            if why == "failover":
                best.due = now  # the peer is told at once
            else:
                self._plan_next(best, now)
            self._events.append(Selected(best.local, best.remote, why))
        elif self.controlling:
            self._nominate_better(valid, now)

    def _best_nominated(self, valid: list[Pair]) -> Pair | None:
        if self.controlling:
            wanted = [pair for pair in valid if pair.nominated]
        else:
            times = {pair: pair.nominated_at for pair in valid if pair.nominated_at is not None}
            newest = max(times.values(), default=0.0)
            window = 0.0 if newest - self._selected_at > limits.ICE_NOMINATION else limits.ICE_NOMINATION
            wanted = [pair for pair, at in times.items() if newest - at <= window]
        return max(wanted, key=lambda pair: pair.priority, default=None)

    def _nominate_better(self, valid: list[Pair], now: float) -> None:
        """The best valid pair was found by a check that did not nominate it: say so now."""
        best = max(valid, key=lambda pair: pair.priority, default=None)
        if best is not None and not best.nominated and self._wants(best):
            best.due = min(best.due, now)

    # --- the end ---

    def _put_off_verdict(self, now: float) -> None:
        if self.remote is not None and self.selected is None:
            self._verdict_at = min(now + limits.ICE_NO_PATH, self._verdict_by)

    def _verdict(self) -> None:
        evidence = Evidence(
            local=tuple(self._list.local.values()),
            remote=tuple(self._list.remote.values()),
            paired=len(self._list) > 0,
            valid=any(pair.valid for pair in self._list),
            arrived=bool(self._list.proven),
        )
        verdict = no_path(evidence, self.network())
        self._end(NoPath(verdict.reason, verdict.cause))

    def _end(self, event: Lost | NoPath) -> None:
        self._over = True
        self._events.append(event)

    def _number(self, octets: int) -> int:
        return int.from_bytes(self._random(octets), "big")

    def _part(self) -> float:
        """0 to 1, by chance."""
        return self._random(1)[0] / 255
