"""Where things are inside a home. Reads the environment, touches no file.

A home holds everything of one identity: keys, state, sockets. Law: one daemon per home.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "MESHCALL_HOME"

IDENTITY_FILE = "identity.pub"
"""Our ID as text, for programs that only want to know it. Public."""


@dataclass(frozen=True, slots=True)
class HomePaths:
    """The files of one home that more than one program uses."""

    home: Path

    @property
    def public_id(self) -> Path:
        """Our ID as one line of text."""
        return self.home / IDENTITY_FILE

    @property
    def key(self) -> Path:
        """The identity (mode 0600)."""
        return self.home / "identity.key"

    @property
    def state(self) -> Path:
        """Contacts, counters, history (mode 0600)."""
        return self.home / "state.db"

    @property
    def run_dir(self) -> Path:
        """What lives only as long as a daemon (mode 0700)."""
        return self.home / "run"

    @property
    def control_socket(self) -> Path:
        """The socket of the local API (mode 0600)."""
        return self.run_dir / "control.sock"


def default_home() -> Path:
    """Where the identity of this user lives, if nothing else is said."""
    from platformdirs import user_data_path  # late: only a few commands need it

    return Path(user_data_path("meshcall", appauthor=False))


def choose_home(option: str | None) -> Path:
    """The home that ``--home``, or else MESHCALL_HOME, or else the platform says; always absolute."""
    text = option or os.environ.get(HOME_VARIABLE) or ""
    return Path(text).expanduser().absolute() if text else default_home()
