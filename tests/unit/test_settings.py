"""What people set while a node runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshcall import settings as module
from meshcall.config import Config
from meshcall.control.models import ChangeSettings
from meshcall.errors import InvalidConfig, SettingFixed, StateUnwritable
from meshcall.settings import NAMES, SettingsBook
from meshcall.views import SettingsView


def book(folder: Path, **config: Any) -> SettingsBook:
    """The settings of a node in ``folder`` that was told ``config``."""
    return SettingsBook(folder / "settings.json", Config(home=folder, **config))


def test_the_file_the_view_and_the_request_have_the_same_names() -> None:
    """So that nothing can be set that is not shown, or stored that can't be set."""
    assert set(NAMES) == set(SettingsView.__struct_fields__) - {"origins"}
    assert set(NAMES) == set(ChangeSettings.__struct_fields__)


def test_what_was_set_is_there_after_a_restart(tmp_path: Path) -> None:
    """And says where it comes from; what was not set is as before."""
    first = book(tmp_path)
    assert set(first.now.origins.values()) == {"default"}
    assert first.change({"name": " Ada ", "visible": True, "auto_answer": None}) == first.now
    again = book(tmp_path).now
    assert (again.name, again.visible, again.auto_answer) == ("Ada", True, "off")
    assert (again.origins["name"], again.origins["visible"]) == ("stored", "stored")
    assert again.origins["auto_answer"] == "default"
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600


def test_options_go_first(tmp_path: Path) -> None:
    """They hold, can't be set, and leave what is stored for the next run."""
    book(tmp_path).change({"name": "Ada", "auto_answer": "contacts"})
    told = book(tmp_path, name="Bob", fixed=frozenset({"name", "auto_answer"}))
    assert (told.now.name, told.now.auto_answer) == ("Bob", "off")
    assert told.now.origins["name"] == told.now.origins["auto_answer"] == "option"
    with pytest.raises(SettingFixed, match="name was given"):
        told.change({"name": "Eve", "visible": True})
    assert not told.now.visible, "all or nothing"
    told.change({"name": "Bob", "visible": True})  # what it is already may be said
    assert (book(tmp_path).now.name, book(tmp_path).now.visible) == ("Ada", True)


def test_contacts_only_lets_no_stranger_call(tmp_path: Path) -> None:
    """Whatever is stored."""
    book(tmp_path).change({"accept_strangers": False})
    book(tmp_path).change({"accept_strangers": True})
    hidden = book(tmp_path, contacts_only=True)
    assert (hidden.now.accept_strangers, hidden.now.origins["accept_strangers"]) == (False, "option")


@pytest.mark.parametrize(
    "wanted",
    [{"name": "x" * 65}, {"name": "ü" * 33}, {"name": "a\nb"}, {"name": "a\u202eb"}, {"name": 7},
     {"auto_answer": "everybody"}, {"visible": "yes"}, {"port": 7}],
)  # fmt: skip
def test_what_makes_no_sense_changes_nothing(tmp_path: Path, wanted: dict[str, object]) -> None:
    """Neither here nor on the disk."""
    settings = book(tmp_path)
    with pytest.raises(InvalidConfig):
        settings.change({"welcomed": True, **wanted})
    assert settings.now == book(tmp_path).now
    assert not settings.now.welcomed


def test_listeners_are_told_once_of_what_changed(tmp_path: Path) -> None:
    """With what held before; setting what is set already is no change."""
    told: list[SettingsView] = []
    settings = SettingsBook(tmp_path / "s", Config(home=tmp_path), on_change=told.append)
    settings.change({"name": "Ada"})
    settings.change({"name": "Ada"})
    assert [before.name for before in told] == [""]


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be kept does not hold."""
    settings = book(tmp_path)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(StateUnwritable, match="No space left"):
        settings.change({"name": "Ada"})
    assert settings.now.name == ""


@pytest.mark.parametrize(
    "octets",
    [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1, "name": "a\\nb"}', b'{"version":1,"name":7}'],
)
def test_a_damaged_file_is_set_aside(tmp_path: Path, octets: bytes) -> None:
    """And the node starts without it."""
    (tmp_path / "settings.json").write_bytes(octets)
    settings = book(tmp_path)
    assert "settings.json was damaged" in str(settings.warning)
    assert set(settings.now.origins.values()) == {"default"}
    assert next(tmp_path.glob("settings.json.corrupt-*")).read_bytes() == octets
    settings.change({"name": "Ada"})
    assert book(tmp_path).warning is None


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    """They cost nothing of what is known."""
    data = msgspec.json.encode({"version": 1, "name": "Ada", "colour": "green"})
    (tmp_path / "settings.json").write_bytes(data)
    assert book(tmp_path).now.name == "Ada"
