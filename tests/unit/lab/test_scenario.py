"""Scenario files: what they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim import scenario as s
from netsim.errors import LabError
from netsim.link import LADDER
from netsim.scenario_run import StepResult
from netsim.verbs import CallStep, LinkStep, MediaStep, describe

GOOD = """
title = "A test"
relay = true
relay_by = { bob = "tls" }

[carriers.isp]
nat = { preset = "full_cone", hairpin = true }

[sites.home]
nat = "port_restricted"
hosts = ["alice"]
behind = "isp"
link = "weak-4g"

[sites.office]
hosts = ["bob", "carol"]

[sites.empty]
hosts = []

[[steps]]
do = "call"
from = "alice"
to = "bob"
expect = "relay"

[[steps]]
do = "link"
site = "home"
link = { delay_ms = 300.0 }

[[steps]]
do = "media"
within = 3
gap = "not yet"
"""


def changed(old: str, new: str) -> str:
    """The good file with one change."""
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_file_becomes_a_value() -> None:
    """Every word has its place."""
    scenario = s.parse_scenario(GOOD, "good.toml")
    assert scenario.hosts() == ["alice", "bob", "carol"]
    assert scenario.topology.sites["home"].link == LADDER["weak-4g"]
    assert scenario.topology.carriers["isp"].nat.hairpin
    call, link, media = scenario.steps
    assert isinstance(call, CallStep)
    assert (call.caller, call.callee, call.expect) == ("alice", "bob", "relay")
    assert isinstance(link, LinkStep)
    assert isinstance(media, MediaStep)
    assert media.gap == "not yet"
    assert [describe(step) for step in scenario.steps] == [
        "alice calls bob", "link of home: {'delay_ms': 300.0}", "media flows within 3 s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = ", "Invalid value"),
        ('title = "x"', "either steps or a grid"),
        (GOOD + "\n[grid]\n", "either steps or a grid"),
        (changed('do = "media"', 'do = "dance"'), "dance"),
        (changed("within = 3", "within = -1"), "within"),
        (changed('to = "bob"', 'to = "nobody"'), "step 1: no host is called nobody"),
        (changed('site = "home"', 'site = "moon"'), "step 2: no site and no carrier is called moon"),
        (changed("link = { delay_ms = 300.0 }", 'link = "string"'), "step 2: link: no link is called"),
        (changed("link = { delay_ms = 300.0 }", "link = { delay = 3.0 }"), "delay_ms"),
        (changed('link = "weak-4g"\n', ""), "the uplink of home is a plain wire"),
        (changed('behind = "isp"', 'behind = "nobody"'), "no carrier is called"),
        (changed('nat = "port_restricted"', 'nat = "cone"'), "cone"),
        (changed('relay_by = { bob = "tls" }', 'relay_by = { dave = "tls" }'), "relay_by"),
        (changed('relay_by = { bob = "tls" }', 'relay_by = { bob = "carrier-pigeon" }'), "relay_by"),
        (changed("relay = true", 'relay = "yes"'), "relay"),
        (changed('title = "A test"', 'title = "A test"\ncolour = "red"'), "colour"),
        (changed('gap = "not yet"', 'gap = "not yet"\nfoo = 1'), "foo"),
        (GOOD + '\n[[steps]]\ndo = "set_nat"\nsite = "home"\nkind = "cone"\n', "cone"),
        (
            changed("relay = true", "relay = false") + '\n[[steps]]\ndo = "relay"\nstate = "stop"\n',
            "write relay = true",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, words: str) -> None:
    """With the file's name, the place and the reason."""
    with pytest.raises(LabError, match=words) as caught:
        s.parse_scenario(text, "bad.toml")
    assert str(caught.value).startswith("bad.toml: ")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Neither a missing file nor one in another encoding is a traceback."""
    with pytest.raises(LabError, match="can't be read"):
        s.load_scenario(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    with pytest.raises(LabError, match="can't be read"):
        s.load_scenario(tmp_path / "latin.toml")


@pytest.mark.parametrize("path", sorted(s.SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_scenarios_that_come_with_the_lab_are_good(path: Path) -> None:
    """Each loads, and every step can be told."""
    scenario = s.load_scenario(path)
    assert scenario.title
    assert all(describe(step) for step in scenario.steps)


def test_every_verb_is_described() -> None:
    """A step without words of its own is told by its verb."""
    text = (
        'title = "x"\nrelay = true\n[sites.a]\nlink = "barely"\n[sites.b]\n'
        '[[steps]]\ndo = "cut"\nsite = "a"\n[[steps]]\ndo = "heal"\nsite = "a"\n'
        '[[steps]]\ndo = "reboot_nat"\nsite = "a"\n[[steps]]\ndo = "expire_mappings"\nsite = "a"\n'
        '[[steps]]\ndo = "change_wan_address"\nsite = "a"\n'
        '[[steps]]\ndo = "set_nat"\nsite = "a"\nkind = "open"\n'
        '[[steps]]\ndo = "link"\nsite = "a"\nlink = "barely"\n[[steps]]\ndo = "roam"\nhost = "a"\nto = "b"\n'
        '[[steps]]\ndo = "flap"\nhost = "a"\n[[steps]]\ndo = "relay"\nstate = "stop"\n'
        '[[steps]]\ndo = "hang_up"\n[[steps]]\ndo = "wait"\nseconds = 1\n[[steps]]\ndo = "silence"\n'
    )
    told = [describe(step) for step in s.parse_scenario(text, "verbs.toml").steps]
    assert told == [
        "cut a", "heal a", "reboot_nat a", "expire_mappings a", "change_wan_address a", "set_nat a: open",
        "link of a: barely", "a roams to b", "a's interface is off for 0.5 s", "stop the relay", "hang up",
        "wait 1 s", "no media after 5 s",
    ]  # fmt: skip


def test_results_are_told_in_a_line() -> None:
    """A gap is not a failure, and a failure is not to be overlooked."""
    assert str(StepResult("a calls b", 1.2, detail="direct")) == "ok       1.20 s  a calls b: direct"
    assert str(StepResult("media", 5, gap="not yet")) == "gap      5.00 s  media: known gap: not yet"
    assert str(StepResult("media", 5, "silence")) == "failed   5.00 s  media: silence"
