"""One call's way through NATs that plain checks can't cross: predicted ports and birthday probes.

What is done depends on both ends' NATs, of which each tells the other (:mod:`meshcall.ice.notes`):

    ours          the peer's
    sequential    not dependent   we send and see which port it took: the peer gets it as a candidate
    sequential    sequential      each aims a few sockets at the port that the other says is next
    random        not dependent   we open many sockets towards it
    not dependent random          we probe its ports

Law 1: plain checks get a head start, and whatever is under way ends as soon as there is a direct path.
Law 2: more than a few packets go only where a witness of our choice has seen the peer.
Law 3: what a peer says costs at most what ``meshcall.limits`` says, in each call and in all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.openings import Adopt, Openings
from meshcall.aio.nat import NatWatch
from meshcall.ice.agent import IceAgent
from meshcall.ice.birthday import Probes
from meshcall.ice.candidate import Candidate, CandidatePolicy, refusal
from meshcall.ice.nat import Mapping, Ports
from meshcall.ice.notes import AimNote, NatNote, Note, RoundNote, SeenNote
from meshcall.ice.pair import candidate_priority
from meshcall.ice.prediction import enclosed_ports, next_port

_POLICY = CandidatePolicy(allow_lan=False)
_TICK = 0.01


class PunchedCall(Protocol):
    """The call, as punching sees it."""

    agent: IceAgent

    def tell_note(self, note: Note) -> None:
        """The peer is to know it."""

    def offer_predicted(self, candidate: Candidate) -> None:
        """The peer is to check it."""

    def send_probe(self, data: bytes, destination: Address) -> None:
        """From the shared port."""


class Punching:
    """See the laws. ``run`` is the work of one call."""

    def __init__(
        self,
        call: PunchedCall,
        nat: NatWatch,
        adopt: Adopt,
        random: Callable[[int], bytes],
        counters: Counter[str],
    ) -> None:
        self._call = call
        self._nat = nat
        self._adopt = adopt
        self._random = random
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._witness = nat.witness()
        self._ours = self._describe()
        self._theirs: NatNote | None = None
        self._heard = 0
        self._seen: list[SeenNote] = []
        self._aims: list[AimNote] = []
        self._asked = 0
        self._told_seen = False
        self._proven: Address | None = None
        self._changed = asyncio.Event()
        self._again = asyncio.Event()
        self._begun = False
        self._stale = self._ours.mapping is Mapping.UNKNOWN

    def _describe(self) -> NatNote:
        view = self._nat.view()
        return NatNote(view.mapping, view.filtering, view.ports, self._witness)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the description says of our NAT."""
        return () if self._ours.mapping is Mapping.UNKNOWN else (self._ours,)

    def hear(self, note: Note) -> None:
        """The peer says something."""
        self._heard += 1
        if self._heard > limits.NOTES_PER_CALL_MAX:
            self._counters["punch-notes"] += 1
            return
        match note:
            case NatNote():
                if self._begun:
                    self._forget()
                    self._again.set()
                self._theirs = note
            case SeenNote():
                self._seen.append(note)
            case AimNote():
                self._aims.append(note)
            case RoundNote():
                return  # of a description, not of a NAT
        self._changed.set()

    def network_changed(self) -> None:
        """Another network, another NAT."""
        self._forget()
        self._stale = True
        self._again.set()

    def _forget(self) -> None:
        """What was proven holds no more."""
        self._told_seen = False
        self._proven = None

    # --- the work ---

    async def run(self) -> None:
        """As long as the call lives: a round at its begin, and one whenever a NAT is another one."""
        while True:
            await asyncio.sleep(limits.PUNCH_HEAD_START)
            self._again.clear()
            if self._stale and not self._ended:
                await self._look_again()
            await self.punch()
            await self._again.wait()

    async def _look_again(self) -> None:
        """Tell the peer of our NAT as soon as it is known."""
        end = self._loop.time() + limits.PUNCH_LIFE
        while self._loop.time() < end and not self._again.is_set():
            self._witness = self._nat.witness()
            self._ours = self._describe()
            if self._ours.mapping is not Mapping.UNKNOWN:
                self._stale = False
                self._call.tell_note(self._ours)
                return
            await asyncio.sleep(limits.PUNCH_LOOK)

    async def punch(self) -> None:
        """One round: until there is a direct path or nothing is left to do."""
        self._begun = True
        if self._ended:
            return
        if self._ours.mapping.depends and self._peer_depends:
            if {self._ours.ports, self._theirs_ports} == {Ports.SEQUENTIAL}:
                await self._meet()
        elif self._ours.mapping.depends:
            if self._ours.ports is not Ports.RANDOM:
                if await self._predict():
                    return
                self._ours = replace(self._ours, ports=Ports.RANDOM)
                self._call.tell_note(self._ours)
            await self._open()
        elif self._peer_depends and self._theirs_ports is Ports.RANDOM:
            await self._probe()

    @property
    def _ended(self) -> bool:
        """Whether the round is over: there is a direct path, or a NAT is another one."""
        pair = self._call.agent.selected
        direct = pair is not None and pair.valid and "relay" not in (pair.local.kind, pair.remote.kind)
        return direct or self._again.is_set()

    @property
    def _peer_depends(self) -> bool:
        return self._theirs is not None and self._theirs.mapping.depends

    @property
    def _theirs_ports(self) -> Ports:
        return Ports.UNKNOWN if self._theirs is None else self._theirs.ports

    async def _news(self, seconds: float) -> bool:
        """Wait for a note of the peer's; False: none came."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # --- sequential, towards a peer whose port is known ---

    async def _predict(self) -> bool:
        """Tell the peer by which port we come; False: our ports can't be foretold."""
        openings = Openings(self._call.agent, self._adopt, self._counters)
        try:
            for number in range(limits.PUNCH_TRIES):
                target = self._peer_address()
                # Without one it may follow the description
                if target is not None and not await self._predict_once(
                    openings, target, near=number % 2 == 0
                ):
                    return False
                if await self._over(openings, limits.PUNCH_TRY):
                    break
            await self._over(openings, limits.PUNCH_TRY)
        finally:
            await openings.close()
        return True

    async def _predict_once(self, openings: Openings, target: Address, *, near: bool) -> bool:
        udp = await openings.add()
        nodes = self._nat.nodes(limits.NAT_SURVEY_NODES)
        if udp is None or len(nodes) < 2:
            return True
        survey, half = self._nat.survey_on(udp), len(nodes) // 2
        for node in nodes[:half]:
            survey.ask(node)
        udp.limit_hops(limits.PUNCH_HOPS if near else None)
        place = survey.send(self._call.agent.lone_check(), target)
        udp.limit_hops(None)
        for node in nodes[half:]:
            survey.ask(node)
        samples = await survey.answers()
        ports = enclosed_ports(samples, place)
        self._counters["punch-predicted"] += len(ports)
        for index, port in enumerate(ports):
            priority = candidate_priority("srflx", survey.ip, index + 1)
            self._call.offer_predicted(Candidate("srflx", "udp", survey.ip, port, priority))
        return bool(ports) or len(samples) < 2

    def _peer_address(self) -> Address | None:
        """The peer's reflexive address, if it has one that we may send to."""
        reflexive = [
            one
            for one in self._call.agent.remote_candidates
            if one.kind == "srflx" and ":" not in one.address and refusal(one, _POLICY) is None
        ]
        best = max(reflexive, key=lambda one: one.priority, default=None)
        return None if best is None else (best.address, best.port)

    async def _over(self, openings: Openings, seconds: float) -> bool:
        """Whether a direct path is there within so many seconds, or a socket was adopted."""
        end = self._loop.time() + seconds
        while not self._ended and self._loop.time() < end:
            if openings.hit.is_set():
                return True
            await asyncio.sleep(_TICK)
        return self._ended

    # --- proofs ---

    async def _prove(self) -> Address | None:
        """Tell the peer where its witness sees us, and learn where ours sees the peer; None: it does not."""
        await asyncio.gather(self._tell_seen(), self._hear_seen())
        return self._proven

    async def _tell_seen(self) -> None:
        witness = None if self._theirs is None else self._theirs.witness
        if self._told_seen or witness is None or self._asked >= limits.PUNCH_WITNESSES_MAX:
            return
        self._told_seen = True
        self._asked += 1
        found = await self._nat.witnessed(witness)
        if found is not None and found[1]:
            self._call.tell_note(SeenNote(*found))

    async def _hear_seen(self) -> None:
        end = self._loop.time() + limits.PUNCH_PROOF
        while self._proven is None and not self._ended:
            if self._seen:
                await self._verify(self._seen.pop(0))
            elif (left := end - self._loop.time()) <= 0 or not await self._news(left):
                return

    async def _verify(self, seen: SeenNote) -> None:
        candidate = Candidate("srflx", "udp", *seen.address, 1)
        if self._witness is None or ":" in seen.address[0] or refusal(candidate, _POLICY) is not None:
            self._counters["punch-address"] += 1
        elif await self._nat.vouches(self._witness, seen.address, seen.token):
            self._proven = seen.address
        else:
            self._counters["punch-unproven"] += 1

    @asynccontextmanager
    async def _try(self) -> AsyncIterator[Address | None]:
        """A try within the budget, towards the proven address; None: there is none, or not now."""
        proven = await self._prove()
        if proven is None or self._ended:
            yield None
        elif not self._nat.budget.take(proven[0], self._loop.time()):
            self._counters["punch-budget"] += 1
            yield None
        else:
            try:
                yield proven
            finally:
                self._nat.budget.give_back()

    # --- random against fixed ---

    async def _open(self) -> None:
        """Many sockets towards the peer."""
        async with self._try() as target:
            if target is None:
                return
            openings = Openings(self._call.agent, self._adopt, self._counters)
            try:
                end = self._loop.time() + limits.PUNCH_LIFE
                await openings.add_many(limits.PUNCH_SOCKETS)
                await openings.send(target, near=True)
                pause = limits.PUNCH_FAR
                while not await self._over(openings, pause) and self._loop.time() < end:
                    await openings.send(target)
                    pause = min(limits.PUNCH_REOPEN, end - self._loop.time())
            finally:
                await openings.close()

    async def _probe(self) -> None:
        """Random ports of the peer's NAT."""
        async with self._try() as target:
            if target is None:
                return
            probes = Probes(self._random, self._loop.time())
            while not probes.done and not self._ended:
                for port in probes.due(self._loop.time()):
                    self._call.send_probe(self._call.agent.lone_check(), (target[0], port))
                await asyncio.sleep(_TICK)
            self._counters["punch-probes"] += probes.sent

    # --- sequential against sequential ---

    async def _meet(self) -> None:
        """Both say which port is next, and aim there; who controls begins."""
        async with self._try() as target:
            if target is None:
                return
            for _ in range(limits.PUNCH_TRIES):
                if await self._meet_once(target[0]):
                    return

    async def _meet_once(self, ip: str) -> bool:
        openings = Openings(self._call.agent, self._adopt, self._counters)
        begins = self._call.agent.controlling
        try:
            if begins:
                self._aims.clear()
                if not await self._tell_aim():
                    return False
            aim = await self._peer_aim(ip)
            if aim is None:
                return False
            if not begins and not await self._tell_aim():
                return False
            await openings.add_many(limits.PUNCH_MEETING)
            await openings.send(aim, near=True)
            if await self._over(openings, limits.PUNCH_TRY / 4):
                return True
            await openings.send(aim)
            return await self._over(openings, limits.PUNCH_TRY / 4)
        finally:
            await openings.close()

    async def _peer_aim(self, ip: str) -> Address | None:
        end = self._loop.time() + limits.PUNCH_TRY
        while not self._ended:
            while self._aims:
                aim = self._aims.pop().address
                if aim[0] == ip and aim[1] >= limits.CANDIDATE_PORT_MIN:
                    return aim
                self._counters["punch-aim"] += 1
            if (left := end - self._loop.time()) <= 0 or not await self._news(left):
                break
        return None

    async def _tell_aim(self) -> bool:
        """Say which port our next sockets reach; False: that can't be foretold."""
        samples = await self._nat.survey()
        port = None if samples is None else next_port(samples.ports, samples.sent, limits.PUNCH_MEETING)
        if samples is None or port is None:
            return False
        self._call.tell_note(AimNote((samples.ip, port)))
        return True
