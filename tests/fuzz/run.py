"""One run: so many inputs from one seed, each timed, exceptions and memory counted."""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.corpus import load
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import Dht, Records, parsers

WEIGHTS = {
    "frame": 40, "record": 12, "inner": 8, "body": 8, "description": 10, "candidates": 6, "txt": 5,
    "control": 4, "text": 5, "table": 2, "room-announcement": 2, "room-letter": 4, "room-memory": 1,
    "room-message": 4,
}  # fmt: skip
"""How many of a hundred inputs go to each target."""
WARM_UP = 0.2
"""Share of the inputs after which memory is measured first: caches are filled by then."""


@dataclass(slots=True)
class Report:
    """What a run found."""

    seed: int
    inputs: int = 0
    failures: list[tuple[str, bytes, str]] = field(default_factory=list)
    """(target, input, exception) of what was not handled."""
    slowest: float = 0.0
    """Seconds of CPU time."""
    slowest_target: str = ""
    growth: int = 0
    """Octets of memory more at the end than after the warm-up."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    dht: Dht | None = None

    def lines(self) -> list[str]:
        """For people."""
        inputs = Counter[str]()
        for (target, _), count in self.outcomes.items():
            inputs[target] += count
        rows = [f"seed {self.seed}: {self.inputs} inputs, {len(self.failures)} unhandled exceptions"]
        rows.append(
            f"slowest {self.slowest * 1000:.1f} ms ({self.slowest_target}), memory +{self.growth >> 10} KiB"
        )
        rows += [
            f"  {target:12} {count:7} inputs, {self.outcomes[target, 'accepted']} accepted"
            for target, count in inputs.most_common()
        ]
        rows += [f"  {target}: {error} from {data.hex()}" for target, data, error in self.failures[:10]]
        return rows


def resident() -> int:
    """Octets of this process in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def run(inputs: int, seed: int) -> Report:
    """``inputs`` inputs; the same seed gives the same ones."""
    rng = random.Random(seed)
    corpus = load()
    dht, records = Dht(rng), Records(rng)
    corpus["inner"] = [inner for _, _, inner in records.inners]
    targets = parsers() | {"frame": dht.take, "record": records.take}
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    report = Report(seed, inputs, dht=dht)
    base = 0
    gc.collect()
    gc.disable()  # a collection of the whole test run's heap is no parser's time
    try:
        for index in range(inputs):
            if index % 1000 == 0:
                dht.refresh()
            if index % 10_000 == 0:
                gc.collect()
            if index == int(inputs * WARM_UP):
                base = resident()
            name = rng.choices(names, weights)[0]
            which = rng.randrange(len(corpus[name]))
            seed_input = corpus[name][which]
            data = mutate(rng, seed_input, corpus[name]) if rng.random() < 0.97 else seed_input
            started = time.thread_time()
            try:
                outcome = records.take_inner(data, which) if name == "inner" else targets[name](data)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                outcome = "raised"
                report.failures.append((name, data, repr(error)))
            took = time.thread_time() - started
            report.outcomes[name, outcome] += 1
            if took > report.slowest:
                report.slowest, report.slowest_target = took, name
        gc.collect()
        report.growth = resident() - base
    finally:
        gc.enable()
    return report
