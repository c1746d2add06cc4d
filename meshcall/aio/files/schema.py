"""The tables of the state database, as numbered migrations.

Law: a migration that was released is never changed; the schema changes by adding one.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x6D63616C
"""``mcal`` in SQLite's header: another program's database is not taken for ours."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE contacts (
            peer_id BLOB PRIMARY KEY CHECK (length(peer_id) = 32),
            name TEXT NOT NULL,
            name_key TEXT UNIQUE,
            blocked INTEGER NOT NULL,
            verified INTEGER NOT NULL,
            secret BLOB NOT NULL,
            added_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE prekeys (
            id INTEGER PRIMARY KEY,
            private BLOB NOT NULL CHECK (length(private) = 32),
            created_ms INTEGER NOT NULL
        )""",
        """CREATE TABLE sequences (
            key BLOB PRIMARY KEY,
            last INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE replay (
            sender BLOB NOT NULL,
            call_id BLOB NOT NULL,
            kind INTEGER NOT NULL,
            digest BLOB NOT NULL,
            expires_ms INTEGER NOT NULL,
            PRIMARY KEY (sender, call_id, kind, digest)
        ) WITHOUT ROWID""",
        "CREATE INDEX replay_by_expiry ON replay (expires_ms)",
        """CREATE TABLE invites (
            secret BLOB PRIMARY KEY,
            expires_ms INTEGER NOT NULL,
            once INTEGER NOT NULL,
            name TEXT NOT NULL,
            created_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE calls (
            call_id TEXT NOT NULL,
            peer_id BLOB NOT NULL,
            direction TEXT NOT NULL,
            started_ms INTEGER NOT NULL,
            connected_ms INTEGER,
            ended_ms INTEGER,
            reason TEXT NOT NULL,
            path TEXT NOT NULL,
            PRIMARY KEY (call_id, peer_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX calls_by_start ON calls (started_ms)",
        """CREATE TABLE addresses (
            peer_id BLOB NOT NULL,
            ip TEXT NOT NULL,
            port INTEGER NOT NULL,
            source TEXT NOT NULL,
            seen_ms INTEGER NOT NULL,
            PRIMARY KEY (peer_id, ip, port)
        ) WITHOUT ROWID""",
        """CREATE TABLE blobs (
            name TEXT PRIMARY KEY,
            value BLOB NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE calls ADD COLUMN missed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE calls ADD COLUMN seen INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE notes (
            peer_id BLOB PRIMARY KEY,
            body BLOB NOT NULL,
            last_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE contacts ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE contacts ADD COLUMN given INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE contacts ADD COLUMN known INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE contacts ADD COLUMN owed_ms INTEGER NOT NULL DEFAULT 0",
    ),
    (
        """CREATE TABLE rooms (
            room_id BLOB PRIMARY KEY CHECK (length(room_id) = 16),
            descriptor BLOB NOT NULL,
            secret BLOB NOT NULL,
            memory BLOB NOT NULL,
            joined INTEGER NOT NULL,
            plan BLOB NOT NULL,
            last_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
)
"""``MIGRATIONS[n]`` takes schema version n to n + 1."""
