"""An error is the same on both sides of the socket."""

from __future__ import annotations

import json

import pytest

from meshcall.control.client import error_from
from meshcall.control.messages import error_response
from meshcall.errors import (
    DuplicateContact,
    InternalError,
    InvalidPeerId,
    MeshcallError,
    NoSuchCall,
    PeerOffline,
    SourceUnusable,
)


def all_errors() -> list[type[MeshcallError]]:
    """Every error class."""
    found, waiting = [], [MeshcallError]
    while waiting:
        kind = waiting.pop()
        if not kind.__name__.startswith("Remote"):
            found.append(kind)
        waiting.extend(kind.__subclasses__())
    return found


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_comes_back_as_its_own_class(kind: type[MeshcallError]) -> None:
    """Class, text, hint and exit code survive the way through JSON."""
    body = error_response(kind("it is so", hint="do that")).body
    assert isinstance(body, bytes)
    error = error_from(json.loads(body)["error"])
    assert type(error) is kind
    assert (str(error), error.hint, error.exit_code) == ("it is so", "do that", kind.exit_code)


def test_codes_are_unique() -> None:
    """Two classes never share a code, or a client could not tell them apart."""
    codes = [kind.code for kind in all_errors()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidPeerId(), 400),
        (NoSuchCall(), 404),
        (DuplicateContact(), 400),
        (PeerOffline(), 409),
        (SourceUnusable(), 409),
        (InternalError(), 500),
    ],
)
def test_status(error: MeshcallError, status: int) -> None:
    """The HTTP status says roughly what the code says exactly."""
    assert error_response(error).status == status


def test_error_of_a_newer_daemon_keeps_its_exit_code() -> None:
    """A code that this release does not know is shown as it came."""
    error = error_from({"code": "future", "message": "flux", "hint": "wait", "exit_code": 6})
    assert (error.code, str(error), error.hint, error.exit_code) == ("future", "flux", "wait", 6)


@pytest.mark.parametrize("view", [None, [], "x", {}, {"code": 5}, {"code": None, "exit_code": "1"}])
def test_nonsense_is_an_error_too(view: object) -> None:
    """Whatever stands where an error should be, the client has one."""
    assert error_from(view).exit_code == 1
