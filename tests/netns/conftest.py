"""A lab per test. Where the machine can't run one, the tests are skipped and say what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2])
)  # netsim is not installed, it lies beside the tests

from netsim.namespaces import why_unavailable
from netsim.pytest_plugin import lab, make_lab, pytest_pyfunc_call

__all__ = ["lab", "make_lab", "pytest_pyfunc_call"]  # the plugin's, as a package beside the tests gives them

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip them all where there is no lab."""
    ours = [item for item in items if HERE in item.path.parents]
    reason = why_unavailable() if ours else None
    for item in ours:
        item.add_marker(pytest.mark.netns)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
