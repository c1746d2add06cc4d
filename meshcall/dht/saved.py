"""The table on disk: who was there, so that a restart needs no bootstrap address.

Law: the file is data only (MessagePack, checked against a schema); at worst the table is empty.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from meshcall.address import Address
from meshcall.dht.compact import pack_address, unpack_address_untrusted
from meshcall.dht.contact import Contact
from meshcall.errors import Rejected, StateCorrupt
from meshcall.limits import DHT_SAVED_CONTACTS_MAX, DHT_STATE_MAX, NODE_ID_SIZE


class SavedContact(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One contact."""

    node_id: Annotated[bytes, Meta(min_length=NODE_ID_SIZE, max_length=NODE_ID_SIZE)]
    address: Annotated[bytes, Meta(min_length=6, max_length=18)]


class SavedTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    version: Annotated[int, Meta(ge=1, le=1)]
    contacts: Annotated[list[SavedContact], Meta(max_length=DHT_SAVED_CONTACTS_MAX)]


def encode_table(contacts: list[Contact]) -> bytes:
    """The healthiest contacts, those heard of last first."""
    best = sorted(contacts, key=lambda c: (c.failures, -c.last_seen, c.id))[:DHT_SAVED_CONTACTS_MAX]
    saved = [SavedContact(c.id, pack_address(c.address)) for c in best]
    return msgspec.msgpack.encode(SavedTable(1, saved))


def decode_table_untrusted(data: bytes) -> list[tuple[bytes, Address]]:
    """(node id, address) of the saved contacts; raises ``Rejected("state")``."""
    if len(data) > DHT_STATE_MAX:
        raise Rejected("state")
    try:
        saved = msgspec.msgpack.decode(data, type=SavedTable)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected("state") from error
    try:
        return [(c.node_id, unpack_address_untrusted(c.address)) for c in saved.contacts]
    except Rejected as rejected:
        raise Rejected("state") from rejected


def checked_table(data: bytes) -> bytes:
    """``data`` if it is a saved table; raises :class:`StateCorrupt`."""
    try:
        decode_table_untrusted(data)
    except Rejected:
        raise StateCorrupt("it is not a saved table of the DHT") from None
    return data


def saved_contacts(data: bytes | None) -> int:
    """How many contacts are in what :func:`checked_table` returned; None: there is no table."""
    return 0 if data is None else len(decode_table_untrusted(data))
