"""The SQLite file under the state: opening, checking, migrating, setting aside, and errors as ours.

Law 1: WAL with ``synchronous=FULL``: a method that has returned is on the disk. ``secure_delete``: what was
deleted is overwritten.
Law 2: a file that SQLite finds damaged is set aside with its ``-wal`` and ``-shm``, and a fresh one is made.
Law 3: a schema only grows, by numbered migrations, each in one transaction. A newer one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from meshcall.aio.files.atomic import set_aside, sync_folder
from meshcall.aio.files.home import check_private
from meshcall.aio.files.schema import APPLICATION_ID, MIGRATIONS
from meshcall.errors import HomeNotUsable, StateCorrupt, StateUnwritable

P = ParamSpec("P")
R = TypeVar("R")

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_VERSION_SANE: Final = 10_000
_BELONGING: Final = ("-wal", "-shm", "-journal")


class _Damaged(Exception):
    """Why the file can't be used. Never leaves this module."""


class Database:
    """A connection that may be used from any thread, one use at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, warnings: tuple[str, ...]) -> None:
        """Use :meth:`open`."""
        self._path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self.warnings: Final = warnings
        """Sentences for the user about what was damaged when it was opened."""

    @property
    def was_reset(self) -> bool:
        """Whether a damaged database was replaced: replay entries and counters are gone.

        Messages that were made before this start should then not be accepted.
        """
        return bool(self.warnings)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``function`` (a method of this) in the database's own thread; calls are served in order.

        A cancelled caller does not undo what was begun.
        """
        if self._closed:
            raise StateUnwritable("the state is closed")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="meshcall-state")
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, partial(function, *args, **kwargs)
        )

    def close(self) -> None:
        """Finish what was begun and close; harmless if it is closed."""
        self._closed = True
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)
        with self._lock:
            self._connection.close()

    async def aclose(self) -> None:
        """:meth:`close` without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path}, {'closed' if self._closed else 'open'})"

    def _rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock, self._errors():
            rows: list[tuple[object, ...]] = self._connection.execute(sql, values).fetchall()
            return rows

    def _write(self, sql: str, *values: object) -> int:
        """One statement in one transaction; how many rows it changed."""
        with self._transaction() as connection:
            return connection.execute(sql, values).rowcount

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and on the disk when the block is left."""
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself (disk full)
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _forget_deleted(self) -> None:
        """Take what was deleted out of the write-ahead log too. A reader may delay that to the next time."""
        with self._lock, self._errors():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if _is_damage(error):
                raise StateCorrupt(
                    f"the state database {self._path} is damaged: {error}",
                    hint="restart the daemon: it sets the damaged file aside and starts a new one",
                ) from error
            raise StateUnwritable(f"the state database {self._path} can't be used: {error}") from error


def connect(path: Path, now_ms: int | None) -> tuple[sqlite3.Connection, tuple[str, ...]]:
    """(connection, warnings) of the database at ``path``, made if there is none.

    Raises :class:`LoosePermissions`, :class:`HomeNotUsable` (a newer meshcall's, or not ours) or
    :class:`StateUnwritable`; never for damage.
    """
    try:
        try:
            return _connect(path), ()
        except _Damaged as damage:
            target = set_aside(path, now_ms=now_ms, also=_BELONGING)
            warning = f"{path.name} was damaged ({damage}); it is kept as {target.name}, a new one is used"
            return _connect(path), (warning,)
    except (OSError, sqlite3.Error, _Damaged) as error:
        raise StateUnwritable(f"the state database {path} can't be used: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Raises :class:`_Damaged`, our errors, OSError, sqlite3.Error."""
    made = False
    with contextlib.suppress(FileExistsError):
        # SQLite gives -wal and -shm the mode of the database
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        sync_folder(path.parent)
        made = True
    if path.is_symlink() or not path.is_file():
        raise _Damaged("not a regular file")
    check_private(path, path.stat(), "chmod 600")
    if not made and path.stat().st_size == 0:
        raise _Damaged("it is empty")  # for SQLite a new one, but for us what it held is lost
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    try:
        _prepare(connection, path)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        connection.close()
        if _is_damage(error):
            raise _Damaged(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    report = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if report != ("ok",):
        raise _Damaged(str(report[0]) if report else "no report")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (tables and application != APPLICATION_ID) or not 0 <= version < _VERSION_SANE:
        raise _Damaged("not a state database of meshcall")
    if version > len(MIGRATIONS):
        raise HomeNotUsable(
            f"{path} was written by a newer meshcall (schema {version}, this one knows {len(MIGRATIONS)})",
            hint="upgrade this meshcall, or choose another home with `--home DIR`",
        )
    for number in range(version, len(MIGRATIONS)):
        _migrate(connection, number)
    if _schema_of(connection) != _expected_schema():
        raise _Damaged("its tables are not those of meshcall")
    sync_folder(path.parent)


def _schema_of(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    ).fetchall()
    return rows


def _expected_schema() -> list[tuple[object, ...]]:
    """What the migrations make in memory."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for number in range(len(MIGRATIONS)):
            _migrate(connection, number)
        return _schema_of(connection)


def _is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is damaged; it also quotes octets of the file that are no text."""
    return isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", None) in _DAMAGED


def _migrate(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", errors="replace")
