"""What the lab reads in the events of a call."""

from __future__ import annotations

from typing import Any

import pytest

from netsim.stacks.meshcall import selected_path


@pytest.mark.parametrize(
    ("paths", "selected"),
    [
        ([], ""),
        ([("connected", "relay")], "relay"),
        # The relay is named before the call is connected, and a direct path takes over at once
        ([("path", "relay"), ("connected", "relay"), ("path", "direct")], "direct"),
        ([("connected", "direct"), ("path", "")], ""),
    ],
)
def test_the_last_path_that_was_told_is_the_calls(paths: list[tuple[str, str]], selected: str) -> None:
    """Whatever was told before, and whatever else is told between."""
    lines: list[dict[str, Any]] = [{"event": event, "path": path} for event, path in paths]
    between = {"event": "media", "kind": "audio"}
    assert selected_path([between, *lines, between]) == selected
