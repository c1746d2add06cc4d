"""Print the call machine's transition table as Markdown into docs/call-machine.md.

python scripts/print_call_machine.py            write the file
python scripts/print_call_machine.py --check    exit 1 when the file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from meshcall.call import events as e
from meshcall.call.machine import IGNORED, MISUSE, TABLE
from meshcall.call.state import State

TARGET = Path(__file__).resolve().parent.parent / "docs" / "call-machine.md"
GROUPS = (
    ("the user", e.USER_EVENTS),
    ("signaling", e.SIGNALING_EVENTS),
    ("media", e.MEDIA_EVENTS),
    ("the timer", e.TIMER_EVENTS),
)

INTRO = """\
# The call machine

<!-- Printed by scripts/print_call_machine.py from meshcall/call/machine.py. Do not edit. -->

One machine per call, the same at both ends.
Its user, the network (signaling and media) and its timer wake it; it answers with commands.
It reads no clock and does no I/O.

* When both call at once, the offer of the lower peer id wins, and the other side answers it without ringing.
* `connected` means: DTLS is up, the peer's signed confirm was verified here, and ours was verified there.
* A source that ends, or a recording that fails, is told to the user and ends nothing.
* Whatever ends a call that the peer may know of tells the peer.

## Diagram

Copies, late reports and events that leave the state as it is are left out.

"""


def first_sentence(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().splitlines()[0]


def label(event: type[e.Event], condition: str) -> str:
    """An arrow's or a cell's text."""
    return f"{event.__name__} ({condition})" if condition else event.__name__


def diagram() -> list[str]:
    """The changes of state, as a mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), row in TABLE.items():
        for target, condition in row.to.items():
            if target is not state:
                arrows.setdefault((state, target), []).append(label(event, condition))
    for state in State:
        lines += [f'    state "{state}" as {state.name.lower()}']
    lines += [
        f"    {a.name.lower()} --> {b.name.lower()}: {', '.join(names)}"
        for (a, b), names in arrows.items()
        if b is not State.ENDED
    ]
    lines += [f"    {a.name.lower()} --> ended" for a, b in arrows if b is State.ENDED]
    return [*lines, "    ended --> [*]", "```", ""]


def states() -> list[str]:
    """One table per state."""
    lines: list[str] = []
    for state in State:
        rows = [(event, row) for (where, event), row in TABLE.items() if where is state]
        lines += [f"### {state}", ""]
        if rows:
            lines += ["| event | action | next state |", "|---|---|---|"]
        for event, row in rows:
            targets = "; ".join(
                f"{target} ({when})" if when else str(target) for target, when in row.to.items()
            )
            lines.append(f"| {event.__name__} | {first_sentence(row.action.__doc__)} | {targets} |")
        ignored = ", ".join(event.__name__ for event in e.EVENTS if (state, event) in IGNORED)
        misuse = ", ".join(event.__name__ for event in e.EVENTS if (state, event) in MISUSE)
        lines += [""] if rows else []
        lines += [f"Changes nothing: {ignored}.", ""] if ignored else []
        lines += [f"Refused (`LocalProtocolError`): {misuse}.", ""] if misuse else []
    return lines


def events() -> list[str]:
    """What the events mean."""
    lines = ["## Events", ""]
    for name, kinds in GROUPS:
        lines += [f"From {name}:", ""]
        lines += [f"* `{kind.__name__}`: {first_sentence(kind.__doc__)}" for kind in kinds]
        lines.append("")
    return lines


def document() -> str:
    """The whole file."""
    counts = f"{len(TABLE)} transitions, {len(IGNORED)} pairs that change nothing, {len(MISUSE)} refused."
    body = [*diagram(), "## Transitions", "", counts, "", *states(), *events()]
    return INTRO + "\n".join(body).rstrip() + "\n"


def main() -> int:
    """Write or check."""
    text = document()
    if "--check" in sys.argv[1:]:
        if TARGET.is_file() and TARGET.read_text("utf-8") == text:
            return 0
        print(f"{TARGET} is stale: run python scripts/print_call_machine.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
