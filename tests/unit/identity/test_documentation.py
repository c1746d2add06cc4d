"""docs/protocol/identity.md says what the vectors and the code say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meshcall import limits
from meshcall.identity import confirm, keys, peer_id, vault

ROOT = Path(__file__).parents[3]
VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "identity.json").read_text("utf-8"))
PAGE = (ROOT / "docs" / "protocol" / "identity.md").read_text("utf-8")


def test_the_examples_are_vectors() -> None:
    """ID, grouped ID, invite, words and digits on the page are those of the vectors."""
    first = VECTORS["ids"][0]
    assert first["seed"] == bytes(range(32)).hex()
    examples = [
        first["text"],
        first["grouped"],
        VECTORS["invites"][1]["uri"],
        ", ".join(VECTORS["sas"]["words"]),
        " ".join(map(str, VECTORS["sas"]["digits"])),
    ]
    assert [example for example in examples if f"\n{example}\n" not in PAGE] == []


def test_the_numbers_are_those_of_the_code() -> None:
    """Lengths, caps and lifetimes on the page."""
    hash_ = bytes(32)
    lengths = {
        f"An open file has {len(bytes.fromhex(VECTORS['vaults'][0]['file']))} octets",
        f"a locked one {len(bytes.fromhex(VECTORS['vaults'][1]['file']))}",
        f"; {len(confirm.confirm_message('caller', hash_, hash_, hash_, hash_))} OCTET",
        f"no more than {limits.PEER_ID_TEXT_MAX} characters",
        f"at most {limits.URI_TEXT_MAX:,} characters",
        f"at most {limits.NAME_MAX} octets of UTF-8",
        f"1*{limits.SECRET_TEXT_MAX}(",
        f"at most {limits.INVITE_NODES_MAX} times",
        f"0 to {limits.PREKEY_ROTATION // 3600} h",
        f"| {limits.PREKEY_LIFETIME // 3600} h |",
        f"At most {limits.PREKEYS_MAX} are held",
        f"KiB, {limits.ARGON2_MEMORY} when written; at most {limits.ARGON2_MEMORY_MAX}",
        f"{limits.ARGON2_ITERATIONS} when written; 1 to {limits.ARGON2_ITERATIONS_MAX}",
        f"The {len(peer_id.SMALL_ORDER_KEYS)} encodings",
        f'%s"{vault.MAGIC.decode()}"',
    }
    assert [text for text in sorted(lengths) if text not in PAGE] == []


def test_every_signature_domain_is_listed() -> None:
    """The table of domains is complete."""
    domains = {keys.OUTER, keys.INNER, keys.PRESENCE, keys.CONFIRM, keys.NODE}
    assert {domain.decode() for domain in domains} == {v["domain"] for v in VECTORS["signatures"]}
    assert [domain for domain in domains if f"| `{domain.decode()}` |" not in PAGE] == []
