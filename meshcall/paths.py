"""Where things are inside a home. Reads the environment, touches no file.

A home holds everything of one identity: keys, state, sockets. Law: one daemon per home.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from meshcall.errors import UsageError

HOME_VARIABLE = "MESHCALL_HOME"


@dataclass(frozen=True, slots=True)
class HomePaths:
    """Where things are in one home."""

    path: Path
    """The home itself (mode 0700); absolute."""

    @property
    def key(self) -> Path:
        """The identity (mode 0600)."""
        return self.path / "identity.key"

    @property
    def public_id(self) -> Path:
        """Our ID as one line of text, for programs that only want to know it."""
        return self.path / "identity.pub"

    @property
    def state(self) -> Path:
        """Contacts, invites, counters, history (mode 0600)."""
        return self.path / "state.db"

    @property
    def dht(self) -> Path:
        """The saved routing tables (mode 0600)."""
        return self.path / "dht.state"

    @property
    def node_key(self) -> Path:
        """The node key of a bootstrap node; a daemon keeps its own in its state (mode 0600)."""
        return self.path / "node.key"

    @property
    def logins(self) -> Path:
        """Hashes of the sessions of browsers that are logged in (mode 0600)."""
        return self.path / "page.logins"

    @property
    def settings(self) -> Path:
        """What was set while a daemon ran (mode 0600)."""
        return self.path / "settings.json"

    @property
    def run(self) -> Path:
        """What lives only as long as a daemon (mode 0700)."""
        return self.path / "run"

    @property
    def lock(self) -> Path:
        """Held by the daemon (mode 0600)."""
        return self.run / "lock"

    @property
    def socket(self) -> Path:
        """The socket of the local API (mode 0600)."""
        return self.run / "control.sock"


def default_home(application: str = "meshcall") -> Path:
    """Where the identity of this user lives, if nothing else is said."""
    from platformdirs import user_data_path  # late: only a few commands need it

    return Path(user_data_path(application, appauthor=False))


def choose_home(option: str | None, application: str = "meshcall") -> Path:
    """The home that ``--home``, or else MESHCALL_HOME, or else the platform says; always absolute.

    An empty ``--home`` (a variable of a script that was never set) is a :class:`UsageError`, not the default.
    """
    if option is not None and not option.strip():
        raise UsageError("--home: no folder is named")
    text = option or os.environ.get(HOME_VARIABLE) or ""
    return Path(text).expanduser().absolute() if text else default_home(application)
