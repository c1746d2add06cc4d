"""Private attributes, whose names aiortc has mangled."""

from __future__ import annotations

from typing import Any


def get_private(owner: object, name: str) -> Any:
    """The value; raises AttributeError when the library has none of that name."""
    return getattr(owner, name)


def set_private(owner: object, name: str, value: object) -> None:
    """Replace the value; raises AttributeError when the library has none of that name."""
    if not hasattr(owner, name):
        raise AttributeError(f"{type(owner).__name__} has no {name} any more")
    setattr(owner, name, value)
