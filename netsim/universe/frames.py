"""Frames made by the world itself, for liars and for load, beside those of the engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec

from meshcall.dht import messages as m


def frame(kind: type[m.Message], *head: object, **fields: object) -> bytes:
    """A frame of that kind: ``head``, then the named fields that it has; fields not named are 0 or empty.

    So a world goes on working when a frame gets one field more.
    """
    make: Callable[..., m.Message] = kind
    rest = kind.__struct_fields__[len(head) :]
    return m.encode_frame(make(*head, *(fields.get(name, _default(kind, name)) for name in rest)))


@cache
def _default(kind: type[m.Message], name: str) -> object:
    types = {field.name: msgspec.inspect.type_info(field.type) for field in msgspec.structs.fields(kind)}
    if isinstance(types[name], msgspec.inspect.ListType):
        return []
    return b"" if isinstance(types[name], msgspec.inspect.BytesType) else 0
