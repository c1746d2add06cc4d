"""The one check that a storage node makes before it keeps or returns a record, and a reader before using it.

Law: cheapest first (length, fields, storage key: a few microseconds; signature: about 140), and nobody
keeps, forwards or parses the value of a record that did not pass.
"""

from __future__ import annotations

from meshcall.errors import Rejected
from meshcall.identity.keys import OUTER, verify_untrusted
from meshcall.record.codec import Record, decode_record_untrusted


def verify_record_untrusted(record: Record) -> None:
    """Raises :class:`Rejected` (``signature``) unless ``record`` is signed by its outer key.

    A record that passed is not verified again: its fields can't change.
    """
    if record.verified:
        return
    verify_untrusted(record.key, record.signature, OUTER, record.signed)
    object.__setattr__(record, "verified", True)


def check_record_untrusted(data: bytes, at: bytes | None = None) -> Record:
    """The record in ``data``, valid in itself; raises :class:`Rejected`.

    ``at`` is the storage key (20 octets) that it was asked or offered for; a record of another key is
    refused (a node that answers a lookup with something else).
    Reasons: those of :func:`decode_record_untrusted`, ``key``, ``signature``.
    """
    record = decode_record_untrusted(data)
    if at is not None and record.storage_key != at:
        raise Rejected("key")
    verify_record_untrusted(record)
    return record
