"""Files on a real disk: whole or absent, private, swept, set aside; kill -9 loses nothing acknowledged."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.aio.clock import Clock, SystemClock, system_random
from meshcall.aio.files import (
    AddressRow,
    CallRow,
    ContactRow,
    HomeLock,
    InviteRow,
    NoteRow,
    ReplayRow,
    StateDb,
    change_passphrase,
    create_exclusive,
    create_key,
    key_is_locked,
    load_key,
    load_or_set_aside,
    load_peer_id,
    open_home,
    read_limited,
    schema,
    set_aside,
    sweep,
    write_atomic,
)
from meshcall.errors import (
    AlreadyRunning,
    DuplicateContact,
    FileError,
    HomeNotUsable,
    KeyFileError,
    LoosePermissions,
    NoIdentity,
    PassphraseNeeded,
    StateUnwritable,
    UsageError,
    WrongPassphrase,
)
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.prekeys import PrekeyRing
from meshcall.paths import HomePaths

NOW = 1_800_000_000_000
HOUR = 3_600_000
ANN, BEN, CAT = (SigningKey.from_seed(bytes([n]) * 32).peer_id for n in (1, 2, 3))
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    """A fresh home."""
    return open_home(tmp_path / "home")


@pytest.fixture
def db(home: HomePaths) -> Iterator[StateDb]:
    """A fresh state database."""
    state = StateDb.open(home.state)
    assert state.warnings == ()
    yield state
    state.close()


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


# --- atomic files ---------------------------------------------------------------------------------


def test_write_atomic_makes_and_replaces(tmp_path: Path) -> None:
    """The new octets, mode 0600 whatever the umask or the old mode, and nothing beside."""
    path = tmp_path / "file"
    old_umask = os.umask(0)
    try:
        write_atomic(path, b"one")
        path.chmod(0o666)
        write_atomic(path, b"two")
    finally:
        os.umask(old_umask)
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o600
    assert names(tmp_path) == ["file"]


def test_write_atomic_replaces_a_link_not_its_target(tmp_path: Path) -> None:
    """A planted link does not redirect a write."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"precious")
    path.symlink_to(victim)
    write_atomic(path, b"new")
    assert victim.read_bytes() == b"precious"
    assert not path.is_symlink()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_changes_nothing(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the error comes out, the old file stays, nothing is left beside it."""
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_create_exclusive_never_overwrites(tmp_path: Path) -> None:
    """Not a file, not a folder, not a dangling link."""
    path = tmp_path / "file"
    create_exclusive(path, b"one")
    assert mode(path) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    for taken in ("file", "link", "folder"):
        with pytest.raises(FileExistsError):
            create_exclusive(tmp_path / taken, b"two")
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["file", "folder", "link"]


def test_create_exclusive_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without hard links: the same promises."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    create_exclusive(tmp_path / "file", b"one")
    with pytest.raises(FileExistsError):
        create_exclusive(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert names(tmp_path) == ["file"]


def test_read_limited_takes_regular_files_only(tmp_path: Path) -> None:
    """Links, folders, fifos (without waiting) and files that are too big are refused."""
    (tmp_path / "file").write_bytes(b"12345")
    assert read_limited(tmp_path / "file", 5) == b"12345"
    with pytest.raises(FileError, match="more than 4"):
        read_limited(tmp_path / "file", 4)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(FileError, match="symbolic link"):
        read_limited(tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    for other in ("fifo", "."):
        with pytest.raises(FileError, match="not a regular file"):
            read_limited(tmp_path / other)
    with pytest.raises(FileNotFoundError):
        read_limited(tmp_path / "none")


def test_sweep_removes_leftovers_and_nothing_else(tmp_path: Path) -> None:
    """Only files with the name that a killed writer leaves."""
    keep = ["file", ".file.tmp", "x.0123456789abcdef.tmp", ".file.0123456789abcdeX.tmp", "probe"]
    for name in [*keep, ".file.0123456789abcdef.tmp", ".a.b.c.ffffffffffffffff.tmp"]:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".dir.0123456789abcdef.tmp").mkdir()
    assert len(sweep(tmp_path)) == 2
    assert names(tmp_path) == sorted([*keep, ".dir.0123456789abcdef.tmp"])


def test_set_aside_keeps_everything(tmp_path: Path) -> None:
    """Name with the UTC time, the second one of that second gets a number, companions follow."""
    for content in (b"a", b"b"):
        (tmp_path / "state.db").write_bytes(content)
        (tmp_path / "state.db-wal").write_bytes(content)
        set_aside(tmp_path / "state.db", now_ms=NOW, also=("-wal", "-shm"))
    stamp = "state.db.corrupt-20270115T080000Z"
    assert names(tmp_path) == [stamp, f"{stamp}-2", f"{stamp}-2-wal", f"{stamp}-wal"]
    assert (tmp_path / f"{stamp}-2-wal").read_bytes() == b"b"


def test_load_or_set_aside(tmp_path: Path) -> None:
    """No file: the default. A good one: its value. A bad one: the default, a warning, and the file kept."""
    path = tmp_path / "dht.state"
    assert load_or_set_aside(path, int, 7, now_ms=NOW) == (7, None)
    path.write_bytes(b"12")
    assert load_or_set_aside(path, int, 7, now_ms=NOW) == (12, None)
    path.write_bytes(b"twelve")
    value, warning = load_or_set_aside(path, int, 7, now_ms=NOW)
    assert value == 7
    assert warning is not None
    assert "dht.state.corrupt-20270115T080000Z" in warning
    assert names(tmp_path) == ["dht.state.corrupt-20270115T080000Z"]
    path.mkdir()
    value, warning = load_or_set_aside(path, int, 7, now_ms=NOW)
    assert (value, warning is not None) == (7, True)
    assert not path.exists()


def test_a_file_that_can_not_be_read_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files is not damage."""
    path = tmp_path / "dht.state"
    path.write_bytes(b"12")

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        value, warning = load_or_set_aside(path, int, 7)
    assert value == 7
    assert warning is not None
    assert "Too many open files" in warning
    assert names(tmp_path) == ["dht.state"]


# --- the home -------------------------------------------------------------------------------------


def test_open_home_makes_private_folders(tmp_path: Path) -> None:
    """All folders that it makes are 0700 under any umask; opening again changes nothing."""
    old_umask = os.umask(0)
    try:
        home = open_home(tmp_path / "a" / "b")
    finally:
        os.umask(old_umask)
    for folder in (tmp_path / "a", home.path, home.run):
        assert mode(folder) == 0o700
    assert open_home(home.path) == home
    assert names(home.path) == ["run"]
    assert names(home.run) == []


@pytest.mark.parametrize("loose", [0o755, 0o750, 0o770, 0o701, 0o777])
def test_a_loose_home_is_refused_with_the_command(tmp_path: Path, loose: int) -> None:
    """Any bit for group or others; the hint is the command that mends it, and it does."""
    path = tmp_path / "my home"
    path.mkdir()
    path.chmod(loose)
    with pytest.raises(LoosePermissions) as caught:
        open_home(path)
    assert caught.value.hint == f"chmod 700 '{path}'"
    assert f"{loose:04o}" in str(caught.value)
    assert mode(path) == loose
    subprocess.run(caught.value.hint, shell=True, check=True)
    assert open_home(path).path == path


def test_a_loose_run_folder_is_refused(home: HomePaths) -> None:
    """The folder of the control socket is looked at too."""
    home.run.chmod(0o711)
    with pytest.raises(LoosePermissions) as caught:
        open_home(home.path)
    assert caught.value.hint == f"chmod 700 {home.run}"


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A file, a path through a file, a link to nothing, a name with a zero octet."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "file/below", "dangling", "x" * 300, "zero\0octet"):
        with pytest.raises(HomeNotUsable) as caught:
            open_home(tmp_path / name)
        assert caught.value.exit_code == 1
        assert not isinstance(caught.value, LoosePermissions)


def test_a_link_to_a_good_home_is_fine(home: HomePaths, tmp_path: Path) -> None:
    """Users move their data and leave a link."""
    (tmp_path / "link").symlink_to(home.path)
    assert open_home(tmp_path / "link").path == tmp_path / "link"


def test_a_home_that_can_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only or full: one sentence with the system's reason, nothing left."""
    path = tmp_path / "home"

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(HomeNotUsable, match="No space left on device"):
            open_home(path)
    assert names(path) == ["run"]
    assert names(path / "run") == []


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere: run as another user")
def test_a_read_only_home_is_refused(tmp_path: Path) -> None:
    """No write permission."""
    path = tmp_path / "home"
    path.mkdir(mode=0o500)
    with pytest.raises(HomeNotUsable, match="Permission denied"):
        open_home(path)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder away: run as root")
def test_other_users_are_kept_out(home: HomePaths, tmp_path: Path) -> None:
    """A home of another user is refused; and uid 65534 can't read a thing in ours."""
    create_key(home)
    StateDb.open(home.state).close()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(mode(folder) | 0o011)
    program = (
        "import os, sys\nos.setgid(65534); os.setuid(65534)\nread = []\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        os.listdir(path) if os.path.isdir(path) else open(path).close()\n"
        "        read.append(path)\n"
        "    except PermissionError: pass\n"
        "sys.exit(len(read))"
    )
    paths = [str(path) for path in (home.path, home.run, home.key, home.state)]
    assert subprocess.run([sys.executable, "-c", program, *paths], check=False).returncode == 0
    os.chown(home.path, 65534, 65534)
    with pytest.raises(HomeNotUsable, match="another user"):
        open_home(home.path)


# --- the lock -------------------------------------------------------------------------------------


def test_a_second_daemon_is_told_who_the_first_is(home: HomePaths) -> None:
    """The process id is in the sentence; after the release the home is free."""
    with HomeLock(home) as lock:
        assert lock.held
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}") as caught:
            HomeLock(home).acquire()
        assert caught.value.exit_code == 1
    assert not lock.held
    with HomeLock(home):
        assert mode(home.lock) == 0o600
    lock.release()


def test_the_lock_sweeps_the_home(home: HomePaths) -> None:
    """Who holds it is alone, so what killed writers left can go."""
    leftover = home.path / ".dht.state.0123456789abcdef.tmp"
    leftover.write_bytes(b"half")
    with HomeLock(home):
        assert not leftover.exists()


def test_a_lock_dies_with_its_process(home: HomePaths) -> None:
    """kill -9 of the holder frees the home at once."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom meshcall.aio.files import HomeLock\n"
        "from meshcall.paths import HomePaths\n"
        "HomeLock(HomePaths(Path(sys.argv[1]))).acquire()\nprint('held', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=f"process {child.pid}"):
            HomeLock(home).acquire()
        child.kill()
        child.wait()
    with HomeLock(home) as lock:
        assert lock.held


def test_a_planted_link_for_the_lock_is_refused(home: HomePaths, tmp_path: Path) -> None:
    """The lock file is not followed elsewhere."""
    home.lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeNotUsable):
        HomeLock(home).acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_without_locks_says_so(home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not "taken" is not reported as another daemon."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(HomeNotUsable, match="No locks available"):
        HomeLock(home).acquire()


# --- the key file ---------------------------------------------------------------------------------


def test_a_key_is_made_once(home: HomePaths) -> None:
    """0600, readable again, and never replaced."""
    with pytest.raises(NoIdentity):
        load_key(home)
    key = create_key(home)
    assert mode(home.key) == 0o600
    assert load_key(home).seed == key.seed
    assert load_peer_id(home) == key.peer_id
    assert not key_is_locked(home)
    with pytest.raises(KeyFileError, match="already"):
        create_key(home)
    assert load_key(home).seed == key.seed
    assert names(home.path) == ["identity.key", "run"]


def test_a_key_with_a_passphrase(home: HomePaths) -> None:
    """The ID is readable without it, the key is not; changing it keeps the identity."""
    key = create_key(home, "one")
    assert key_is_locked(home)
    assert load_peer_id(home) == key.peer_id
    with pytest.raises(PassphraseNeeded):
        load_key(home)
    with pytest.raises(WrongPassphrase):
        load_key(home, "two")
    with pytest.raises(WrongPassphrase):
        change_passphrase(home, "two", "three")
    change_passphrase(home, "one", "two")
    assert load_key(home, "two").seed == key.seed
    change_passphrase(home, "two", None)
    assert load_key(home).seed == key.seed
    assert mode(home.key) == 0o600


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o644, 0o620])
def test_a_loose_key_is_refused_with_the_command(home: HomePaths, loose: int) -> None:
    """Any bit for group or others."""
    create_key(home)
    home.key.chmod(loose)
    with pytest.raises(LoosePermissions) as caught:
        load_key(home)
    assert caught.value.hint == f"chmod 600 {home.key}"


def test_a_key_that_is_a_link_a_folder_or_a_fifo_is_refused(home: HomePaths, tmp_path: Path) -> None:
    """A key is a file of ours, where it is."""
    create_key(home)
    home.key.rename(tmp_path / "elsewhere")
    home.key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="symbolic link"):
        load_key(home)
    home.key.unlink()
    home.key.mkdir()
    with pytest.raises(KeyFileError, match="not a regular file"):
        load_key(home)
    home.key.rmdir()
    os.mkfifo(home.key, 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        load_key(home)


def test_a_damaged_key_stops_the_start_and_stays(home: HomePaths) -> None:
    """It is not set aside, and no new identity takes its place."""
    create_key(home)
    damaged = home.key.read_bytes()[:-1]
    write_atomic(home.key, damaged)
    for attempt in (load_key, load_peer_id, key_is_locked):
        with pytest.raises(KeyFileError) as caught:
            attempt(home)
        assert caught.value.hint
        assert caught.value.exit_code == 7
    with pytest.raises(KeyFileError, match="already"):
        create_key(home)
    assert home.key.read_bytes() == damaged


def test_a_key_that_can_not_be_written_leaves_nothing(
    home: HomePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: no identity, rather than half of one."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(KeyFileError, match="No space left on device"):
            create_key(home)
    with pytest.raises(NoIdentity):
        load_key(home)
    assert names(home.path) == ["run"]


# --- the state database ---------------------------------------------------------------------------


def test_the_database_is_private_durable_and_ours(db: StateDb, home: HomePaths) -> None:
    """Mode 0600 with its companions, WAL, FULL, secure delete, our application id, the newest schema."""
    db.put_contact(ContactRow(ANN, "Ann"))
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        assert mode(home.path / name) == 0o600
    assert db._rows("PRAGMA journal_mode") == [("wal",)]
    assert db._rows("PRAGMA synchronous") == [(2,)]
    assert db._rows("PRAGMA secure_delete") == [(1,)]
    assert db._rows("PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert db._rows("PRAGMA user_version") == [(len(schema.MIGRATIONS),)]


def test_contacts(db: StateDb) -> None:
    """Added, changed, listed in order, removed; names are unique without regard to case."""
    ann = ContactRow(ANN, "Ann", secret=b"s" * 32, added_ms=1)
    db.put_contact(ann)
    db.put_contact(ContactRow(BEN, "Ben", blocked=True, verified=True, added_ms=2))
    assert db.contacts() == [ann, ContactRow(BEN, "Ben", True, True, b"", 2)]
    for taken in ("Ann", "aNN"):
        with pytest.raises(DuplicateContact, match=taken):
            db.put_contact(ContactRow(CAT, taken))
    db.put_contact(replace(ann, name="ANN"))
    with pytest.raises(DuplicateContact):
        db.put_contact(replace(ann, name="ben"))
    assert [row.name for row in db.contacts()] == ["ANN", "Ben"]
    assert db.remove_contact(ANN)
    assert not db.remove_contact(ANN)
    assert [row.peer_id for row in db.contacts()] == [BEN]


def test_what_is_noted_of_rendezvous_secrets_stays_when_a_contact_is_renamed(db: StateDb) -> None:
    """A user's change and what a call notes meanwhile do not undo each other."""
    ann = ContactRow(ANN, "Ann", added_ms=1)
    db.put_contact(ann)
    db.note_contact([ANN, BEN], secret=b"s" * 32, generation=3, given=2)
    db.note_contact([ANN], known=2, owed_ms=77)
    db.put_contact(replace(ann, name="Anna"))
    noted = replace(ann, name="Anna", secret=b"s" * 32, generation=3, given=2, known=2, owed_ms=77)
    assert db.contacts() == [noted], "and who is no contact is not made one"
    assert db.remove_contact(ANN)
    db.put_contact(ann)
    assert db.contacts() == [ann]


def test_a_database_of_the_first_schema_is_taken_over(
    home: HomePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its contacts have given and hold no rendezvous secret."""
    monkeypatch.setattr("meshcall.aio.files.database.MIGRATIONS", schema.MIGRATIONS[:1])
    first = StateDb.open(home.state)
    with first._transaction() as connection:
        connection.execute("INSERT INTO contacts VALUES (?, 'Ann', 'ann', 0, 1, x'', 5)", (ANN.key,))
    first.close()
    monkeypatch.undo()
    again = StateDb.open(home.state)
    assert again.contacts() == [ContactRow(ANN, "Ann", verified=True, added_ms=5)]
    again.close()


def test_many_may_have_no_name(db: StateDb) -> None:
    """Blocked strangers need none."""
    for peer_id in (ANN, BEN):
        db.put_contact(ContactRow(peer_id, blocked=True))
    assert len(db.contacts()) == 2


def test_contacts_have_a_cap(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one too many is refused and changes nothing; changing an old one still works."""
    monkeypatch.setattr(limits, "STATE_CONTACTS_MAX", 2)
    for peer_id in (ANN, BEN):
        db.put_contact(ContactRow(peer_id))
    with pytest.raises(UsageError, match="room for 2"):
        db.put_contact(ContactRow(CAT))
    db.put_contact(ContactRow(ANN, "Ann"))
    assert {row.peer_id for row in db.contacts()} == {ANN, BEN}


def test_a_weak_key_in_the_database_is_no_contact(db: StateDb, home: HomePaths) -> None:
    """Somebody who writes into the file still can't make a forgeable key a contact."""
    db.put_contact(ContactRow(ANN, "Ann"))
    with sqlite3.connect(home.state) as raw:
        for number, key in enumerate((bytes(32), b"\x01" + bytes(31))):
            raw.execute(
                "INSERT INTO contacts VALUES (?, ?, ?, 0, 0, x'', 0, 0, 0, 0, 0)",
                (key, f"M{number}", f"m{number}"),
            )
    raw.close()
    assert [row.peer_id for row in db.contacts()] == [ANN]


def test_secrets_are_not_in_a_repr() -> None:
    """Rows with a secret hide it."""
    shown = repr(ContactRow(ANN, secret=b"hidden")) + repr(InviteRow(b"hidden", 1))
    assert "hidden" not in shown


def test_prekeys_read_back_and_deleted_ones_leave_the_disk(db: StateDb, home: HomePaths) -> None:
    """After the deletion no file in the home holds an octet string of the private half."""
    ring = PrekeyRing()
    first = ring.current(NOW, system_random)
    db.save_prekeys(ring.to_state())
    assert first.key.private in b"".join(path.read_bytes() for path in home.path.glob("state.db*"))
    second = ring.current(NOW + 30 * HOUR, system_random)
    db.save_prekeys(ring.to_state())
    assert PrekeyRing.from_state(db.prekeys()).to_state() == ring.to_state()
    assert ring.expire(NOW + 48 * HOUR)
    db.save_prekeys(ring.to_state())
    assert [entry["id"] for entry in db.prekeys()] == [second.id]
    on_disk = b"".join(path.read_bytes() for path in home.path.glob("state.db*"))
    assert first.key.private[:16] not in on_disk
    assert first.key.private[16:] not in on_disk
    assert second.key.private in on_disk


def test_sequences_never_repeat(db: StateDb, home: HomePaths) -> None:
    """They follow the clock, never go back with it, and survive a restart."""
    assert db.last_sequence(b"k") == 0
    assert db.next_sequence(b"k", NOW) == NOW
    assert db.next_sequence(b"k", NOW) == NOW + 1
    assert db.next_sequence(b"k", 5, 3) == NOW + 2
    assert db.next_sequence(b"k", 5) == NOW + 6
    db.raise_sequence(b"k", NOW + 10)
    db.raise_sequence(b"k", 3)
    db.close()
    again = StateDb.open(home.state)
    assert again.last_sequence(b"k") == NOW + 10
    assert again.next_sequence(b"k", NOW) == NOW + 11
    assert again.next_sequence(b"other", NOW) == NOW
    again.close()


def test_sequences_have_a_cap(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones of long ago go first."""
    monkeypatch.setattr(limits, "STATE_SEQUENCES_MAX", 3)
    for number in range(6):
        db.next_sequence(bytes([number]), NOW + number)
    assert [db.last_sequence(bytes([n])) > 0 for n in range(6)] == [False] * 3 + [True] * 3


def test_replay_entries(db: StateDb, home: HomePaths) -> None:
    """The first time True, then False, also after a restart, until it expires."""
    entry = ReplayRow(ANN.key, b"c" * 16, 1, NOW + 1000)
    assert db.add_replay([entry], NOW) == [True]
    others = [replace(entry, digest=b"d" * 32), replace(entry, kind=2), replace(entry, sender=BEN.key)]
    assert db.add_replay([entry, *others, others[0]], NOW) == [False, True, True, True, False]
    db.close()
    again = StateDb.open(home.state)
    assert again.add_replay([entry], NOW) == [False]
    assert entry in again.replay_entries(NOW)
    assert len(again.replay_entries(NOW)) == 4
    assert again.replay_entries(NOW + 1000) == []
    assert again.add_replay([entry], NOW + 999) == [False]
    assert again.add_replay([entry], NOW + 1000) == [True]
    again.close()


def test_a_full_replay_table_refuses(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets nothing early: what can't be remembered is not accepted, until room is made by time."""
    monkeypatch.setattr(limits, "STATE_REPLAY_MAX", 2)
    rows = [ReplayRow(ANN.key, bytes([n]), 1, NOW + 1000 + n) for n in range(4)]
    assert db.add_replay(rows[:3], NOW) == [True, True, False]
    assert db.add_replay(rows[3:], NOW + 1000) == [True]
    assert db.add_replay(rows[1:2], NOW + 1000) == [False]


def test_invites(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that works once works once; the other until it expires; there is a cap."""
    once, often = InviteRow(b"1" * 16, NOW + 10, True, "Ann", 1), InviteRow(b"2" * 16, NOW + 20, created_ms=2)
    db.add_invite(once, NOW)
    db.add_invite(often, NOW)
    assert db.invites(NOW) == [once, often]
    assert db.use_invite(b"3" * 16, NOW) is None
    assert db.use_invite(once.secret, NOW + 10) is None
    assert db.use_invite(once.secret, NOW) == once
    assert db.use_invite(once.secret, NOW) is None
    assert db.use_invite(often.secret, NOW) == db.use_invite(often.secret, NOW) == often
    assert db.invites(NOW + 20) == []
    monkeypatch.setattr(limits, "STATE_INVITES_MAX", 1)
    with pytest.raises(UsageError, match="room for 1"):
        db.add_invite(once, NOW)
    assert db.invites(NOW) == [often]
    db.add_invite(replace(once, expires_ms=NOW + 30), NOW + 20)


def test_history(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first; replaced as a call goes on; what a killed daemon left open is closed; the oldest go."""
    one = CallRow("11", ANN, "out", NOW)
    two = CallRow("22", BEN, "in", NOW + 1, NOW + 2, NOW + 3, "hangup", "lan")
    db.put_call(one)
    db.put_call(two)
    db.put_call(replace(one, connected_ms=NOW + 5))
    assert db.history() == [two, replace(one, connected_ms=NOW + 5)]
    assert db.history(1) == [two]
    assert db.end_open_calls(NOW + 9, "failed") == 1
    assert db.history()[1] == replace(one, connected_ms=NOW + 5, ended_ms=NOW + 9, reason="failed")
    monkeypatch.setattr(limits, "STATE_HISTORY_MAX", 3)
    for number in range(10):
        db.put_call(CallRow(f"c{number}", CAT, "in", NOW + 100 + number))
    assert [call.call_id for call in db.history()] == ["c9", "c8", "c7"]


def test_missed_calls(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """New ones are added and counted until they are seen; of old ones only the cancelling is noted."""
    late = CallRow("11", ANN, "in", NOW, None, NOW, "offline", missed=True)
    taken = CallRow("22", ANN, "in", NOW + 1, NOW + 2, NOW + 3, "hangup")
    db.put_call(taken)
    assert db.put_missed(late)
    assert not db.put_missed(late)
    assert not db.put_missed(replace(late, call_id="22", reason="cancelled"))
    assert db.history() == [taken, late]
    assert not db.put_missed(replace(late, reason="cancelled", started_ms=NOW + 9))
    assert not db.put_missed(late)
    assert db.history(missed=True) == [replace(late, reason="cancelled")]
    assert db.unseen_missed() == 1
    db.see_missed(["11", "22", "33"])
    assert db.unseen_missed() == 0
    assert db.history() == [taken, replace(late, reason="cancelled", seen=True)]
    monkeypatch.setattr(limits, "MISSED_PER_PEER_MAX", 2)
    for number in range(5):
        db.put_missed(replace(late, call_id=f"b{number}", peer_id=BEN, started_ms=NOW + number))
    assert not db.put_missed(replace(late, call_id="b0", peer_id=BEN)), "it fell out at once"
    db.put_missed(replace(late, call_id="44", started_ms=NOW - 1))
    assert [call.call_id for call in db.history(missed=True)] == ["b4", "b3", "11", "44"]


def test_strangers_push_no_contact_out_of_the_history(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have a share of their own, and the oldest of it go first."""
    monkeypatch.setattr(limits, "STATE_HISTORY_STRANGERS_MAX", 2)
    db.put_contact(ContactRow(ANN, "Ann"))
    for number in range(3):
        db.put_call(CallRow(f"a{number}", ANN, "in", NOW + number))
        db.put_call(CallRow(f"b{number}", BEN, "in", NOW + 100 + number))
        db.put_missed(CallRow(f"c{number}", CAT, "in", NOW + 50 + number, missed=True))
    assert [call.call_id for call in db.history()] == ["b2", "b1", "a2", "a1", "a0"]


def test_notes(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each contact, the newest of all."""
    monkeypatch.setattr(limits, "MISSED_NOTES_MAX", 2)
    db.put_note(NoteRow(ANN, b"one", NOW))
    db.put_note(NoteRow(ANN, b"two", NOW + 1))
    assert db.notes() == [NoteRow(ANN, b"two", NOW + 1)]
    db.put_note(NoteRow(BEN, b"b", NOW + 3))
    db.put_note(NoteRow(CAT, b"c", NOW + 2))
    assert [note.peer_id for note in db.notes()] == [BEN, CAT]
    assert db.remove_note(BEN)
    assert not db.remove_note(BEN)
    assert [note.peer_id for note in db.notes()] == [CAT]


def test_a_history_of_the_first_schema_is_kept(home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls are neither missed nor new."""
    monkeypatch.setattr("meshcall.aio.files.database.MIGRATIONS", schema.MIGRATIONS[:1])
    old = StateDb.open(home.state)
    old._write("INSERT INTO calls VALUES (?, ?, 'in', ?, NULL, ?, 'no-answer', '')", "11", ANN.key, NOW, NOW)
    old.close()
    monkeypatch.undo()
    again = StateDb.open(home.state)
    assert again.history() == [CallRow("11", ANN, "in", NOW, None, NOW, "no-answer")]
    assert (again.unseen_missed(), again.warnings) == (0, ())
    again.close()


def test_a_peer_can_not_overwrite_another_ones_history(db: StateDb) -> None:
    """Callers choose call ids; the same id from somebody else is another call."""
    db.put_call(CallRow("11", ANN, "in", NOW))
    db.put_call(CallRow("11", BEN, "in", NOW + 1))
    assert [call.peer_id for call in db.history()] == [BEN, ANN]


def test_addresses(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most recent first, a cap per peer and a cap of peers."""
    monkeypatch.setattr(limits, "STATE_ADDRESSES_PER_PEER_MAX", 2)
    monkeypatch.setattr(limits, "STATE_PEERS_MAX", 2)
    rows = [AddressRow(ANN, (f"10.0.0.{n}", 5000), "lan", NOW + n) for n in range(1, 4)]
    db.put_addresses(rows)
    assert db.addresses(ANN) == [rows[2], rows[1]]
    db.put_addresses([replace(rows[1], seen_ms=NOW + 9)])
    assert db.addresses(ANN) == [replace(rows[1], seen_ms=NOW + 9), rows[2]]
    db.put_addresses([AddressRow(BEN, ("2001:db8::1", 5), "dht", NOW + 10)])
    db.put_addresses([AddressRow(CAT, ("192.0.2.1", 5), "dht", NOW + 11)])
    assert [row.peer_id for row in db.addresses()] == [CAT, BEN]
    assert db.forget_addresses(BEN) == 1
    assert db.addresses(BEN) == []


def test_blobs(db: StateDb) -> None:
    """Opaque values by name, with a cap."""
    assert db.get_blob("dht-4") is None
    db.set_blob("dht-4", b"one")
    db.set_blob("dht-4", b"\0two")
    assert db.get_blob("dht-4") == b"\0two"
    with pytest.raises(ValueError, match="octets"):
        db.set_blob("dht-4", bytes(limits.STATE_BLOB_MAX + 1))
    db.set_blob("dht-4", None)
    assert db.get_blob("dht-4") is None


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def damage_version(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60:64] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)


def damage_application(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[68:72] = b"\0\0\0\1"
    path.write_bytes(data)


def damage_to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damage_to_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "damage",
    [
        damage_header,
        damage_cut,
        damage_middle,
        damage_version,
        damage_application,
        damage_to_folder,
        damage_to_link,
    ],
)
def test_a_damaged_database_is_set_aside(home: HomePaths, damage: object) -> None:
    """No exception: a warning with the new name, a fresh database that works, the old one kept."""
    first = StateDb.open(home.state)
    first.put_contact(ContactRow(ANN, "Ann"))
    first.close()
    damage(home.state)  # type: ignore[operator]
    again = StateDb.open(home.state, now_ms=NOW)
    (warning,) = again.warnings
    assert "state.db.corrupt-20270115T080000Z" in warning
    assert again.was_reset
    assert os.path.lexists(home.path / "state.db.corrupt-20270115T080000Z")
    assert again.contacts() == []
    again.put_contact(ContactRow(BEN, "Ben"))
    again.close()
    third = StateDb.open(home.state)
    assert third.warnings == ()
    assert [row.name for row in third.contacts()] == ["Ben"]
    third.close()


def test_random_damage_never_raises(home: HomePaths) -> None:
    """60 databases with random octets changed or cut: opened, or set aside; and they work after that."""
    seed = 20
    print("seed", seed)
    dice = random.Random(seed)
    first = StateDb.open(home.state)
    for number, peer_id in enumerate((ANN, BEN, CAT)):
        first.put_contact(ContactRow(peer_id, f"name {number}", secret=b"s" * 32))
        first.next_sequence(peer_id.key, NOW)
        first.put_call(CallRow(f"{number}", peer_id, "in", NOW))
    first.close()
    good = home.state.read_bytes()
    outcomes = {"kept": 0, "set aside": 0, "refused": 0}
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 40)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        if dice.random() < 0.3:
            bad = bad[: dice.randrange(len(bad))]
        for path in home.path.glob("state.db*"):
            path.unlink()
        home.state.write_bytes(bad)
        home.state.chmod(0o600)
        try:
            again = StateDb.open(home.state)
        except HomeNotUsable:  # the version happened to grow
            outcomes["refused"] += 1
            continue
        outcomes["set aside" if again.was_reset else "kept"] += 1
        assert len(again.contacts()) <= 3
        assert len(again.history()) <= 3
        again.put_contact(ContactRow(ANN, "Ann again"))
        assert again.next_sequence(ANN.key, NOW) >= NOW
        again.close()
    print(outcomes)
    assert outcomes["set aside"] > 0
    assert sum(outcomes.values()) == 60


def test_a_newer_database_is_refused_and_kept(home: HomePaths) -> None:
    """A downgrade must not throw the contacts away."""
    StateDb.open(home.state).close()
    raw = sqlite3.connect(home.state)
    raw.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(HomeNotUsable, match="newer meshcall") as caught:
        StateDb.open(home.state)
    assert caught.value.hint is not None
    assert "upgrade" in caught.value.hint
    assert home.state.is_file()


def test_migrations_keep_what_is_there(home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of the released schema is taken to a newer one; a migration that fails changes nothing."""
    first = StateDb.open(home.state)
    first.put_contact(ContactRow(ANN, "Ann"))
    first.close()
    newer = (*schema.MIGRATIONS, ("CREATE TABLE extra (x)", "INSERT INTO extra VALUES (7)"))
    broken = (*schema.MIGRATIONS, ("CREATE TABLE extra (x)", "INSERT INTO nowhere VALUES (7)"))
    monkeypatch.setattr("meshcall.aio.files.database.MIGRATIONS", broken)
    with pytest.raises(StateUnwritable, match="nowhere"):
        StateDb.open(home.state)
    monkeypatch.setattr("meshcall.aio.files.database.MIGRATIONS", newer)
    again = StateDb.open(home.state)
    assert again.warnings == ()
    assert [row.name for row in again.contacts()] == ["Ann"]
    assert again._rows("SELECT x FROM extra") == [(7,)]
    assert again._rows("PRAGMA user_version") == [(len(newer),)]
    again.close()


def test_a_loose_database_is_refused_with_the_command(home: HomePaths) -> None:
    """Contacts and prekeys are secrets too."""
    StateDb.open(home.state).close()
    home.state.chmod(0o644)
    with pytest.raises(LoosePermissions) as caught:
        StateDb.open(home.state)
    assert caught.value.hint == f"chmod 600 {home.state}"


def test_a_full_disk_is_one_error_and_loses_nothing(db: StateDb, home: HomePaths) -> None:
    """SQLite out of room: StateUnwritable with the reason; what was there stays; later writes work."""
    db.put_contact(ContactRow(ANN, "Ann"))
    (pages,) = db._rows("PRAGMA page_count")[0]
    db._rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StateUnwritable, match="full"):
        db.set_blob("dht-4", bytes(500_000))
    assert [row.name for row in db.contacts()] == ["Ann"]
    db._rows("PRAGMA max_page_count = 1000000")
    db.set_blob("dht-4", bytes(500_000))
    assert len(db.get_blob("dht-4") or b"") == 500_000


def test_after_close_everything_is_one_error(home: HomePaths) -> None:
    """Closing twice is harmless; using it after is StateUnwritable."""
    state = StateDb.open(home.state)
    state.close()
    state.close()
    with pytest.raises(StateUnwritable):
        state.contacts()
    with pytest.raises(StateUnwritable):
        state.next_sequence(b"k", 1)
    assert repr(state).endswith("closed)")


async def test_run_serves_in_order_in_its_own_thread(home: HomePaths) -> None:
    """Methods run off the event loop, one after the other, and errors come back to the caller."""
    state = StateDb.open(home.state)
    loop_thread = threading.get_ident()
    results = await asyncio.gather(*(state.run(state.next_sequence, b"k", 1) for _ in range(20)))
    assert results == list(range(1, 21))
    assert await state.run(threading.get_ident) != loop_thread
    await state.run(state.put_contact, ContactRow(ANN, "Ann"))
    with pytest.raises(DuplicateContact):
        await state.run(state.put_contact, ContactRow(BEN, "ann"))
    await state.aclose()
    with pytest.raises(StateUnwritable):
        await state.run(state.contacts)


# --- kill -9 --------------------------------------------------------------------------------------


def killed_while(program: str, argument: Path, delay: float) -> list[str]:
    """What a child that ran ``program`` had acknowledged on stdout when it was killed at a random moment."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(argument)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        assert lines == ["ready\n"]
        time.sleep(delay)
        child.kill()
        lines += child.stdout.readlines()
        assert child.wait() == -signal.SIGKILL
    return [line.strip() for line in lines[1:] if line.endswith("\n")]


ATOMIC_WRITER = """
import hashlib, sys
from pathlib import Path
from meshcall.aio.files import create_exclusive, write_atomic
folder = Path(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    body = number.to_bytes(8, "big") + bytes([number % 256]) * 20_000
    write_atomic(folder / "state", body + hashlib.sha256(body).digest())
    create_exclusive(folder / f"key-{number}", body + hashlib.sha256(body).digest())
    print(number, flush=True)
"""


def test_files_are_whole_after_kill_9(tmp_path: Path) -> None:
    """12 kills at random moments: every file whole, nothing older than acknowledged, leftovers swept."""
    import hashlib

    seed = 21
    print("seed", seed)
    dice = random.Random(seed)
    swept = total = 0
    for turn in range(12):
        folder = tmp_path / str(turn)
        folder.mkdir()
        acknowledged = [int(line) for line in killed_while(ATOMIC_WRITER, folder, dice.uniform(0.01, 0.15))]
        swept += len(sweep(folder))
        last = acknowledged[-1] if acknowledged else 0
        total += last
        for path in folder.iterdir():
            data = path.read_bytes()
            assert hashlib.sha256(data[:-32]).digest() == data[-32:], path
            assert mode(path) == 0o600
        if last:
            assert int.from_bytes((folder / "state").read_bytes()[:8], "big") >= last
        present = {path.name for path in folder.iterdir()}
        assert {f"key-{number}" for number in range(1, last + 1)} <= present
        assert present <= {"state"} | {f"key-{number}" for number in range(1, last + 2)}
    print(f"{total} acknowledged, {swept} leftovers swept")
    assert total > 0


STATE_WRITER = """
import sys
from pathlib import Path
from meshcall.aio.files import CallRow, ContactRow, ReplayRow, StateDb
from meshcall.aio.clock import system_random
from meshcall.identity.keys import SigningKey
from meshcall.identity.prekeys import PrekeyRing
db = StateDb.open(Path(sys.argv[1]))
assert not db.warnings, db.warnings
start = len(db.contacts())
now = db.last_sequence(b"k")
print("ready", flush=True)
for number in range(start + 1, 10_000):
    peer_id = SigningKey.from_seed(number.to_bytes(32, "big")).peer_id
    db.put_contact(ContactRow(peer_id, f"name {number}", secret=bytes(32), added_ms=number))
    sequence = db.next_sequence(b"k", 0)
    db.add_replay([ReplayRow(peer_id.key, bytes(16), 1, 10**15)], 0)
    ring = PrekeyRing(); ring.current(number * 10**8, system_random); db.save_prekeys(ring.to_state())
    print(number, sequence, flush=True)
"""


def test_acknowledged_state_survives_kill_9(home: HomePaths) -> None:
    """12 kills of one growing database: no warning, no lost contact, counter, replay entry or rotation."""
    seed = 22
    print("seed", seed)
    dice = random.Random(seed)
    contacts = last_sequence = acknowledged = 0
    for _ in range(12):
        for line in killed_while(STATE_WRITER, home.state, dice.uniform(0.01, 0.15)):
            contacts, last_sequence = map(int, line.split())
            acknowledged += 1
        state = StateDb.open(home.state)
        assert state.warnings == ()
        names_now = {row.name for row in state.contacts()}
        assert {f"name {number}" for number in range(1, contacts + 1)} <= names_now
        assert len(names_now) <= contacts + 1
        assert state.last_sequence(b"k") >= last_sequence
        assert acknowledged <= len(state.replay_entries(0)) <= len(names_now)
        if acknowledged:
            (prekey,) = state.prekeys()
            assert prekey["created_ms"] >= (contacts - 1) * 10**8
        contacts = len(names_now)
        state.close()
    print(f"{contacts} contacts, {acknowledged} acknowledged")
    assert acknowledged > 12


# --- the clock ------------------------------------------------------------------------------------


def test_the_system_clock_is_a_clock() -> None:
    """Monotonic seconds and unix milliseconds; random octets of the asked length."""
    clock: Clock = SystemClock()
    assert isinstance(clock, Clock)
    assert clock.now() <= clock.now()
    assert abs(clock.now_ms() / 1000 - time.time()) < 5
    assert abs(clock.now() - time.monotonic()) < 5
    assert len(system_random(16)) == 16
    assert PeerId.from_key(ANN.key) == ANN
