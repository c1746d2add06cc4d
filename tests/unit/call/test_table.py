"""The table is complete, and the document is printed from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from meshcall.call import events as e
from meshcall.call.machine import IGNORED, MISUSE, TABLE
from meshcall.call.state import State

ROOT = Path(__file__).resolve().parents[3]
PAIRS = {(state, event) for state in State for event in e.EVENTS}


def test_every_pair_is_in_exactly_one_place() -> None:
    """A new state or event can't be forgotten anywhere."""
    assert set(TABLE) | IGNORED | MISUSE == PAIRS
    assert len(TABLE) + len(IGNORED) + len(MISUSE) == len(PAIRS)


def test_only_the_user_can_misuse() -> None:
    """What peers, media or timers bring never raises."""
    assert {event for _, event in MISUSE} <= set(e.USER_EVENTS)


def test_every_event_type_is_listed() -> None:
    """EVENTS is what the printed table is made of."""
    bases = (e.UserEvent, e.SignalingEvent, e.MediaEvent, e.Timeout, e.PeerMessage, e.Event)
    defined = {kind for kind in vars(e).values() if isinstance(kind, type) and issubclass(kind, e.Event)}
    assert defined - set(bases) == set(e.EVENTS)


def test_only_confirming_leads_to_connected() -> None:
    """Nothing else may show a call as connected."""
    assert {state for (state, _), row in TABLE.items() if State.CONNECTED in row.to} == {
        State.CONFIRMING,
        State.CONNECTED,
    }


def test_nothing_leads_out_of_ended() -> None:
    """A call ends once."""
    assert not [key for key in TABLE if key[0] is State.ENDED]


def test_every_action_says_what_it_does() -> None:
    """The printed table quotes it."""
    assert all((row.action.__doc__ or "").strip() for row in TABLE.values())


def test_the_document_is_fresh() -> None:
    """docs/call-machine.md is what the script would print now."""
    script = ROOT / "scripts" / "print_call_machine.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
