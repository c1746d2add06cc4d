"""The caller's end of a ping, as a machine: what is told, when the next probe is due, when it is over.

Law 1: time is an argument, nothing here waits; ``drain`` after each input what is to be done.
Law 2: whatever happens it ends, with one :class:`meshcall.ping_views.PingEnded`.
Law 3: each probe is told once: by its reply, or as silent when the next one is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meshcall import limits
from meshcall.address import format_address, is_lan
from meshcall.call.timeline import PathStep
from meshcall.errors import UsageError
from meshcall.ice.candidate import Candidate
from meshcall.ping_views import PingEvent, PingReply, PingSilent, PingStep, PingStepName
from meshcall.views import PathKind

PingReason = Literal[
    "done", "direct", "stopped",
    "offline", "no-answer", "busy", "no-path", "not-direct", "peer-gone", "clock", "failed",
]  # fmt: skip
"""Why a ping ended; see :class:`meshcall.ping_views.PingEnded`."""

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class PingPlan:
    """What the user asked for."""

    count: int
    """Probes."""
    interval: float
    """Seconds between two."""
    until_direct: bool = False
    """End at the first reply that no relay carried."""


def check_plan(count: int, interval: float) -> None:
    """Raise :class:`UsageError` for a ping that would be endless, or a flood."""
    if not 1 <= count <= limits.PING_COUNT_MAX:
        raise UsageError(f"--count: a ping sends 1 to {limits.PING_COUNT_MAX} probes, not {count}")
    if not limits.PING_INTERVAL_MIN <= interval <= limits.PING_LIFE:
        least, most = limits.PING_INTERVAL_MIN, limits.PING_LIFE
        raise UsageError(f"--interval: from {least:g} to {most:.0f} s, not {interval:g}")
    if (count - 1) * interval > limits.PING_LIFE:
        raise UsageError(
            f"{count} probes every {interval:g} s take longer than the {limits.PING_LIFE:.0f} s of a ping",
            hint="ask for fewer, or a shorter interval",
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """Have the selected pair checked now."""


@dataclass(frozen=True, slots=True)
class Resend:
    """Deliver the offer once more."""


@dataclass(frozen=True, slots=True)
class PingOver:
    """It is over, with these figures."""

    reason: PingReason
    detail: str
    cause: str
    """Of no path: :data:`meshcall.ice.verdict.Cause`."""
    after_ms: float
    sent: int
    rtts: tuple[float, ...]
    """Of all replies, milliseconds."""
    last: PathStep | None
    """The path of the last reply."""
    first_reply_ms: float | None
    direct_ms: float | None


PingOutput = PingEvent | Probe | Resend | PingOver


def path_of(local: Candidate, remote: Candidate) -> PathKind:
    """How packets travel between two candidates."""
    if "relay" in (local.kind, remote.kind):
        return "relay"
    return "lan" if is_lan(local.address) and is_lan(remote.address) else "direct"


class PingMachine:
    """One ping that we began."""

    def __init__(self, plan: PingPlan, now: float) -> None:
        self._plan = plan
        self._start = now
        self._out: list[PingOutput] = []
        self._due = now + limits.CALL_LOOKUP
        self._stage: Literal["looking-up", "calling", "reached", "answered", "live", "over"] = "looking-up"
        self._resend_at, self._pause = _NEVER, limits.CALL_RESEND
        self.reason: PingReason | None = None
        """Why it ended; None: it goes on."""
        self._ends: tuple[Candidate, Candidate] | None = None
        self._sent = 0
        self._waiting = False
        self._began = now
        self._rtts: list[float] = []
        self._path: PathKind = ""
        self._last: PathStep | None = None
        self._first_reply: float | None = None
        self._direct: float | None = None
        self._tell_step("looking-up", now)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._stage == "over"

    def drain(self) -> list[PingOutput]:
        """What is to be done and told, in order."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """When :meth:`timer` is to be called; None: never."""
        due = min(self._due, self._resend_at)
        return None if self.over or due == _NEVER else due

    # --- how it comes about -----------------------------------------------------------------------

    def offered(self, via: str, now: float) -> None:
        """The peer was found, and the offer is on its way."""
        if self._stage == "looking-up":
            self._stage = "calling"
            least = now + limits.CALL_OFFLINE_LEAST
            self._due = max(self._start + limits.CALL_OFFLINE_AFTER, least)
            self._resend_at = now + self._pause
            self._tell_step("calling", now, via)

    def reached(self, now: float) -> None:
        """A node says that the offer is on the peer's machine."""
        if self._stage == "calling":
            self._stage = "reached"
            self._due = now + limits.PING_ANSWER
            self._tell_step("reached", now)

    def answered(self, now: float) -> None:
        """The peer's answer is here: paths are tried."""
        if self._stage in ("calling", "reached"):
            self._stage = "answered"
            self._resend_at = _NEVER
            self._due = now + limits.ICE_NO_PATH + limits.PING_ANSWER  # the agent's own verdict comes first
            self._tell_step("answered", now)

    def fail(self, reason: PingReason, now: float, detail: str = "", cause: str = "") -> None:
        """It can't go on."""
        self._end(reason, now, detail, cause)

    # --- what the path says -----------------------------------------------------------------------

    def selected(self, local: Candidate, remote: Candidate, now: float) -> None:
        """The ICE agent uses this pair now."""
        if self._stage not in ("answered", "live"):
            return
        self._ends = local, remote
        first = self._stage == "answered"
        self._stage = "live"
        changed = path_of(local, remote) != self._path
        if first or (changed and not self._waiting and self._sent < self._plan.count):
            # The check that proved the pair is a probe: its answer is told next
            self._begin(now)

    def measured(self, rtt: float, now: float) -> None:
        """A check of the selected pair was answered (``rtt`` in seconds)."""
        if self._stage != "live" or not self._waiting or self._ends is None:
            return
        self._waiting = False
        self._due = max(now, self._began + self._plan.interval)
        local, remote = self._ends
        path = path_of(local, remote)
        before: PathKind = self._path if self._path != path else ""
        self._path = path
        self._last = PathStep(self._after(now), path, "", local.kind, remote.kind, ipv6=":" in remote.address)
        after, rtt_ms = self._after(now), round(rtt * 1000, 2)
        self._rtts.append(rtt_ms)
        if self._first_reply is None:
            self._first_reply = after
        if path != "relay" and self._direct is None:
            self._direct = after
        self._out.append(
            PingReply(
                after_ms=after,
                seq=self._sent,
                rtt_ms=rtt_ms,
                path=path,
                before=before,
                local=_end_text(local),
                remote=_end_text(remote),
            )
        )
        if self._plan.until_direct and path != "relay":
            self._end("direct", now)
        elif self._sent >= self._plan.count:
            self._end("not-direct" if self._plan.until_direct else "done", now)

    # --- time and the user ------------------------------------------------------------------------

    def timer(self, now: float) -> None:
        """The deadline has come."""
        if self.over:
            return
        if now >= self._resend_at:
            self._pause = min(2 * self._pause, limits.CALL_RESEND_MAX)
            self._resend_at = now + self._pause
            self._out.append(Resend())
        if now < self._due:
            return
        match self._stage:
            case "looking-up" | "calling":
                self._end("offline", now)
            case "reached":
                self._end("no-answer", now)
            case "answered":
                self._end("no-path", now)
            case "live":
                self._next(now)
            case "over":
                pass

    def stop(self, now: float) -> None:
        """The user has seen enough."""
        self._end("stopped", now)

    # --- inside -----------------------------------------------------------------------------------

    def _next(self, now: float) -> None:
        """The next probe, if the one before had its time."""
        patient = self._began + max(self._plan.interval, limits.PING_PATIENCE)
        if self._waiting and now < patient:
            self._due = patient
            return
        if self._waiting:
            self._waiting = False
            self._out.append(PingSilent(after_ms=self._after(now), seq=self._sent))
        if self._sent >= self._plan.count:
            none: PingReason = "peer-gone" if not self._rtts else "done"
            self._end("not-direct" if self._plan.until_direct and self._rtts else none, now)
            return
        self._begin(now)
        self._out.append(Probe())

    def _begin(self, now: float) -> None:
        self._sent += 1
        self._waiting = True
        self._began = now
        self._due = now + self._plan.interval

    def _end(self, reason: PingReason, now: float, detail: str = "", cause: str = "") -> None:
        if self.over:
            return
        self._stage, self.reason = "over", reason
        self._out.append(
            PingOver(
                reason=reason,
                detail=detail,
                cause=cause,
                after_ms=self._after(now),
                sent=self._sent,
                rtts=tuple(self._rtts),
                last=self._last,
                first_reply_ms=self._first_reply,
                direct_ms=self._direct,
            )
        )

    def _tell_step(self, step: PingStepName, now: float, via: str = "") -> None:
        self._out.append(PingStep(after_ms=self._after(now), step=step, via=via))

    def _after(self, now: float) -> float:
        return round((now - self._start) * 1000, 1)


def _end_text(candidate: Candidate) -> str:
    return f"{candidate.kind} {format_address((candidate.address, candidate.port))}"
