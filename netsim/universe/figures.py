"""From an outcome to figures with goals, and from those to text. Pure: the same outcome, the same octets."""

from __future__ import annotations

from typing import Any

from netsim.bench.figure import Figure, Statistic, Table, markdown_table, number
from netsim.universe.scenario import Outcome
from netsim.universe.settings import Settings

SMALL, LARGE = 200, 1000
"""The sizes of network that goals are for."""
DEAD = 0.4
HOSTILE = 0.2


def is_plain(s: Settings) -> bool:
    """Whether the network is the one that the goals in milliseconds are for: 50 ms, and only deaths."""
    chance = s.loss or s.hostile or s.nat or s.churn or s.sybils
    return not chance and s.latency == "constant" and s.rtt_ms == 50 and s.dead <= DEAD


def make_figures(outcome: Outcome, prefix: str = "") -> tuple[Figure, ...]:
    """All figures of virtual time; ``prefix`` goes before their names."""
    s = outcome.settings
    plain = is_plain(s)
    small, large = plain and s.nodes <= SMALL, plain and s.nodes <= LARGE
    put_p50, put_max, put_judged = (600.0, 1200.0, large) if s.dead else (200.0, 350.0, small)
    figures: list[Figure] = []

    def add(
        name: str,
        unit: str,
        values: list[float],
        goal: float | None = None,
        statistic: Statistic = "median",
        *,
        at_least: bool = False,
        judged: bool = True,
    ) -> None:
        rounded = tuple(round(value, 3) for value in values)
        figures.append(Figure(prefix + name, unit, rounded, goal, statistic, at_least, judged))

    add("put", "ms", outcome.put, put_p50, judged=put_judged)
    add("put, slowest", "ms", outcome.put, put_max, "max", judged=put_judged)
    for name, times in (("stored after the deaths", outcome.get_new), ("stored before", outcome.get_old)):
        add(f"get, {name}", "ms", times, 105, judged=small)
        add(f"get, {name}, p90", "ms", times, 160, "p90", judged=small)
    hostile_only = 0 < s.hostile <= HOSTILE and not s.dead and not s.churn
    share_goal = 99.5 if not s.hostile else 95.0
    judged = (large or hostile_only) and s.nodes <= LARGE
    add("put succeeds", "%", shares(len(outcome.put), outcome.put_failed), share_goal, "mean",
        at_least=True, judged=judged)  # fmt: skip
    got = len(outcome.get_new) + len(outcome.get_old)
    read = shares(max(0, asked_gets(s) - outcome.get_failed), outcome.get_failed) if got else []
    add("get succeeds, with the newest", "%", read, share_goal, "mean", at_least=True, judged=judged)
    add("push, caller to callee", "ms", outcome.push, 110, judged=small)
    add("push, slowest", "ms", outcome.push, 250, "max", judged=small)
    add("push arrives", "%", shares(len(outcome.push), outcome.push_failed), None, "mean")
    add("recall of the table's k closest", "%", percent(outcome.recall), 100, "min", at_least=True)
    add("true-8 coverage after put", "%", percent(outcome.coverage), 92 if s.dead else 97, "mean",
        at_least=True, judged=large)  # fmt: skip
    add("hops of a lookup", "hops", outcome.hops, None, "mean")
    add("requests of a lookup", "messages", outcome.messages, None, "mean")
    add("values nobody stored", "values", [float(outcome.wrong_values)], 0, "max")
    if s.sybils:
        beside = shares(outcome.sybil_ok, outcome.sybil_asked - outcome.sybil_ok)
        add(f"get beside {s.sybils} sybils succeeds", "%", beside, 95, "mean", at_least=True)
    return tuple(figures)


def asked_gets(s: Settings) -> int:
    """How many records are read in a run."""
    return s.operations + max(1, s.operations // 2)


def shares(good: int, bad: int) -> list[float]:
    """Per cent, one value per attempt."""
    return [100.0] * good + [0.0] * bad


def percent(values: list[float]) -> list[float]:
    """Shares as per cent."""
    return [100 * value for value in values]


def figure_table(figures: tuple[Figure, ...]) -> str:
    """Markdown: each figure with its goal, the value that the goal is for, and how far the values spread."""
    rows = [
        (
            f.name,
            f.goal_text,
            number(f.value),
            number(f.median),
            number(f.p95),
            str(len(f.values)),
            f.unit,
            f.verdict,
        )
        for f in figures
    ]
    return markdown_table(("figure", "goal", "value", "median", "p95", "n", "unit", "verdict"), rows)


def describe(s: Settings) -> str:
    """The universe in one line."""
    parts = [f"{s.nodes} nodes", f"{s.dead:.0%} dead", f"{s.hostile:.0%} hostile"]
    parts += [f"{s.nat:.0%} behind NATs"] if s.nat else []
    parts += [f"mean life {s.churn:g} s"] if s.churn else []
    where = "all over the net" if s.sybils_spread else "in one /24"
    parts += [f"{s.sybils} sybils {where}"] if s.sybils else []
    parts += [f"kind of lie: {s.hostile_kind}"] if s.hostile_kind else []
    parts += [f"{s.rtt_ms:g} ms RTT, {s.latency}", f"{s.loss:.1%} loss", f"{s.clients} clients"]
    parts += ["fresh"] if s.fresh else []
    parts += ["all joined" if s.real_joins else "tables by construction", f"seed {s.seed}"]
    return ", ".join(parts)


def traffic_table(outcome: Outcome) -> Table:
    """What became of the datagrams."""
    t = outcome.traffic
    row = tuple(str(n) for n in (t.delivered, t.unheard, t.lost, t.filtered, t.octets))
    header = ("delivered", "to nobody", "lost", "stopped by a NAT", "octets delivered")
    return Table("Datagrams", header, (row,))


def refusals(outcome: Outcome) -> Table:
    """What the honest engines refused or noticed, by reason; the most frequent first."""
    quiet = ("sent-", "received-", "store-", "admitted")
    noted = [(n, c) for n, c in outcome.counters.items() if not n.startswith(quiet)]
    noted.sort(key=lambda entry: (-entry[1], entry[0]))
    return Table("What engines counted", ("reason", "times"), tuple((n, str(c)) for n, c in noted))


def to_markdown(outcome: Outcome) -> str:
    """All of it, for people. The same seed gives the same octets."""
    s = outcome.settings
    notes = (
        f"{outcome.died} nodes died, {outcome.came} came; {outcome.engines} engines ran for "
        f"{number(round(outcome.seconds, 3))} s of virtual time.\n"
        "A goal in brackets is for another size or kind of network than this one."
    )
    return "\n\n".join(
        (
            f"## Universe of {describe(s)}",
            figure_table(make_figures(outcome)),
            notes,
            traffic_table(outcome).to_markdown(),
            refusals(outcome).to_markdown(),
        )
    )


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The same, for programs."""
    s = outcome.settings
    settings = {name: getattr(s, name) for name in s.__slots__}
    figures = [f.to_json() for f in make_figures(outcome)]
    for figure in figures:
        del figure["values"]
    return {
        "settings": settings,
        "figures": figures,
        "died": outcome.died,
        "came": outcome.came,
        "engines": outcome.engines,
        "seconds": round(outcome.seconds, 3),
        "traffic": {name: getattr(outcome.traffic, name) for name in outcome.traffic.__slots__},
        "counters": dict(sorted(outcome.counters.items())),
    }
