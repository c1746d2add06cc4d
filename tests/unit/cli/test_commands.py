"""The list of commands and what it lists."""

from __future__ import annotations

import pytest
import typer

from meshcall.cli.commands import COMMANDS, CommandGroup, load_command


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says_of_itself(name: str) -> None:
    """The first sentence of its help, uncut; a group has several commands, or it would be one itself."""
    command = load_command(name)
    assert command.get_short_help_str(limit=200) == COMMANDS[name][1]
    if isinstance(command, typer.core.TyperGroup):
        assert len(command.commands) > 1


def test_every_command_is_found_by_its_name() -> None:
    """And no other is; what is looked up again is the same."""
    group = CommandGroup(name="meshcall")
    assert list(group.commands) == list(COMMANDS)
    assert len(group.commands) == len(COMMANDS)
    assert group.commands["id"] is group.commands["id"]
    assert "nothing" not in group.commands
