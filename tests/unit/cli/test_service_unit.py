"""The unit says what it was told, and no more."""

from __future__ import annotations

import shlex

import pytest

from meshcall.cli.service_unit import home_of, make_unit, quoted
from meshcall.errors import UsageError


def line_of(unit: str, name: str) -> str:
    """The value of the one line with that name."""
    (found,) = [line for line in unit.splitlines() if line.startswith(name + "=")]
    return found.partition("=")[2]


def test_the_daemon_gets_its_flags_as_they_were_given() -> None:
    """Quoted for systemd: spaces, quotes and backslashes stay; % is doubled and ":" keeps $ as it is."""
    flags = ["--name", 'a "b" \\c', "--source", "/m/100%.mkv", "--record", "$HOME;x", ";"]
    command = line_of(make_unit("/usr/bin/python3", "/h", flags), "ExecStart")
    assert command.startswith(":/usr/bin/python3 -P -m meshcall.daemon --home /h ")
    # systemd unquotes as a POSIX shell does inside double quotes, for these characters
    assert [word.replace("%%", "%") for word in shlex.split(command)][6:] == flags


def test_plain_words_are_not_quoted_and_others_are() -> None:
    """A lone semicolon would end the command, an empty word would be lost."""
    assert quoted("--port") == "--port"
    assert [quoted(";"), quoted(""), quoted("a b")] == ['";"', '""', '"a b"']


@pytest.mark.parametrize("text", ["a\nExecStart=/bin/false", "a\rb", "\x00", "\x7f"])
def test_no_line_can_be_added(text: str) -> None:
    """A name with a newline is refused, in a flag and in the home."""
    with pytest.raises(UsageError):
        make_unit("/usr/bin/python3", "/h", ["--name", text])
    with pytest.raises(UsageError):
        make_unit("/usr/bin/python3", text, [])


def test_it_says_which_home_it_is_for() -> None:
    """Also one with blanks and per cents; of a unit that is not ours nothing is known."""
    assert home_of(make_unit("/usr/bin/python3", "/a b/100%", [])) == "/a b/100%"
    assert home_of("[Service]\nExecStart=meshcall daemon\nHome=/x\n") is None


def test_a_folder_and_a_passphrase_file_are_told_when_there_are_any() -> None:
    """Relative paths start where they did; without them there is no such line."""
    unit = make_unit("/usr/bin/python3", "/h", [], folder="/a b/%", passphrase_file="/s s")
    assert line_of(unit, "WorkingDirectory") == "/a b/%%"
    assert line_of(unit, "Environment") == '"MESHCALL_PASSPHRASE_FILE=/s s"'
    plain = make_unit("/usr/bin/python3", "/h", [])
    assert "WorkingDirectory" not in plain
    assert "Environment" not in plain
