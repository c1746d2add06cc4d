"""The guards of ``tests/aio`` hold here, too: nothing is swallowed in the loop, nothing is left over."""

from __future__ import annotations

from tests.aio.conftest import loop_guard

__all__ = ["loop_guard"]
