"""What every command is given: which home, how much to say, and the daemon's client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import typer

from meshcall.paths import HomePaths, choose_home

if TYPE_CHECKING:
    from meshcall.control.client import ControlClient


@dataclass
class Session:
    """One run of the command line."""

    home_option: str | None = None
    quiet: bool = False
    verbose: int = 0

    @cached_property
    def paths(self) -> HomePaths:
        """The files of the home that was chosen."""
        return HomePaths(choose_home(self.home_option))

    @cached_property
    def client(self) -> ControlClient:
        """The daemon of that home."""
        from meshcall.control.client import ControlClient  # late: HTTP costs 20 ms that --help must not pay

        return ControlClient(self.paths)


def session_of(context: typer.Context) -> Session:
    """The session of a command's context."""
    session = context.find_object(Session)
    assert session is not None, "the root command made one before any other ran"
    return session
