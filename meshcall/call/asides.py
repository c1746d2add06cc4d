"""What two connected ends tell each other beside the call: what is muted, and their verification words. Pure.

Law 1: nothing that the peer says is shown, or answered, before the call is connected; what comes a moment
too early is kept, up to ``ASIDES_EARLY_MAX`` messages.
Law 2: the words are shown only if the peer kept to the order: commitment, then nonce. Whatever is wrong ends
them for this call; it does not end the call.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from meshcall.call.control import MediaState, SasCommit, SasNonce, Sendable
from meshcall.errors import Rejected
from meshcall.identity.confirm import Role
from meshcall.identity.keys import Random
from meshcall.identity.sas import SasExchange, SasView, SasWords
from meshcall.limits import ASIDES_EARLY_MAX

Aside = MediaState | SasCommit | SasNonce


class Asides:
    """Of one call."""

    def __init__(self, random: Random, counters: Counter[str]) -> None:
        """``counters``: what was refused, by reason."""
        self._random: Final = random
        self._counters: Final = counters
        self._exchange: SasExchange | None = None
        self._early: list[Aside] = []
        self.peer_media = MediaState()
        """What the peer lets be heard and seen, as it says."""

    @property
    def words(self) -> SasWords | None:
        """What both people see if nobody is between them; None: not yet, or never."""
        return None if self._exchange is None else self._exchange.words

    def connect(self, role: Role, view: SasView) -> list[Sendable]:
        """The call is connected: what to send now."""
        self._exchange = SasExchange(role, view, self._random)
        early, self._early = self._early, []
        answers: list[Sendable] = [SasCommit(self._exchange.commitment)]
        for message in early:
            answers += self.receive_untrusted(message)
        return answers

    def receive_untrusted(self, message: Aside) -> list[Sendable]:
        """A message of the peer: what to send now. Never raises."""
        exchange = self._exchange
        if exchange is None:
            if len(self._early) < ASIDES_EARLY_MAX:
                self._early.append(message)
            else:
                self._counters["aside-early"] += 1
            return []
        try:
            match message:
                case MediaState():
                    self.peer_media = message
                case SasCommit(commitment):
                    return [SasNonce(exchange.commit_untrusted(commitment))]
                case SasNonce(nonce):
                    exchange.reveal_untrusted(nonce)
        except Rejected as error:
            self._counters[f"aside-{error.reason}"] += 1
        return []
