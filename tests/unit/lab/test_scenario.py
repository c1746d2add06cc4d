"""Scenario files: what they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from netsim import scenario as s
from netsim.errors import LabError
from netsim.link import LADDER
from netsim.scenario_report import ScenarioResult, StepResult, html, text, to_json
from netsim.verbs import CallStep, LinkStep, MediaStep, Step, describe

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
    ("file", "words"),
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
        (changed("relay = true", "relay = true\nclocks = { dave = 1 }"), "clocks: no host is called dave"),
        (GOOD + '\n[[steps]]\ndo = "set_clock"\nhost = "bob"\noffset = 1\n', "write clocks = "),
        (GOOD + '\n[[steps]]\ndo = "partition"\none = ["home"]\nother = ["x"]\n', "is called x"),
        (GOOD + '\n[[steps]]\ndo = "partition"\none = ["home"]\nother = []\n', "other"),
        (GOOD + '\n[[steps]]\ndo = "link"\nsite = "isp"\nlink = "barely"\n', "a plain wire"),
        (GOOD + '\n[[steps]]\ndo = "set_nat"\nsite = "home"\nkind = "cone"\n', "cone"),
        (
            changed("relay = true", "relay = false") + '\n[[steps]]\ndo = "relay"\nstate = "stop"\n',
            "write relay = true",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(file: str, words: str) -> None:
    """With the file's name, the place and the reason."""
    with pytest.raises(LabError, match=words) as caught:
        s.parse_scenario(file, "bad.toml")
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
    file = (
        'title = "x"\nrelay = true\nclocks = { a = 0 }\n[sites.a]\nlink = "barely"\n[sites.b]\n'
        '[[steps]]\ndo = "cut"\nsite = "a"\n[[steps]]\ndo = "heal"\nsite = "a"\n'
        '[[steps]]\ndo = "reboot_nat"\nsite = "a"\n[[steps]]\ndo = "expire_mappings"\nsite = "a"\n'
        '[[steps]]\ndo = "change_wan_address"\nsite = "a"\n'
        '[[steps]]\ndo = "set_nat"\nsite = "a"\nkind = "open"\n'
        '[[steps]]\ndo = "link"\nsite = "a"\nlink = "barely"\n[[steps]]\ndo = "roam"\nhost = "a"\nto = "b"\n'
        '[[steps]]\ndo = "flap"\nhost = "a"\n[[steps]]\ndo = "relay"\nstate = "stop"\n'
        '[[steps]]\ndo = "set_mapping_timeout"\nsite = "a"\nseconds = 20\n'
        '[[steps]]\ndo = "partition"\none = ["a"]\nother = ["b"]\n[[steps]]\ndo = "unite"\n'
        '[[steps]]\ndo = "interface_down"\nhost = "a"\n[[steps]]\ndo = "interface_up"\nhost = "a"\n'
        '[[steps]]\ndo = "kill"\nhost = "a"\n[[steps]]\ndo = "pause"\nhost = "a"\n'
        '[[steps]]\ndo = "resume"\nhost = "a"\n[[steps]]\ndo = "restart"\nhost = "a"\n'
        '[[steps]]\ndo = "set_clock"\nhost = "a"\noffset = 90\n'
        '[[steps]]\ndo = "hang_up"\n[[steps]]\ndo = "wait"\nseconds = 1\n[[steps]]\ndo = "silence"\n'
        '[[steps]]\ndo = "path"\nexpect = "direct"\n[[steps]]\ndo = "sound"\npause = 0.06\n'
        '[[steps]]\ndo = "sound"\npause = 1\nlost = 0\n'
    )
    steps = s.parse_scenario(file, "verbs.toml").steps
    assert {type(step) for step in steps} == set(get_args(Step)) - {CallStep, MediaStep}
    told = [describe(step) for step in steps]
    assert told == [
        "cut a", "heal a", "reboot_nat a", "expire_mappings a", "change_wan_address a", "set_nat a: open",
        "link of a: barely", "a roams to b", "a's interface is off for 0.5 s", "stop the relay",
        "set_mapping_timeout a: 20 s", "partition a from b", "unite", "interface_down a", "interface_up a",
        "kill a", "pause a", "resume a", "restart a", "set_clock a: +90 s", "hang up",
        "wait 1 s", "no media after 5 s", "direct within 5 s", "no pause longer than 0.06 s",
        "no pause longer than 1 s, 0 lost",
    ]  # fmt: skip


def test_results_are_told_in_a_line() -> None:
    """A gap is not a failure, and a failure is not to be overlooked."""
    assert str(StepResult("a calls b", 1.2, detail="direct")) == "ok       1.20 s  a calls b: direct"
    assert str(StepResult("media", 5, gap="not yet")) == "gap      5.00 s  media: known gap: not yet"
    assert str(StepResult("media", 5, "silence")) == "failed   5.00 s  media: silence"


def test_a_page_tells_of_every_step() -> None:
    """What failed and what is a gap is marked, and no word becomes a tag."""
    scenario = s.parse_scenario(changed('title = "A test"', 'title = "<b>"'), "good.toml")
    steps = (StepResult("a calls b", 1.2), StepResult("m", 5, gap="not <yet>"), StepResult("n", 1, "silence"))
    page = html([ScenarioResult(scenario, steps)])
    assert "<h2>&lt;b&gt;</h2>" in page
    assert "known gap: not &lt;yet&gt;" in page
    assert [page.count(f'class="{word}"') for word in ("ok", "gap", "failed")] == [1, 1, 1]
    assert to_json(ScenarioResult(scenario, steps))["ok"] is False
    assert text(ScenarioResult(scenario, steps[:2])) == "ok\t<b> (1 known gap)"
