"""What can be said of sources, recordings and passphrase files before a call."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.errors import (
    IdentityError,
    LoosePermissions,
    PassphraseNeeded,
    RecordFailed,
    RecordTargetExists,
    SourceUnusable,
    UsageError,
)
from meshcall.media_paths import absolute_record, absolute_source, check_record, check_source, free_record
from meshcall.passphrase import VARIABLE, existing_passphrase, new_passphrase, read_passphrase_file
from meshcall.paths import choose_home


@pytest.mark.parametrize("source", ["testsrc", "none", "camera", "camera:1"])
def test_built_in_sources(source: str) -> None:
    """They are no files."""
    check_source(absolute_source(source, Path("/x")))
    assert absolute_source(source, Path("/x")) == source


@pytest.mark.parametrize("source", ["", "./none", "camera:", "camera:1234", "\0", "a" * 5000])
def test_sources_that_are_not_there(source: str, tmp_path: Path) -> None:
    """Everything else is a file, and has to be one."""
    with pytest.raises(SourceUnusable):
        check_source(absolute_source(source, tmp_path))


def test_a_file_may_be_called_none(tmp_path: Path) -> None:
    """With its folder in front it means the file."""
    (tmp_path / "none").write_bytes(b"x")
    source = absolute_source("./none", tmp_path)
    check_source(source)
    assert source == str(tmp_path / "none")


def test_record_targets(tmp_path: Path) -> None:
    """New files only, in folders that are there; a dangling link counts as taken."""
    check_record(absolute_record("new.mkv", tmp_path))
    (tmp_path / "old.mkv").write_bytes(b"x")
    (tmp_path / "link.mkv").symlink_to(tmp_path / "nothing")
    for name in ("old.mkv", "link.mkv"):
        with pytest.raises(RecordTargetExists):
            check_record(absolute_record(name, tmp_path))
    for name in ("no/folder/x.mkv", "old.mkv/x.mkv", "a" * 300, "\0"):
        with pytest.raises(RecordFailed):
            check_record(absolute_record(name, tmp_path))


def test_a_recording_takes_a_name_that_is_free(tmp_path: Path) -> None:
    """The name itself, then with a number; a dangling link counts as taken; at last there is none."""
    found = free_record(tmp_path, "tea")
    assert found == tmp_path / "tea.mkv"
    found.write_bytes(b"x")
    (tmp_path / "tea-2.mkv").symlink_to(tmp_path / "nothing")
    assert free_record(tmp_path, "tea") == tmp_path / "tea-3.mkv"
    while (found := free_record(tmp_path, "tea")) is not None:
        found.write_bytes(b"x")
    assert len(list(tmp_path.iterdir())) == limits.ROOM_LINKS_ENDED_MAX - 1
    assert free_record(tmp_path / "no folder", "tea") == tmp_path / "no folder" / "tea.mkv"


@pytest.mark.parametrize(
    ("content", "text"), [(b"correct horse\n", "correct horse"), (b"x\r\ny\n", "x"), ("ü".encode(), "ü")]
)
def test_passphrase_file(tmp_path: Path, content: bytes, text: str) -> None:
    """Its first line, without the line's end."""
    path = tmp_path / "p"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_passphrase_file(path) == text


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 2000])
def test_passphrase_file_that_holds_none(tmp_path: Path, content: bytes) -> None:
    """An empty passphrase or a wrong file is an error, not an open door."""
    path = tmp_path / "p"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError):
        read_passphrase_file(path)


def test_passphrase_file_that_others_can_read(tmp_path: Path) -> None:
    """Refused, with the command that mends it."""
    path = tmp_path / "p"
    path.write_text("x")
    path.chmod(0o644)
    with pytest.raises(LoosePermissions) as caught:
        read_passphrase_file(path)
    assert caught.value.hint == f"chmod 600 {path}"
    with pytest.raises(IdentityError):
        read_passphrase_file(tmp_path / "nothing")


def test_nothing_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service never hangs at a prompt."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    for ask in (existing_passphrase, new_passphrase):
        with pytest.raises(PassphraseNeeded):
            ask()


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins over the variable; both are made absolute."""
    monkeypatch.setenv("MESHCALL_HOME", "/from/variable")
    assert choose_home(None) == Path("/from/variable")
    assert choose_home("/from/option") == Path("/from/option")
    assert choose_home("relative").is_absolute()
    monkeypatch.setenv("MESHCALL_HOME", "")
    assert choose_home(None).name == "meshcall"
    with pytest.raises(UsageError, match="--home"):
        choose_home("")
