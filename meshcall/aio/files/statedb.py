"""What a node remembers: contacts, prekeys, counters, replay, invites, history, rooms, addresses, blobs.

Law 1: all SQL is here (and in :mod:`database`, :mod:`schema`); outside there are only values.
Law 2: every table has a cap in :mod:`meshcall.limits`.
Law 3: a row that makes no sense (a key that can't be an identity) is left out, as if it were not there.

Every method blocks and may raise :class:`StateUnwritable` (disk full, read-only) or :class:`StateCorrupt`;
then nothing was changed.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from meshcall import limits
from meshcall.aio.files.database import Database, connect
from meshcall.aio.files.rows import AddressRow, CallRow, ContactRow, InviteRow, NoteRow, ReplayRow, RoomRow
from meshcall.errors import DuplicateContact, InvalidPeerId, UsageError
from meshcall.identity.peer_id import PeerId

T = TypeVar("T")


class StateDb(Database):
    """The state database of one home."""

    @classmethod
    def open(cls, path: Path, *, now_ms: int | None = None) -> StateDb:
        """The database at ``path``, made if there is none; ``warnings`` tells what was damaged.

        ``now_ms`` dates the name of a file that is set aside (default: the system's clock).
        Raises :class:`HomeNotUsable`, :class:`LoosePermissions`, :class:`StateUnwritable`; never for damage.
        """
        connection, warnings = connect(path, now_ms)
        return cls(path, connection, warnings)

    # --- contacts ---------------------------------------------------------------------------------

    def contacts(self) -> list[ContactRow]:
        """All contacts, oldest first."""
        rows = self._rows(
            "SELECT peer_id, name, blocked, verified, secret, added_ms, generation, given, known, owed_ms"
            " FROM contacts ORDER BY added_ms, name"
        )
        return _sensible(rows, _contact)

    def put_contact(self, contact: ContactRow) -> None:
        """Add a contact, or replace the one with its ID, but for what :meth:`note_contact` writes.

        Raises :class:`DuplicateContact` if another one has its name, :class:`UsageError` if there are too
        many.
        """
        values = (contact.name, _name_key(contact.name), contact.blocked, contact.verified, contact.secret)
        try:
            with self._transaction() as connection:
                connection.execute(
                    "INSERT INTO contacts (peer_id, name, name_key, blocked, verified, secret, added_ms,"
                    " generation, given, known, owed_ms)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (peer_id) DO UPDATE SET"
                    " name = excluded.name, name_key = excluded.name_key, blocked = excluded.blocked,"
                    " verified = excluded.verified, added_ms = excluded.added_ms",
                    (
                        contact.peer_id.key,
                        *values,
                        contact.added_ms,
                        contact.generation,
                        contact.given,
                        contact.known,
                        contact.owed_ms,
                    ),
                )
                (count,) = connection.execute("SELECT count(*) FROM contacts").fetchone()
                if count > limits.STATE_CONTACTS_MAX:
                    raise UsageError(f"there is room for {limits.STATE_CONTACTS_MAX} contacts")
        except sqlite3.IntegrityError:
            raise DuplicateContact(f"another contact is called {contact.name!r}") from None

    def note_contact(
        self,
        peer_ids: Sequence[PeerId],
        *,
        secret: bytes | None = None,
        generation: int | None = None,
        given: int | None = None,
        known: int | None = None,
        owed_ms: int | None = None,
    ) -> None:
        """Change what is given of contacts' rendezvous secrets, all or none; others are left out."""
        values = (secret, generation, given, known, owed_ms)
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE contacts SET secret = coalesce(?, secret), generation = coalesce(?, generation),"
                " given = coalesce(?, given), known = coalesce(?, known), owed_ms = coalesce(?, owed_ms)"
                " WHERE peer_id = ?",
                [(*values, peer_id.key) for peer_id in peer_ids],
            )

    def remove_contact(self, peer_id: PeerId) -> bool:
        """Forget a contact, its secret included; whether there was one."""
        removed = self._write("DELETE FROM contacts WHERE peer_id = ?", peer_id.key) > 0
        self._forget_deleted()
        return removed

    # --- prekeys ----------------------------------------------------------------------------------

    def prekeys(self) -> list[dict[str, Any]]:
        """What :meth:`PrekeyRing.from_state` takes."""
        rows = self._rows("SELECT id, private, created_ms FROM prekeys ORDER BY created_ms")
        return _sensible(
            rows, lambda row: {"id": row[0], "private": bytes(row[1]).hex(), "created_ms": row[2]}
        )

    def save_prekeys(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Keep exactly the prekeys of :meth:`PrekeyRing.to_state`; the octets of others leave the disk."""
        rows = [(entry["id"], bytes.fromhex(entry["private"]), entry["created_ms"]) for entry in state]
        keep = {row[0] for row in rows}
        with self._transaction() as connection:
            for (prekey_id,) in connection.execute("SELECT id FROM prekeys").fetchall():
                if prekey_id not in keep:
                    connection.execute("DELETE FROM prekeys WHERE id = ?", (prekey_id,))
            connection.executemany(
                "INSERT OR REPLACE INTO prekeys (id, private, created_ms) VALUES (?, ?, ?)", rows
            )
        self._forget_deleted()

    # --- sequence counters ------------------------------------------------------------------------

    def last_sequence(self, key: bytes) -> int:
        """The last sequence number used with ``key``; 0: none."""
        rows = self._rows("SELECT last FROM sequences WHERE key = ?", key)
        return rows[0][0] if rows and isinstance(rows[0][0], int) else 0

    def next_sequence(self, key: bytes, now_ms: int, spare: int = 0) -> int:
        """``max(last + 1, now_ms)``, kept on the disk before it is returned: never the same twice.

        The ``spare`` numbers after it are the caller's, too.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT last FROM sequences WHERE key = ?", (key,)).fetchone()
            sequence: int = max(row[0] + 1 if row else 0, now_ms)
            self._put_sequence(connection, key, sequence + spare)
        return sequence

    def raise_sequence(self, key: bytes, sequence: int) -> None:
        """Note that ``sequence`` was used with ``key``; a lower one than the last changes nothing."""
        with self._transaction() as connection:
            self._put_sequence(connection, key, sequence)

    @staticmethod
    def _put_sequence(connection: sqlite3.Connection, key: bytes, sequence: int) -> None:
        connection.execute(
            "INSERT INTO sequences (key, last) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET last = max(last, excluded.last)",
            (key, sequence),
        )
        # Numbers begin at the time of first use, so the lowest belong to rendezvous that are long over
        connection.execute(
            "DELETE FROM sequences WHERE key IN"
            " (SELECT key FROM sequences ORDER BY last DESC LIMIT -1 OFFSET ?)",
            (limits.STATE_SEQUENCES_MAX,),
        )

    # --- replay -----------------------------------------------------------------------------------

    def replay_entries(self, now_ms: int) -> list[ReplayRow]:
        """Entries that have not expired."""
        rows = self._rows(
            "SELECT sender, call_id, kind, expires_ms, digest FROM replay WHERE expires_ms > ?"
            " ORDER BY expires_ms",
            now_ms,
        )
        return _sensible(rows, lambda r: ReplayRow(bytes(r[0]), bytes(r[1]), r[2], r[3], bytes(r[4])))

    def add_replay(self, entries: Sequence[ReplayRow], now_ms: int) -> list[bool]:
        """Remember messages, all or none; False for one that is known, or that there is no room for: then it
        must not be accepted.

        Entries that have expired are dropped on the way.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM replay WHERE expires_ms <= ?", (now_ms,))
            (count,) = connection.execute("SELECT count(*) FROM replay").fetchone()
            added = []
            for entry in entries:
                fresh = (
                    count < limits.STATE_REPLAY_MAX
                    and connection.execute(
                        "INSERT OR IGNORE INTO replay (sender, call_id, kind, digest, expires_ms)"
                        " VALUES (?, ?, ?, ?, ?)",
                        (entry.sender, entry.call_id, entry.kind, entry.digest, entry.expires_ms),
                    ).rowcount
                    > 0
                )
                count += fresh
                added.append(fresh)
            return added

    # --- invites ----------------------------------------------------------------------------------

    def invites(self, now_ms: int) -> list[InviteRow]:
        """Invites that still work, oldest first."""
        rows = self._rows(
            "SELECT secret, expires_ms, once, name, created_ms FROM invites WHERE expires_ms > ?"
            " ORDER BY created_ms",
            now_ms,
        )
        return _sensible(rows, _invite)

    def add_invite(self, invite: InviteRow, now_ms: int) -> None:
        """Remember an invite that was made; raises :class:`UsageError` if too many are open."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM invites WHERE expires_ms <= ?", (now_ms,))
            connection.execute(
                "INSERT OR REPLACE INTO invites (secret, expires_ms, once, name, created_ms)"
                " VALUES (?, ?, ?, ?, ?)",
                (invite.secret, invite.expires_ms, invite.once, invite.name, invite.created_ms),
            )
            (count,) = connection.execute("SELECT count(*) FROM invites").fetchone()
            if count > limits.STATE_INVITES_MAX:
                raise UsageError(f"there is room for {limits.STATE_INVITES_MAX} open invites")

    def use_invite(self, secret: bytes, now_ms: int) -> InviteRow | None:
        """The invite with that secret if it works now; one that works once is gone after that."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT secret, expires_ms, once, name, created_ms FROM invites"
                " WHERE secret = ? AND expires_ms > ?",
                (secret, now_ms),
            ).fetchone()
            found = _sensible([row] if row else [], _invite)
            if found and found[0].once:
                connection.execute("DELETE FROM invites WHERE secret = ?", (secret,))
        return found[0] if found else None

    # --- history ----------------------------------------------------------------------------------

    def put_call(self, call: CallRow) -> None:
        """Add a call to the history, or replace it; the oldest fall out, those of strangers first."""
        with self._transaction() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO calls ({_CALL}) VALUES ({_CALL_VALUES})",  # noqa: S608 - our words
                _call_values(call),
            )
            self._shorten_history(connection, call)

    def put_missed(self, call: CallRow) -> bool:
        """Add a missed call that is not in the history; of one that is there, note that it was cancelled.

        Whether it is new. Of those of one peer that nobody has looked at, the oldest fall out.
        """
        with self._transaction() as connection:
            new = connection.execute(
                f"INSERT OR IGNORE INTO calls ({_CALL}) VALUES ({_CALL_VALUES})",  # noqa: S608 - our words
                _call_values(call),
            ).rowcount
            if not new:
                connection.execute(
                    "UPDATE calls SET reason = ?1 WHERE call_id = ?2 AND peer_id = ?3 AND missed"
                    " AND reason = 'offline' AND ?1 = 'cancelled'",
                    (call.reason, call.call_id, call.peer_id.key),
                )
            connection.execute(
                "DELETE FROM calls WHERE peer_id = ?1 AND call_id IN (SELECT call_id FROM calls"
                " WHERE peer_id = ?1 AND missed AND NOT seen ORDER BY started_ms DESC LIMIT -1 OFFSET ?2)",
                (call.peer_id.key, limits.MISSED_PER_PEER_MAX),
            )
            self._shorten_history(connection, call)
            (kept,) = connection.execute(
                "SELECT count(*) FROM calls WHERE call_id = ? AND peer_id = ?",
                (call.call_id, call.peer_id.key),
            ).fetchone()
        return bool(new and kept)

    @staticmethod
    def _shorten_history(connection: sqlite3.Connection, call: CallRow) -> None:
        connection.execute(
            "DELETE FROM calls WHERE started_ms <"
            " (SELECT started_ms FROM calls ORDER BY started_ms DESC LIMIT 1 OFFSET ?)",
            (limits.STATE_HISTORY_MAX - 1,),
        )
        (known,) = connection.execute(
            "SELECT count(*) FROM contacts WHERE peer_id = ?", (call.peer_id.key,)
        ).fetchone()
        if not known:
            connection.execute(
                "DELETE FROM calls WHERE (call_id, peer_id) IN (SELECT call_id, peer_id FROM calls"
                " WHERE peer_id NOT IN (SELECT peer_id FROM contacts)"
                " ORDER BY started_ms DESC LIMIT -1 OFFSET ?)",
                (limits.STATE_HISTORY_STRANGERS_MAX,),
            )

    def history(self, maximum: int = 100, *, missed: bool = False) -> list[CallRow]:
        """The newest calls, newest first; ``missed``: only those that nobody took."""
        rows = self._rows(
            f"SELECT {_CALL} FROM calls WHERE missed >= ? ORDER BY started_ms DESC LIMIT ?",  # noqa: S608 - our words
            int(missed),
            maximum,
        )
        return _sensible(rows, _call)

    def unseen_missed(self) -> int:
        """How many missed calls nobody has looked at."""
        rows = self._rows("SELECT count(*) FROM calls WHERE missed AND NOT seen")
        return rows[0][0] if rows and isinstance(rows[0][0], int) else 0

    def see_missed(self, call_ids: Iterable[str]) -> None:
        """Somebody has looked at these calls."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE calls SET seen = 1 WHERE call_id = ? AND missed", [(one,) for one in call_ids]
            )

    def end_open_calls(self, now_ms: int, reason: str) -> int:
        """Close what a killed daemon left open in the history; how many."""
        return self._write("UPDATE calls SET ended_ms = ?, reason = ? WHERE ended_ms IS NULL", now_ms, reason)

    # --- notes ------------------------------------------------------------------------------------

    def notes(self) -> list[NoteRow]:
        """What contacts are to be told, the newest first."""
        rows = self._rows("SELECT peer_id, body, last_ms FROM notes ORDER BY last_ms DESC")
        return _sensible(rows, lambda r: NoteRow(PeerId.from_key(r[0]), bytes(r[1]), int(r[2])))

    def put_note(self, note: NoteRow) -> None:
        """Keep a note, in place of the one for the same contact; the oldest fall out."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO notes (peer_id, body, last_ms) VALUES (?, ?, ?)",
                (note.peer_id.key, note.body, note.last_ms),
            )
            connection.execute(
                "DELETE FROM notes WHERE peer_id IN"
                " (SELECT peer_id FROM notes ORDER BY last_ms DESC LIMIT -1 OFFSET ?)",
                (limits.MISSED_NOTES_MAX,),
            )

    def remove_note(self, peer_id: PeerId) -> bool:
        """Drop the note for a contact; whether there was one."""
        return self._write("DELETE FROM notes WHERE peer_id = ?", peer_id.key) > 0

    # --- rooms ------------------------------------------------------------------------------------

    def rooms(self) -> list[RoomRow]:
        """All rooms that we know, the last one that we were in first."""
        rows = self._rows(
            "SELECT room_id, descriptor, secret, memory, joined, plan, last_ms FROM rooms"
            " ORDER BY last_ms DESC, room_id"
        )
        return _sensible(rows, _room)

    def put_room(self, room: RoomRow) -> None:
        """Remember a room, or what is new of it; those that we left longest ago fall out."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO rooms (room_id, descriptor, secret, memory, joined, plan, last_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    room.room_id,
                    room.descriptor,
                    room.secret,
                    room.memory,
                    room.joined,
                    room.plan,
                    room.last_ms,
                ),
            )
            connection.execute(
                "DELETE FROM rooms WHERE room_id IN"
                " (SELECT room_id FROM rooms ORDER BY joined DESC, last_ms DESC LIMIT -1 OFFSET ?)",
                (limits.STATE_ROOMS_MAX,),
            )

    def remove_room(self, room_id: bytes) -> bool:
        """Forget a room, its secret included; whether there was one."""
        removed = self._write("DELETE FROM rooms WHERE room_id = ?", room_id) > 0
        self._forget_deleted()
        return removed

    # --- addresses --------------------------------------------------------------------------------

    def put_addresses(self, rows: Iterable[AddressRow]) -> None:
        """Remember where peers were seen; the least recent fall out."""
        with self._transaction() as connection:
            for row in rows:
                connection.execute(
                    "INSERT OR REPLACE INTO addresses (peer_id, ip, port, source, seen_ms)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (row.peer_id.key, *row.address, row.source, row.seen_ms),
                )
                connection.execute(
                    "DELETE FROM addresses WHERE peer_id = ?1 AND (ip, port) IN"
                    " (SELECT ip, port FROM addresses WHERE peer_id = ?1"
                    " ORDER BY seen_ms DESC LIMIT -1 OFFSET ?2)",
                    (row.peer_id.key, limits.STATE_ADDRESSES_PER_PEER_MAX),
                )
            connection.execute(
                "DELETE FROM addresses WHERE peer_id IN (SELECT peer_id FROM addresses GROUP BY peer_id"
                " ORDER BY max(seen_ms) DESC LIMIT -1 OFFSET ?)",
                (limits.STATE_PEERS_MAX,),
            )

    def addresses(self, peer_id: PeerId | None = None) -> list[AddressRow]:
        """Where a peer (None: every peer) was seen, most recent first."""
        where, values = ("WHERE peer_id = ?", (peer_id.key,)) if peer_id else ("", ())
        rows = self._rows(
            f"SELECT peer_id, ip, port, source, seen_ms FROM addresses {where} ORDER BY seen_ms DESC",  # noqa: S608 - no value is in the text
            *values,
        )
        return _sensible(
            rows, lambda r: AddressRow(PeerId.from_key(r[0]), (str(r[1]), int(r[2])), str(r[3]), int(r[4]))
        )

    def forget_addresses(self, peer_id: PeerId) -> int:
        """Forget where a peer was seen; how many addresses."""
        return self._write("DELETE FROM addresses WHERE peer_id = ?", peer_id.key)

    # --- opaque values ----------------------------------------------------------------------------

    def get_blob(self, name: str) -> bytes | None:
        """An opaque value, such as a saved routing table; None: there is none."""
        rows = self._rows("SELECT value FROM blobs WHERE name = ?", name)
        return bytes(rows[0][0]) if rows and isinstance(rows[0][0], bytes) else None

    def set_blob(self, name: str, value: bytes | None) -> None:
        """Keep an opaque value (None: drop it); raises ValueError if it is larger than
        :data:`limits.STATE_BLOB_MAX`.
        """
        if value is None:
            self._write("DELETE FROM blobs WHERE name = ?", name)
        elif len(value) > limits.STATE_BLOB_MAX:
            raise ValueError(f"{name} has {len(value)} octets")
        else:
            self._write("INSERT OR REPLACE INTO blobs (name, value) VALUES (?, ?)", name, value)


_CALL: Final = "call_id, peer_id, direction, started_ms, connected_ms, ended_ms, reason, path, missed, seen"
_CALL_VALUES: Final = ", ".join("?" * 10)


def _call_values(call: CallRow) -> tuple[object, ...]:
    return (call.call_id, call.peer_id.key, call.direction, call.started_ms, call.connected_ms, call.ended_ms,
            call.reason, call.path, call.missed, call.seen)  # fmt: skip


def _call(row: tuple[Any, ...]) -> CallRow:
    call_id, key, direction, started_ms, connected_ms, ended_ms, reason, path, missed, seen = row
    return CallRow(
        str(call_id),
        PeerId.from_key(key),
        str(direction),
        int(started_ms),
        connected_ms,
        ended_ms,
        str(reason),
        str(path),
        bool(missed),
        bool(seen),
    )


def _name_key(name: str) -> str | None:
    return unicodedata.normalize("NFC", name).casefold() or None


def _sensible(rows: Iterable[tuple[Any, ...]], build: Callable[[tuple[Any, ...]], T]) -> list[T]:
    """What ``build`` makes of the rows, without those that it can't make anything of."""
    built = []
    for row in rows:
        try:
            built.append(build(row))
        except (InvalidPeerId, TypeError, ValueError):
            continue
    return built


def _contact(row: tuple[Any, ...]) -> ContactRow:
    key, name, blocked, verified, secret, *numbers = row
    return ContactRow(
        PeerId.from_key(key), str(name), bool(blocked), bool(verified), bytes(secret), *map(int, numbers)
    )


def _room(row: tuple[Any, ...]) -> RoomRow:
    room_id, descriptor, secret, memory, joined, plan, last_ms = row
    return RoomRow(
        bytes(room_id),
        bytes(descriptor),
        bytes(secret),
        bytes(memory),
        joined=bool(joined),
        plan=bytes(plan),
        last_ms=int(last_ms),
    )


def _invite(row: tuple[Any, ...]) -> InviteRow:
    secret, expires_ms, once, name, created_ms = row
    return InviteRow(bytes(secret), int(expires_ms), bool(once), str(name), int(created_ms))
