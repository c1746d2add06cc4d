"""A report has nothing of who and where."""

from __future__ import annotations

import random

import pytest

from meshcall.cli.scrubbing import Scrubber
from tests.unit.control.fake_node import peer_id_of

ID = peer_id_of(3).text
GROUPED = "-".join(ID[at : at + 7] for at in range(0, 56, 7))
STAMP = "2026-11-28 21:59:45,123 INFO    "
SECRETS = (
    ID, ID.upper(), GROUPED, "203.0.113.77", "2001:db8::77:1", "fe80::1%eth0", "02:42:ac:11:00:77",
    "5f2c1a9e-77.local", "meshcall:abc?n=Zoe#5ecret77", "turn.zoe77.example:3478", "turn:zoe77.example",
    "Zoe Example", "/home/zoe77/meshcall", "ab77" * 16,
)  # fmt: skip


def scrubber() -> Scrubber:
    """One that knows a person and a folder."""
    return Scrubber({"/home/zoe77": "~", "/home/zoe77/meshcall": "HOME"}, names=["Zoe Example", "Zoe", ""])


@pytest.mark.parametrize("secret", SECRETS)
def test_planted_secrets_are_cut_from_sentences_and_logs(secret: str) -> None:
    """Wherever in a line they stand, and as part of a list, a URL or in quotes."""
    tool = scrubber()
    for frame in ("{}", "at {} now", "'{}'", "({}), and", "[{}]:4242", "{}, {}", "to={};"):
        text = frame.replace("{}", secret)
        for cut in (tool.text(text), tool.log_line(f"{STAMP}meshcall.aio.udp: {text}"), tool.log_line(text)):
            for part in (secret, "77:1", "zoe77", "203.0", "2001:", "5ecret", "Zoe", ID[:7]):
                assert part.lower() not in cut.lower(), (text, cut)


@pytest.mark.parametrize(
    "name", ["Zoë", "bob ended: hangup", "x was missed", "a: `meshcall answer` takes it", "to from with", "…"]
)
def test_the_log_of_calls_loses_unknown_names_and_keeps_what_happened(name: str) -> None:
    """Nobody need know the name: the line keeps its fixed words alone."""
    tool, log = Scrubber({}), f"{STAMP}meshcall.call_log: "
    lines = {
        f"call 0123abcd from {name}, not a contact: `meshcall answer` takes it": "call 0123abcd from [name], "
        "not a contact: `meshcall answer` takes it",
        f"call 0123abcd with {name} ended: no-path": "call 0123abcd with [name] ended: no-path",
        f"call 0123abcd from {name} was missed": "call 0123abcd from [name] was missed",
        "call 0123abcd is connected (lan)": "call 0123abcd is connected (lan)",
        f"{name} (abcdefg) accepted an invite and is a contact now": "[cut]",
        f"call 0123abcd is not recorded any more: {name}": "[cut]",
    }
    for line, kept in lines.items():
        assert tool.log_line(log + line) == log + kept


def test_tracebacks_keep_where_and_what_but_not_what_it_said() -> None:
    """File, line, function and the class of the exception; an exception may quote anything."""
    tool = Scrubber({})
    lines = [
        "Traceback (most recent call last):",
        '  File "/home/zoe/x/meshcall/node.py", line 12, in call',
        "    raise KeyError(name)",
        "meshcall.errors.UnknownContact: no contact is called 'Zoe'",
        "KeyError: 'Zoe'",
    ]
    assert [tool.log_line(line) for line in lines] == [
        "Traceback (most recent call last):",
        "  node.py, line 12, in call",
        "[cut]",
        "meshcall.errors.UnknownContact: [cut]",
        "KeyError: [cut]",
    ]


def test_documents_keep_numbers_and_words_alone() -> None:
    """Fields that are not known to be harmless are cut, also those that a newer daemon adds."""
    document = {
        "name": "Zoe", "peer_id": ID, "port": 4242, "new_field": "Zoe", "list": ["Zoe", {"state": "mapped"}],
        "ipv4": {"udp": "yes", "public": "203.0.113.77:1", "mapping": "none"}, "ok": True, "none": None,
        "warnings": ["port 4242 of 203.0.113.77 is closed"],
    }  # fmt: skip
    assert scrubber().document(document) == {
        "name": "[cut]", "peer_id": "[cut]", "port": 4242, "new_field": "[cut]",
        "list": ["[cut]", {"state": "mapped"}],
        "ipv4": {"udp": "yes", "public": "[cut]", "mapping": "none"}, "ok": True, "none": None,
        "warnings": ["port 4242 of [address] is closed"],
    }  # fmt: skip


def test_what_helps_is_left() -> None:
    """Times, versions, counts and reasons."""
    for line in ("12:34:56 is a time", "aiortc 1.16.0", "20 nodes, 3 watches", "stopping", "rtt 12.5 ms"):
        assert scrubber().text(line) == line
    left = "meshcall.service: Main process exited, code=killed, status=9/KILL"
    assert scrubber().log_line(left) == left
    assert scrubber().log_line(f"ready: {ID} on UDP port 4242, home /x") == "ready"


def test_any_line_can_be_scrubbed() -> None:
    """2,000 lines of random characters raise nothing, and soon."""
    seeded, tool = random.Random(5), scrubber()
    alphabet = ":.-%/abc077\"'[]() \n\t…Zoeμ#=@{}*\\$"
    for _ in range(2000):
        text = "".join(seeded.choices(alphabet, k=seeded.randint(0, 200)))
        tool.text(text)
        tool.log_line(text)
    tool.text("a." * 20_000)
    tool.text(":" * 20_000)
