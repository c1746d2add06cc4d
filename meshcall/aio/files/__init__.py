"""Everything that meshcall keeps on disk: the home, the key file, the state database, small state files.

Law 1: what was acknowledged survives ``kill -9`` at any moment, and no file is ever there by half.
Law 2: nobody else on the machine reads it: folders 0700, files 0600, links not followed, loose modes refused.
Law 3: damage is set aside and reported, never deleted and never raised; only a damaged key stops the start.
Law 4: nothing is unpickled, evaluated or imported from disk.

All functions block (a write waits for the disk): in the event loop use :meth:`StateDb.run` or ``to_thread``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meshcall.aio.files.atomic import (
        create_exclusive,
        load_or_set_aside,
        read_limited,
        set_aside,
        sweep,
        write_atomic,
    )
    from meshcall.aio.files.home import HomeLock, open_home
    from meshcall.aio.files.keyfile import (
        change_passphrase,
        create_key,
        key_is_locked,
        load_key,
        load_peer_id,
    )
    from meshcall.aio.files.rows import (
        AddressRow,
        CallRow,
        ContactRow,
        InviteRow,
        NoteRow,
        ReplayRow,
        RoomRow,
    )
    from meshcall.aio.files.statedb import StateDb

_PLACES: Final = {
    "atomic": ("create_exclusive", "load_or_set_aside", "read_limited", "set_aside", "sweep", "write_atomic"),
    "home": ("HomeLock", "open_home"),
    "keyfile": ("change_passphrase", "create_key", "key_is_locked", "load_key", "load_peer_id"),
    "rows": ("AddressRow", "CallRow", "ContactRow", "InviteRow", "NoteRow", "ReplayRow", "RoomRow"),
    "statedb": ("StateDb",),
}
"""Which module has which names. Each is loaded when first asked for: a bootstrap node needs no SQLite."""


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AddressRow",
    "CallRow",
    "ContactRow",
    "HomeLock",
    "InviteRow",
    "NoteRow",
    "ReplayRow",
    "RoomRow",
    "StateDb",
    "change_passphrase",
    "create_exclusive",
    "create_key",
    "key_is_locked",
    "load_key",
    "load_or_set_aside",
    "load_peer_id",
    "open_home",
    "read_limited",
    "set_aside",
    "sweep",
    "write_atomic",
]
