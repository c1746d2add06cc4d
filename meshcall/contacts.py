"""The contact book: who has a name here, and who may not ring.

Law 1: a peer is addressed by a contact's name, a full ID or a link; never by a short form.
Law 2: every change is on the disk before it is in memory.
Law 3: names are compared without regard to case, and can't be mistaken for an ID.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from meshcall.aio.files import ContactRow, StateDb
from meshcall.errors import DuplicateContact, InvalidPeerId, InvalidUri, OwnId, UnknownContact, UsageError
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import PeerUri, clean_name, parse_peer
from meshcall.views import ContactView


class ContactBook:
    """Contacts of one node, kept in its state database."""

    def __init__(
        self,
        me: PeerId,
        state: StateDb,
        now_ms: Callable[[], int],
        on_change: Callable[[], None],
        before_leaving: Callable[[ContactRow], None] = lambda row: None,
    ) -> None:
        """``before_leaving``: this contact is about to be removed or blocked; what raises prevents it."""
        self._me = me
        self._state = state
        self._now_ms = now_ms
        self._on_change = on_change
        self._before_leaving = before_leaving
        self._rows = {row.peer_id: row for row in state.contacts()}

    # --- reading ----------------------------------------------------------------------------------

    def get(self, peer_id: PeerId) -> ContactRow | None:
        """The entry of ``peer_id``, blocked or not."""
        return self._rows.get(peer_id)

    def is_contact(self, peer_id: PeerId) -> bool:
        """Whether ``peer_id`` is in the book and not blocked."""
        row = self._rows.get(peer_id)
        return row is not None and not row.blocked

    def is_blocked(self, peer_id: PeerId) -> bool:
        """Whether ``peer_id`` may not ring."""
        row = self._rows.get(peer_id)
        return row is not None and row.blocked

    def name(self, peer_id: PeerId) -> str:
        """Our name for ``peer_id``; empty: none."""
        row = self._rows.get(peer_id)
        return row.name if row else ""

    def peer_ids(self) -> list[PeerId]:
        """Everybody in the book who is not blocked."""
        return [row.peer_id for row in self._rows.values() if not row.blocked]

    def secret(self, peer_id: PeerId) -> bytes:
        """What ``peer_id`` gave us to find it by; empty: nothing."""
        row = self._rows.get(peer_id)
        return row.secret if row and not row.blocked else b""

    def rows(self) -> Sequence[ContactRow]:
        """Everybody in the book who is not blocked."""
        return [row for row in self._rows.values() if not row.blocked]

    def given(self) -> Sequence[PeerId]:
        """Contacts that were given our rendezvous secret, of whatever generation."""
        return [row.peer_id for row in self.rows() if row.given]

    def owed(self, now_ms: int) -> Sequence[PeerId]:
        """Contacts that are to be told of our rendezvous secret."""
        return [row.peer_id for row in self.rows() if row.owed_ms > now_ms]

    def untold(self, generation: int) -> Sequence[PeerId]:
        """Contacts whose secret of ours is older than ``generation``, and who were never owed a newer one."""
        return [row.peer_id for row in self.rows() if 0 < row.given < generation and not row.owed_ms]

    def list(self) -> list[ContactView]:
        """All contacts, by name."""
        return [_view(row) for row in sorted(self._rows.values(), key=lambda row: row.name.casefold())]

    def resolve(self, text: str) -> PeerId:
        """The peer that ``text`` names: a contact's name, a full ID or a link.

        Raises :class:`OwnId`, :class:`InvalidPeerId`, :class:`InvalidUri` or :class:`UnknownContact`.
        """
        row = self._find(text)
        if row is not None:
            return row.peer_id
        try:
            peer_id = parse_peer(text).peer_id
        except (InvalidPeerId, InvalidUri):
            if _looks_like_id(text):
                raise
            hint = None
            if any(row.peer_id.short == text.strip().lower() for row in self._rows.values()):
                hint = "the first 7 characters of an ID are for reading only; give the name or the full ID"
            raise UnknownContact(f"no contact is called {text!r}", hint=hint) from None
        if peer_id == self._me:
            raise OwnId()
        return peer_id

    # --- changing ---------------------------------------------------------------------------------

    def add(self, text: str, name: str = "") -> ContactView:
        """Add whom ``text`` (ID or link) names, as ``name`` or as the link calls it.

        Adding somebody again with a name renames, without one changes nothing. Raises
        :class:`DuplicateContact` for a name that another one has.
        """
        uri: PeerUri = parse_peer(text)
        if uri.peer_id == self._me:
            raise OwnId()
        old = self._rows.get(uri.peer_id)
        if old is not None and not name:
            return _view(old)
        return self.put(uri.peer_id, self._checked_name(name or uri.name or uri.peer_id.short, uri.peer_id))

    def put(self, peer_id: PeerId, name: str) -> ContactView:
        """Add or rename a peer under a name that is free; a blocked one stays blocked."""
        old = self._rows.get(peer_id)
        row = (
            replace(old, name=name)
            if old
            else ContactRow(peer_id=peer_id, name=name, added_ms=self._now_ms())
        )
        return self._save(row)

    def free_name(self, wish: str, peer_id: PeerId) -> str:
        """``wish``, cleaned, with a number behind it when another contact has it."""
        base = clean_name(wish) or peer_id.short
        if _looks_like_id(base):
            base = peer_id.short
        name, number = base, 1
        while (other := self._find(name)) is not None and other.peer_id != peer_id:
            number += 1
            name = f"{base} {number}"
        return name

    def rename(self, name: str, new: str) -> ContactView:
        """Give a contact another name."""
        row = self._require(name)
        return self._save(replace(row, name=self._checked_name(new, row.peer_id)))

    def verify(self, peer_id: PeerId) -> ContactView:
        """The words of a call were compared: this contact is who it says it is."""
        row = self._rows.get(peer_id)
        if row is None:
            raise UnknownContact("only contacts can be marked as verified", hint="add this peer first")
        return self._save(replace(row, verified=True))

    def remove(self, name: str) -> None:
        """Forget a contact."""
        row = self._require(name)
        self._leave(row)
        self._state.remove_contact(row.peer_id)
        del self._rows[row.peer_id]
        self._on_change()

    def block(self, name: str) -> ContactView:
        """Never let this contact or ID ring again."""
        known = self._find(name)
        peer_id = known.peer_id if known else self.resolve(name)
        if peer_id in self._rows:
            self._leave(self._rows[peer_id])
        row = self._rows.get(peer_id) or ContactRow(
            peer_id=peer_id, name=self.free_name("", peer_id), added_ms=self._now_ms()
        )
        return self._save(replace(row, blocked=True))

    def unblock(self, name: str) -> ContactView:
        """Let a blocked contact ring again."""
        return self._save(replace(self._require(name), blocked=False))

    async def note(self, peer_id: PeerId, **changes: Any) -> None:
        """Change what :meth:`StateDb.note_contact` takes, off the loop. Tells nobody: no view shows it."""
        await self._state.run(self._state.note_contact, [peer_id], **changes)
        self._apply(peer_id, changes)

    def owe(self, peer_ids: Sequence[PeerId], until_ms: int) -> None:
        """From now on these are owed our rendezvous secret. Blocks for the disk."""
        self._state.note_contact(peer_ids, owed_ms=until_ms)
        for peer_id in peer_ids:
            self._apply(peer_id, {"owed_ms": until_ms})

    def forget_given(self, peer_id: PeerId) -> None:
        """What ``peer_id`` was given leads to us no more. Blocks for the disk."""
        nothing: dict[str, Any] = {"given": 0, "known": 0, "owed_ms": 0}
        self._state.note_contact([peer_id], **nothing)
        self._apply(peer_id, nothing)

    # --- inside -----------------------------------------------------------------------------------

    def _apply(self, peer_id: PeerId, changes: dict[str, Any]) -> None:
        row = self._rows.get(peer_id)  # as it is now: a user may have changed it meanwhile
        if row is not None:
            self._rows[peer_id] = replace(row, **changes)

    def _leave(self, row: ContactRow) -> None:
        if not row.blocked:
            self._before_leaving(row)

    def _find(self, name: str) -> ContactRow | None:
        wanted = name.strip().casefold()
        return next((row for row in self._rows.values() if row.name.casefold() == wanted), None)

    def _require(self, name: str) -> ContactRow:
        row = self._find(name) or self._rows.get(self.resolve(name))
        if row is None:
            raise UnknownContact(f"{name!r} is not in the contact book")
        return row

    def _checked_name(self, name: str, peer_id: PeerId) -> str:
        cleaned = clean_name(name)
        if not cleaned:
            raise UsageError("a contact's name can't be empty")
        if _looks_like_id(cleaned):
            raise UsageError("a contact's name can't look like an ID")
        other = self._find(cleaned)
        if other is not None and other.peer_id != peer_id:
            raise DuplicateContact(f"another contact is called {other.name!r}")
        return cleaned

    def _save(self, row: ContactRow) -> ContactView:
        self._state.put_contact(row)
        self._rows[row.peer_id] = row
        self._on_change()
        return _view(row)


def _looks_like_id(text: str) -> bool:
    """Whether somebody meant an ID or a link, so that the error speaks of that."""
    letters = "".join(c for c in text if c.isalnum())
    return text.strip().lower().startswith("meshcall:") or (len(letters) >= 40 and " " not in text.strip())


def _view(row: ContactRow) -> ContactView:
    return ContactView(
        peer_id=row.peer_id.text,
        short=row.peer_id.short,
        name=row.name,
        verified=row.verified,
        blocked=row.blocked,
        added_ms=row.added_ms,
    )
