"""The guards of this folder bite."""

from __future__ import annotations

from pathlib import Path

import pytest
from blockbuster import BlockingError

from meshcall.aio.media import readers


async def test_a_file_that_is_opened_on_the_loop_is_noticed(tmp_path: Path) -> None:
    """In its own thread the same call is allowed (the tests of sources do nothing else)."""
    with pytest.raises(BlockingError):
        readers.open_file(tmp_path / "film.mkv")
