"""The fuzz target, run over its corpus: the longer part of the suite (about 25 s of one core)."""

from __future__ import annotations

import pytest

from meshcall.dht import StoreDone, ValueFound
from meshcall.dht import messages as m
from meshcall.limits import (
    DHT_BUCKETS_MAX,
    DHT_OPEN_REQUESTS_MAX,
    DHT_WATCHES_MAX,
    RECORDS_PER_KEY_AND_TYPE,
)
from tests.fuzz import corpus
from tests.fuzz.__main__ import SLOW
from tests.fuzz.run import run
from tests.unit.dht.universe import inbox_record

SEED = 20_261_123
INPUTS = 200_000
GROWTH = 16 * 1024 * 1024
"""Octets: less than a tenth of what all inputs together have."""
REACHED = (
    "rejected-frame",
    "rejected-size",
    "rejected-version",
    "unsolicited",
    "wrong-kind",
    "bad-token",
    "store-stored",
    "record-signature",
    "received-dial",
    "notify-again",
)
"""Counters of what is refused early, and late."""


def test_the_corpus_is_what_its_script_writes() -> None:
    """One file for each kind of frame and record, and for each parser; small."""
    made = {
        target: [files[name] for name in sorted(files, key=lambda name: f"{name}.bin")]
        for target, files in corpus.make().items()
    }
    assert corpus.load() == made
    kinds = {m.decode_frame_untrusted(data).__class__ for data in made["frame"]}
    assert kinds == set(m.Frame.__args__)
    assert sum(len(data) for files in made.values() for data in files) < 100_000


@pytest.mark.timeout(300)
def test_200_000_hostile_inputs() -> None:
    """No unhandled exception, none over 50 ms, memory stays, nobody got in, and the node still works."""
    report = run(INPUTS, SEED)
    print("\n".join(report.lines()))
    assert report.failures == []
    assert report.slowest < SLOW
    assert report.growth < GROWTH
    dht = report.dht
    assert dht is not None
    engine, universe = dht.engine, dht.universe
    statistics = engine.statistics()
    assert statistics.open_requests <= DHT_OPEN_REQUESTS_MAX
    assert statistics.buckets <= 2 * DHT_BUCKETS_MAX
    assert statistics.records.values <= RECORDS_PER_KEY_AND_TYPE
    assert statistics.watches_held <= DHT_WATCHES_MAX
    assert min(statistics.counters[kind] for kind in REACHED) > 0
    assert {address for _, address in engine.contacts()} <= set(dht.contacts)
    universe.link.flush(dht.address)
    universe.link.run(60.0)
    record = inbox_record(3)
    number = engine.start_store(record.encode(), universe.now)
    assert universe.wait(dht.address, StoreDone, number)[1].stored >= 1
    reader = dht.contacts[0]
    find = universe.at(reader).start_find(record.storage_key, universe.now)
    assert universe.wait(reader, ValueFound, find)[1].record == record.encode()
