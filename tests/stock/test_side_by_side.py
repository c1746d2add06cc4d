"""Each attack, run against kademlia 2.2.3 as it is installed and against this package's engine.

The names B1 to B14 are bugs of kademlia and rpcudp; the others are holes of the same packages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import pytest

from tests.stock import lookups, tables, values
from tests.stock.wire import Wire

Stock = Callable[[Wire], Awaitable[bool]]
Ours = Callable[[], bool]

ATTACKS: dict[str, tuple[Stock, Ours]] = {
    "B1 dead nodes hold a lookup up": (lookups.dead_nodes_on_stock, lookups.dead_nodes_on_ours),
    "B2 neighbours that are not the nearest": (
        lookups.wrong_neighbours_on_stock,
        lookups.wrong_neighbours_on_ours,
    ),
    "B3 hand-off under a wrong key": (values.hand_off_on_stock, values.hand_off_on_ours),
    "B4 two ids with one integer": (tables.equal_ids_on_stock, tables.equal_ids_on_ours),
    "B5 buckets split for ever": (tables.endless_splits_on_stock, tables.endless_splits_on_ours),
    "B6 ids beyond the space": (tables.too_long_ids_on_stock, tables.too_long_ids_on_ours),
    "B7 bad replies reach the caller": (lookups.bad_replies_on_stock, lookups.bad_replies_on_ours),
    "B8 a poison value": (values.poison_on_stock, values.poison_on_ours),
    "B9 cancelling leaks": (lookups.cancelling_on_stock, lookups.cancelling_on_ours),
    "B10 everybody is dead": (lookups.everybody_dead_on_stock, lookups.everybody_dead_on_ours),
    "B11 names in replies": (lookups.names_in_replies_on_stock, lookups.names_in_replies_on_ours),
    "B12 whoever speaks is believed": (tables.unverified_entry_on_stock, tables.unverified_entry_on_ours),
    "B13 one lost datagram": (lookups.one_loss_on_stock, lookups.one_loss_on_ours),
    "B14 any attribute is a remote call": (lookups.any_attribute_on_stock, lookups.any_attribute_on_ours),
    "overwriting": (values.overwrite_on_stock, values.overwrite_on_ours),
    "rolling back": (values.rollback_on_stock, values.rollback_on_ours),
    "a STORE of 79 octets to the reader": (values.poisoned_reader_on_stock, values.poisoned_reader_on_ours),
    "values that never die": (values.immortal_values_on_stock, values.immortal_values_on_ours),
    "a store without end": (values.unbounded_store_on_stock, values.unbounded_store_on_ours),
    "amplified find_node": (values.amplified_find_node_on_stock, values.amplified_find_node_on_ours),
    "amplified find_value": (values.amplified_find_value_on_stock, values.amplified_find_value_on_ours),
    "amplified ping": (values.amplified_ping_on_stock, values.amplified_ping_on_ours),
    "ever closer nodes": (lookups.endless_lookup_on_stock, lookups.endless_lookup_on_ours),
    "a reply from another address": (
        lookups.reply_from_elsewhere_on_stock,
        lookups.reply_from_elsewhere_on_ours,
    ),
    "20 sybils beside a key": (lookups.sybils_on_stock, lookups.sybils_on_ours),
    "junk": (tables.junk_on_stock, tables.junk_on_ours),
    "a planted state file": (tables.planted_state_on_stock, tables.planted_state_on_ours),
}


def test_this_is_the_release_that_was_examined() -> None:
    """Another one may have other bugs."""
    assert version("kademlia") == "2.2.3"


@pytest.mark.parametrize("name", ATTACKS)
async def test_stock_kademlia_falls(name: str) -> None:
    """The attack succeeds: it is real, and the test of ours means something."""
    attack, _ = ATTACKS[name]
    assert await asyncio.wait_for(attack(Wire()), 30)


@pytest.mark.parametrize("name", ATTACKS)
def test_meshcall_stands(name: str) -> None:
    """The same attack fails."""
    _, attack = ATTACKS[name]
    assert not attack()
