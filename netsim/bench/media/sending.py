"""What it costs to send the same pictures to several peers: processor time of the sender for each picture.

Both ends are on one kernel bridge. The receivers decode, in a process of their own.
"""

from __future__ import annotations

import asyncio
import statistics

from netsim.bench.figure import Figure, Report, Table, number
from netsim.bench.media.trial import EngineName, Troubles, connect, pair
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab

RATE = 30
FLAGS = ("--pictures", f"1280x720@{RATE}", "--silent", "--count-only")
PEERS = {"ours": (1, 3, 6), "stock": (1, 3)}
"""Stock aiortc would need more than two cores for six."""
WARM_S = 5.0
"""Until keyframes and rates have settled."""
WINDOW_S = 10.0
QUICK_WINDOW_S = 5.0
GOAL = 115.0
"""Percent."""
ARRIVED = 0.95
REPEAT_MAX = 5


async def cost(engine: EngineName, peers: int, window: float) -> tuple[float, float]:
    """Milliseconds of processor time for each picture, and the smallest share that a peer got of them.

    Raises LabError.
    """
    async with Lab() as lab:
        lan = await lab.lan(["sender", "peers"])
        async with pair(lan["sender"], lan["peers"], engine, FLAGS) as (sender, receiver):
            names = [await connect(sender, receiver) for _ in range(peers)]
            await asyncio.sleep(WARM_S)
            used, begin = await sender.cpu()
            await asyncio.sleep(window)
            after, end = await sender.cpu()
            got = await receiver.report()
    counts = [
        sum(begin <= at < end for at, _, _ in got["played"].get(name, {"pictures": []})["pictures"])
        for name in names
    ]
    if not all(counts):
        raise LabError("a peer got no picture")
    return 1000 * (after - used) * peers / sum(counts), min(counts) / (RATE * (end - begin))


async def measure(options: Options) -> Report:
    """Engines and numbers of peers in turns."""
    window = QUICK_WINDOW_S if options.quick else WINDOW_S
    costs: dict[tuple[EngineName, int], list[float]] = {}
    shares: dict[tuple[EngineName, int], list[float]] = {}
    troubles = Troubles()
    for turn in range(1 if options.quick else min(options.repeat, REPEAT_MAX)):
        engines: tuple[EngineName, ...] = ("ours", "stock")
        for engine in engines:
            for peers in PEERS[engine]:
                try:
                    spent, share = await cost(engine, peers, window)
                except LabError as error:
                    troubles.add(engine, f"{peers} peers", error)
                    continue
                costs.setdefault((engine, peers), []).append(spent)
                shares.setdefault((engine, peers), []).append(share)
                options.log(f"{engine}, {peers} peers, {turn + 1}: {spent:.1f} ms, {share:.0%} arrived")
    return make_report(costs, shares, troubles)


def make_report(
    costs: dict[tuple[EngineName, int], list[float]],
    shares: dict[tuple[EngineName, int], list[float]],
    troubles: Troubles,
) -> Report:
    """Ratios to the same engine with one peer."""

    def ratio(engine: EngineName, peers: int) -> tuple[float, ...]:
        many, one = costs.get((engine, peers), []), costs.get((engine, 1), [])
        return tuple(100 * a / b for a, b in zip(many, one, strict=False))

    rows = [
        (
            engine,
            str(peers),
            number(statistics.median(values)),
            number(statistics.median(values) * RATE / 10),
            f"{min(shares[engine, peers]):.0%}",
        )
        for (engine, peers), values in costs.items()
    ]
    arrived = tuple(
        100 * share for (engine, _), found in shares.items() if engine == "ours" for share in found
    )
    return Report(
        "Sending 720p30 (VP8)",
        (
            Figure("sender's CPU with 6 peers, of that with 1", "%", ratio("ours", 6), GOAL),
            Figure("sender's CPU with 3 peers, of that with 1", "%", ratio("ours", 3)),
            Figure("pictures that each peer got", "%", arrived, 100 * ARRIVED, "min", at_least=True),
            Figure("stock aiortc: CPU with 3 peers, of that with 1", "%", ratio("stock", 3)),
        ),
        (
            Table(
                "Processor time of the sender, median",
                ("engine", "peers", "ms a picture", "% of a core at 30 a second", "pictures that arrived"),
                tuple(rows),
            ),
        ),
        tuple(troubles.notes),
        tuple(troubles.failures),
    )
