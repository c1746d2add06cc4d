"""The log of a node at its loudest: what may be shown to whoever helps."""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshcall import media_loader
from meshcall import node as node_module
from meshcall.aio.files import load_key, open_home
from meshcall.ice.candidate import Candidate
from meshcall.media.endpoint import MediaEndpoint
from meshcall.media.plan import MediaPlan
from meshcall.node import Node
from meshcall.redaction import RedactingFormatter
from meshcall.signaling.description import Description, decode_description_untrusted
from meshcall.testing.testnet import Testnet
from tests.attacks.nodes import answered, config_of, ended, reachable

CALLS = 20
ADDRESS = re.compile(r"(?<![\d.])(?!127\.|0\.)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\d.])")
"""Any but our own loopback and the unspecified one."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the daemon would write with ``--log-level debug``, of every logger."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


async def test_the_loudest_log_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    """Twenty calls at DEBUG: no key, credential, token, whole ID, call secret or address of a peer."""
    descriptions, ids = note_descriptions(monkeypatch), set[str]()
    async with (
        Testnet(5) as testnet,
        Node(config_of(tmp_path / "alice", testnet, name="Alice")) as alice,
        Node(config_of(tmp_path / "bob", testnet, name="Bob")) as bob,
    ):
        await reachable(alice)
        await reachable(bob)
        invite = alice.create_invite(once=True, expires=600)
        await bob.accept_invite(invite)
        secrets = {"invite": invite.partition("#")[2]}
        for number in range(CALLS):
            caller, callee = (alice, bob) if number % 2 else (bob, alice)
            call = await caller.call(callee.peer_id)
            theirs = await answered(callee, ids)
            if number % 4 == 3:
                await theirs.decline()
            else:
                await theirs.answer()
                async with asyncio.timeout(10):
                    await call.wait_connected()
                await call.chat(f"secret words {number}")
                await call.hangup()
            await asyncio.gather(ended(call), ended(theirs))
        for node in (alice, bob):
            name = node.config.name
            secrets[f"ID of {name}"] = node.id_text()
            secrets[f"ID key of {name}"] = node.peer_id.key.hex()
            secrets[f"identity of {name}"] = _seed(node).hex()
            secrets[f"node key of {name}"] = (node._state.get_blob("node-key") or b"").hex()
            for prekey in node._post._where._prekeys._prekeys.values():
                secrets[f"prekey of {name}"] = prekey.key.private.hex()
            for address, (_, token) in node._dht.engine._core.tokens._entries.items():
                secrets[f"token of {address}"] = token.hex()
        for number, description in enumerate(descriptions):
            secrets[f"pwd {number}"] = description.pwd  # the ufrag is in clear in every check
            secrets[f"fingerprint {number}"] = description.fingerprint.hex()
    text = log.getvalue()
    logging.getLogger("meshcall.test").debug("pwd=%s %s", descriptions[0].pwd, alice.id_text())
    assert descriptions[0].pwd not in log.getvalue(), "the formatter is in place"
    assert len(log.getvalue()) > len(text), "the log is written"
    lowered = text.lower()
    print(f"{len(text.splitlines())} lines; {len(secrets)} secrets")
    assert [name for name, secret in secrets.items() if not secret] == []
    assert [name for name, secret in secrets.items() if secret.lower() in lowered] == []
    assert "203.0.x.x" in text, "the address of the internet was spoken of"
    assert ADDRESS.findall(text) == []
    assert "secret words" not in text


def note_descriptions(monkeypatch: pytest.MonkeyPatch) -> list[Description]:
    """Real endpoints; what they tell each other is noted, with an address of the internet in it."""
    noted: list[Description] = []
    public = Candidate("srflx", "udp", "203.0.113.77", 40_000, 1)

    def note(then: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        async def noting(*args: bytes) -> bytes:
            description = decode_description_untrusted(await then(*args))
            noted.append(description)
            return description.with_candidates([*description.candidates, public]).encode()

        return noting

    async def make(plan: MediaPlan, *parts: Any) -> MediaEndpoint:
        made: Any = await media_loader.make_endpoint(plan, *parts)
        made.offer, made.answer = note(made.offer), note(made.answer)
        endpoint: MediaEndpoint = made
        return endpoint

    monkeypatch.setattr(node_module, "make_endpoint", make)
    return noted


def _seed(node: Node) -> bytes:
    """The identity's private half."""
    return load_key(open_home(node.config.home), None).seed
