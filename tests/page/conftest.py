"""Labs with browsers. Skipped, with what to install, where there is no lab or no Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.namespaces import why_unavailable
from netsim.pytest_plugin import lab, make_lab, pytest_pyfunc_call
from tests.page.worker import CHROMIUM

__all__ = ["lab", "make_lab", "pytest_pyfunc_call"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    ours = [item for item in items if HERE in item.path.parents]
    reason = why_unavailable() if ours else None
    if reason is None and not Path(CHROMIUM).exists():
        reason = "no Chromium here; install it with: apt-get install -y chromium"
    for item in ours:
        item.add_marker(pytest.mark.browser)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
