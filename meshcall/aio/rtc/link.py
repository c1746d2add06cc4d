"""The transport under a call: ICE, DTLS and consent, watched and told as events.

Law 1: the loss of a connected peer is told once, with the reason: silence, or its own close.
Law 2: what is told of certificates and addresses is what is in use, not what was signalled.
Law 3: each path that the call takes is told, with why it was taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from aiortc import RTCPeerConnection

from meshcall.aio.rtc import hooks
from meshcall.ice.candidate import Candidate
from meshcall.ice.events import Broken, Gathered, IceEvent, Lost, Measured, NoPath, Noted, Selected
from meshcall.media.endpoint import (
    EndpointEvent,
    IceConnected,
    PathBroken,
    PathKind,
    Secured,
    SelectedCandidate,
    TransportLost,
)
from meshcall.media.path import path_of


class Link:
    """Watches one peer connection; ``fail(reason, detail, cause)`` is called when it will never connect."""

    def __init__(
        self,
        pc: RTCPeerConnection,
        counters: Counter[str],
        emit: Callable[[EndpointEvent], None],
        fail: Callable[[str, str, str], None],
    ) -> None:
        """Put the hooks in; the control channel must have been made."""
        self._emit = emit
        self._fail = fail
        self._dtls = hooks.dtls_transport(pc)
        self._expected: bytes | None = None
        self._silent = False
        self._ended = False
        self.path: PathKind | Literal[""] = ""
        self.route = ""
        self.rtt: float | None = None
        self.secured = False
        hooks.guard_ice(pc)
        hooks.guard_dtls(self._dtls, counters)
        hooks.guard_sctp(pc, counters)
        hooks.take_rtp(pc, counters)
        self._dtls.on("statechange", self._dtls_changed)

    def expect(self, fingerprint: bytes) -> None:
        """The peer's fingerprint by its description: tells a forged certificate from a failed handshake."""
        self._expected = fingerprint

    def end(self) -> None:
        """We close: nothing that follows is a loss."""
        self._ended = True

    def ice_event(self, event: IceEvent) -> None:
        """What the ICE session tells."""
        match event:
            case Selected(local, remote, why):
                ends = _end(local), _end(remote)
                self.path = path_of(*ends)
                self.route = f"{ends[0].kind} {ends[0].address} -> {ends[1].kind} {ends[1].address} ({why})"
                self._emit(IceConnected(*ends, self.path, why))
            case Measured(rtt):
                self.rtt = rtt
            case Broken():
                self._emit(PathBroken())
            case Lost():
                self._silent = True
            case NoPath(reason, cause):
                self._fail("no-path", reason, cause)
            case Gathered() | Noted():
                pass

    def _dtls_changed(self) -> None:
        state = self._dtls.state
        if state == "connected" and not self.secured:
            self.secured = True
            self._emit(Secured(*hooks.fingerprints(self._dtls)))
        elif state == "failed":
            self._fail("fingerprint" if self._forged() else "dtls", "", "")
        elif state == "closed":
            self._lost()

    def control_closed(self) -> None:
        """The peer has ended the control channel: a call is none without it, whatever media still come."""
        if self.secured:
            self._lost()

    def _lost(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self.secured:
            self._emit(TransportLost("no-response" if self._silent else "closed"))
        self._fail("dtls", "", "")

    def _forged(self) -> bool:
        try:
            return self._expected is not None and hooks.fingerprints(self._dtls)[1] != self._expected
        except AssertionError:
            return False


def _end(candidate: Candidate) -> SelectedCandidate:
    return SelectedCandidate(candidate.kind, candidate.address, candidate.port)
