"""What the fuzz tests measure is a parser's time."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_heap() -> Iterator[None]:
    """Collections look at what the test itself makes: one of the whole heap takes longer than any limit."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
