"""Requests are bounded, and nothing in them is silently ignored."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from meshcall.control import models

REQUESTS = [
    kind
    for _, kind in inspect.getmembers(models, inspect.isclass)
    if issubclass(kind, models.Request) and kind is not models.Request
]


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_unknown_fields_are_refused(kind: type[models.Request]) -> None:
    """No request accepts a field that it does not have, however it is derived."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"peer":"x","name":"x","uri":"x","text":"x","surplus":1}', type=kind)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (models.StartCall, b'{"peer":""}'),
        (models.StartCall, b'{"peer":"x","timeout":0}'),
        (models.StartCall, b'{"peer":"x","timeout":1e9}'),
        (models.StartCall, b'{"peer":"x","duration":-1}'),
        (models.StartCall, b'{"peer":"x","duration":"5"}'),
        (models.StartCall, b'{"peer":"x","wait":-0.5}'),
        (models.StartCall, b'{"peer":"x","source":""}'),
        (models.StartCall, b'{"peer":5}'),
        (models.StartCall, b"{}"),
        (models.StartCall, b"[]"),
        (models.StartCall, b"null"),
        (models.StartCall, b'{"peer":"x"'),
        (models.SendChat, b'{"text":""}'),
        (models.SendChat, b'{"text":"%s"}' % (b"x" * 4001)),
        (models.CreateInvite, b'{"expires":0}'),
        (models.CreateInvite, b'{"once":1}'),
        (models.AddContact, b'{"peer":"%s"}' % (b"x" * 2049)),
        (models.RenameContact, b"{}"),
    ],
)
def test_values_out_of_bounds_are_refused(kind: type[models.Request], body: bytes) -> None:
    """Bounds and types are those that the models state."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body, type=kind)


def test_defaults_of_a_call() -> None:
    """A call needs nothing but the peer."""
    wanted = msgspec.json.decode(b'{"peer":"bob"}', type=models.StartCall)
    assert wanted == models.StartCall(peer="bob", timeout=60.0, wait=0.0, attach=False)


def test_what_a_client_sends_is_what_the_server_reads() -> None:
    """Both ends share one model."""
    sent = models.AnswerCall(source="testsrc", record="/tmp/x.mkv", duration=2.5, attach=True)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=models.AnswerCall) == sent
