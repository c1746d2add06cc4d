"""The word that names a scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.commands.run import find
from netsim.errors import LabError


def test_a_word_is_a_file_or_a_known_name(tmp_path: Path) -> None:
    """What is neither is said with the command that lists the names."""
    file = tmp_path / "mine.toml"
    file.touch()
    assert find(str(file)) == file
    assert find("same-lan").name == "same-lan.toml"
    with pytest.raises(LabError, match="`list` prints them"):
        find("nosuch")
