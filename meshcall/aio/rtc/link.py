"""The transport under a call: ICE, DTLS and consent, watched and told as events.

Law 1: the loss of a connected peer is told once, with the reason: silence, or its own close.
Law 2: what is told of certificates and addresses is what is in use, not what was signalled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from aiortc import RTCPeerConnection

from meshcall.address import is_lan
from meshcall.aio.rtc import hooks
from meshcall.media.endpoint import (
    EndpointEvent,
    IceConnected,
    PathKind,
    Secured,
    SelectedCandidate,
    TransportLost,
)


class Link:
    """Watches one peer connection; ``fail`` is called when it will never connect."""

    def __init__(
        self,
        pc: RTCPeerConnection,
        counters: Counter[str],
        emit: Callable[[EndpointEvent], None],
        fail: Callable[[str], None],
    ) -> None:
        """Put the hooks in; the control channel must have been made."""
        self._emit = emit
        self._fail = fail
        self._connection = hooks.ice_connection(pc)
        self._dtls = hooks.dtls_transport(pc)
        self._expected: bytes | None = None
        self._silent = False
        self._ended = False
        self.path: PathKind | Literal[""] = ""
        self.rtt: float | None = None
        self.secured = False
        hooks.guard_ice(self._connection, counters)
        hooks.pace_ice(self._connection)
        hooks.watch_consent(self._connection, self._measured, self._consent_lost)
        hooks.guard_dtls(self._dtls, counters)
        hooks.guard_sctp(pc, counters)
        self._dtls.transport.on("statechange", self._ice_changed)
        self._dtls.on("statechange", self._dtls_changed)

    def expect(self, fingerprint: bytes) -> None:
        """The peer's fingerprint by its description: tells a forged certificate from a failed handshake."""
        self._expected = fingerprint

    def end(self) -> None:
        """We close: nothing that follows is a loss."""
        self._ended = True

    def _ice_changed(self) -> None:
        pair = hooks.selected_pair(self._connection)
        if self._dtls.transport.state != "completed" or pair is None or self.path:
            return
        self.path = path_of(*pair)
        self._emit(IceConnected(*pair, self.path))

    def _dtls_changed(self) -> None:
        state = self._dtls.state
        if state == "connected" and not self.secured:
            self.secured = True
            self._emit(Secured(*hooks.fingerprints(self._dtls)))
        elif state == "failed":
            self._fail("fingerprint" if self._forged() else "dtls")
        elif state == "closed" and not self._ended:
            self._ended = True
            if self.secured:
                self._emit(TransportLost("no-response" if self._silent else "closed"))
            self._fail("dtls")

    def _forged(self) -> bool:
        try:
            return self._expected is not None and hooks.fingerprints(self._dtls)[1] != self._expected
        except AssertionError:
            return False

    def _measured(self, seconds: float) -> None:
        self.rtt = seconds

    def _consent_lost(self) -> None:
        self._silent = True


def path_of(local: SelectedCandidate, remote: SelectedCandidate) -> PathKind:
    """How media travels over a pair."""
    if "relay" in (local.kind, remote.kind):
        return "relay"
    return "lan" if is_lan(local.address) and is_lan(remote.address) else "direct"
