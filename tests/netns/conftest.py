"""A lab per test. Where the machine can't run one, the tests are skipped and say what to install."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2])
)  # netsim is not installed, it lies beside the tests

from netsim.lab import Lab
from netsim.namespaces import why_unavailable

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip them all where there is no lab."""
    ours = [item for item in items if HERE in item.path.parents]
    reason = why_unavailable() if ours else None
    for item in ours:
        item.add_marker(pytest.mark.netns)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """An isolated network; its logs stay in the test's ``tmp_path``."""
    async with Lab(directory=tmp_path / "lab") as lab:
        yield lab
