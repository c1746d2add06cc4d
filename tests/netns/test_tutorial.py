"""What the lab's documentation shows works as it is shown."""

from __future__ import annotations

import dataclasses
import re
import sys
import tomllib
from typing import get_args

import msgspec
import pytest

from netsim import nat, verify
from netsim.lab import ROOT, Lab
from netsim.link import LADDER, LinkConditions
from netsim.nat import NAT
from netsim.scenario import SCENARIOS, load_scenario, parse_scenario
from netsim.scenario_run import run_scenario
from netsim.topology import parse_topology
from netsim.verbs import Expectation, Step

TEXT = (ROOT / "docs/netsim.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


PROGRAMS = [block for block in blocks("python") if "asyncio.run(main())" in block]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
async def test_the_examples_run(lab: Lab, number: int) -> None:
    """Each program that is whole ends well and prints something."""
    program = ["-c", PROGRAMS[number]]
    done = await lab.sandbox.run([sys.executable, *program], env={"PYTHONPATH": str(ROOT)}, cwd=ROOT)
    assert done.check().stdout


async def test_the_network_from_toml_is_built(lab: Lab) -> None:
    """The phone of the example has two interfaces, and is at home behind the carrier."""
    (text,) = [block for block in blocks("toml") if "[sites.home]" in block and "[[steps]]" not in block]
    await lab.build(parse_topology(tomllib.loads(text)))
    assert [item.network for item in lab.host("phone").attachments] == ["home", "mobile"]
    assert lab.sites["home"].public_ipv4 == lab.sites["isp"].wan4
    assert set(lab.lans["hut"].hosts) == {"carol", "dave"}


async def test_the_scenario_of_the_example_goes_as_it_says() -> None:
    """The file is whole, short, and its steps are as expected."""
    (text,) = [block for block in blocks("toml") if "[[steps]]" in block]
    assert len([line for line in text.splitlines() if line]) <= 20
    result = await run_scenario(parse_scenario(text, "example.toml"), print)
    assert [str(step) for step in result.steps if step.problem] == []


def test_every_verb_and_every_link_is_told() -> None:
    """The reference names each verb with its fields, each condition and each rung of the ladder."""
    rows = TEXT.split("| `do` | with |")[1].split("\n\n")[0].splitlines()
    for step in get_args(Step):
        (row,) = [row for row in rows if f"`{tag(step)}`" in row.split(" | ")[0]]
        fields = [field.encode_name for field in msgspec.structs.fields(step)]
        assert [name for name in fields if f"`{name}`" not in row] == [], tag(step)
    for name, link in LADDER.items():
        assert f"| `{name}` | {2 * link.delay_ms:g} ms | {link.rate_mbit:g} | {100 * link.loss:g} % |" in TEXT
    assert all(f"`{item.name}`" in TEXT for item in dataclasses.fields(LinkConditions))


def test_every_scenario_is_told() -> None:
    """Each file that comes with the lab has a row, with its gap if it has one."""
    for path in SCENARIOS.glob("*.toml"):
        (row,) = [row for row in TEXT.splitlines() if row.startswith(f"| `{path.stem}` |")]
        gaps = {step.gap for step in load_scenario(path).steps if isinstance(step, Expectation) and step.gap}
        assert all(gap in row for gap in gaps), path.stem


def tag(step: type) -> str:
    """A verb as the file writes it."""
    return str(step.__struct_config__.tag)  # type: ignore[attr-defined]


async def test_the_new_kind_of_the_example_is_proved(lab: Lab) -> None:
    """The one line that adds a kind is all that it takes."""
    (block,) = [block for block in blocks("python") if block.startswith("# netsim/nat.py, in PRESETS")]
    kinds = eval("{" + block + "}", vars(nat))
    assert isinstance(kinds["cheap_router"], NAT)
    (proof,) = await verify.prove_all(lab, kinds)
    assert proof.holds, proof
