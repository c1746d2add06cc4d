"""A command line that starts a daemon is read without typer, to the same end."""

from __future__ import annotations

from typing import NoReturn

import pytest

from meshcall.cli.main import hoist_globals, main
from meshcall.cli.program import daemon_arguments
from meshcall.cli.root import run
from meshcall.daemon_options import make_parser


class BecameError(Exception):
    """In the place of another program."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(command)
        self.command = command


def become(_path: str, command: list[str]) -> NoReturn:
    """In the place of execv."""
    raise BecameError(command)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other program takes this one's place."""
    monkeypatch.setattr("os.execv", become)


LINES = [
    "daemon",
    "--home /a daemon --lan-only",
    "daemon --home /a --port 4",
    "daemon --port=4 --home=/a -q",
    "-v --home /a -v daemon --name x",
    "daemon -vv --quiet",
    "--home /a --home=/b daemon",
    "daemon --help",
    "daemon -h",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.usefixtures("started")
def test_it_is_read_as_typer_reads_it(line: str) -> None:
    """The daemon is given the same, but that typer drops a home that is named again."""
    words = hoist_globals(line.split())
    with pytest.raises(BecameError) as quick:
        main(line.split())
    with pytest.raises(BecameError) as thorough:
        run(words)
    ours, typers = quick.value.command, thorough.value.command
    program_words = ["-P", "-m", "meshcall.daemon"]
    assert ours[1:4] == typers[1:4] == program_words
    if {"-h", "--help"} & set(words):
        assert ours == typers
    else:
        parse = make_parser().parse_args
        assert parse(ours[4:]) == parse(typers[4:])


@pytest.mark.parametrize(
    "line", ["", "-q", "status", "status daemon", "--version daemon", "daemon -- --port 4"]
)
def test_the_rest_is_typers(line: str) -> None:
    """Another command, none, or one with a double dash."""
    assert daemon_arguments(hoist_globals(line.split())) is None
