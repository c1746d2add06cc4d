"""What people set while the node runs: their name, who sees and who rings them, and the like.

Law 1: a change is on the disk, whole, before it counts; of several values all are changed or none.
Law 2: what the node was told at its start can't be changed while it runs; what is stored for that waits.
Law 3: a file that is damaged is set aside, and costs the settings, not the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from meshcall.aio.files.atomic import load_or_set_aside, write_atomic
from meshcall.config import AutoAnswer, Config, check_name
from meshcall.errors import InvalidConfig, SettingFixed, StateUnwritable
from meshcall.views import SettingOrigin, SettingsView


class _Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file: JSON. None: never set. A later version may add fields."""

    version: Literal[1]
    name: str | None = None
    visible: bool | None = None
    auto_answer: AutoAnswer | None = None
    accept_strangers: bool | None = None
    notifications: bool | None = None
    welcomed: bool | None = None

    def __post_init__(self) -> None:
        check_name(self.name or "")


NAMES: Final = tuple(name for name in _Stored.__struct_fields__ if name != "version")
"""Of all settings."""

_NOTHING: Final = _Stored(version=1)


class SettingsBook:
    """The settings of one node."""

    def __init__(
        self, path: Path, config: Config, *, on_change: Callable[[SettingsView], None] = lambda before: None
    ) -> None:
        """Reads the file at ``path``. ``config``: what the node was told, which goes first.

        ``on_change`` is called after each change, with what held before.
        """
        self._path = path
        self._config = config
        self._on_change = on_change
        default = Config(home=config.home)
        self._fixed = {
            name
            for name in NAMES
            if name in config.fixed or getattr(config, name, None) != getattr(default, name, None)
        }
        if config.contacts_only:
            self._fixed.add("accept_strangers")
        self._stored, self.warning = load_or_set_aside(path, _decode, _NOTHING)
        self.now = self._view()
        """What holds now."""

    def change(self, wanted: Mapping[str, object]) -> SettingsView:
        """Set these, by name; None leaves one as it is. Blocks for the disk if something changes.

        Raises :class:`InvalidConfig`, :class:`SettingFixed` or :class:`StateUnwritable`; then all is as it
        was.
        """
        unknown = set(wanted) - set(NAMES)
        if unknown:
            raise InvalidConfig(f"there is no setting {sorted(unknown)[0]!r}")
        spaced = {name: value.strip() if isinstance(value, str) else value for name, value in wanted.items()}
        changes = {
            name: value
            for name, value in spaced.items()
            if value is not None and value != getattr(self.now, name)
        }
        for name in changes:
            if name in self._fixed:
                raise SettingFixed(f"{name} was given to the daemon at its start, so it can't be set now")
        if not changes:
            return self.now
        stored = _make({**msgspec.to_builtins(self._stored), **changes})
        try:
            write_atomic(self._path, msgspec.json.encode(stored) + b"\n")
        except OSError as error:
            raise StateUnwritable(f"{self._path} can't be written: {error.strerror}") from error
        before, self._stored = self.now, stored
        self.now = self._view()
        self._on_change(before)
        return self.now

    def _view(self) -> SettingsView:
        values = {name: self._value(name) for name in NAMES}
        origins = {name: self._origin(name) for name in NAMES}
        if self._config.contacts_only:
            values["accept_strangers"] = False
        return msgspec.convert({**values, "origins": origins}, SettingsView)

    def _value(self, name: str) -> object:
        stored = getattr(self._stored, name)
        if name in self._fixed or stored is None:
            return getattr(self._config, name, False)  # nobody tells a node at its start that it is welcomed
        return stored

    def _origin(self, name: str) -> SettingOrigin:
        if name in self._fixed:
            return "option"
        return "default" if getattr(self._stored, name) is None else "stored"


def _decode(data: bytes) -> _Stored:
    return msgspec.json.decode(data, type=_Stored)


def _make(values: Mapping[str, object]) -> _Stored:
    """Raises :class:`InvalidConfig`."""
    try:
        return msgspec.convert(values, _Stored)
    except msgspec.ValidationError as error:
        raise InvalidConfig(str(error)) from error
