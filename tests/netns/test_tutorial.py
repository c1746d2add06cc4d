"""What the lab's documentation shows works as it is shown."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest

from netsim import nat, verify
from netsim.lab import ROOT, Lab
from netsim.nat import NAT
from netsim.topology import parse_topology

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
    (text,) = [block for block in blocks("toml") if "[sites.home]" in block]
    await lab.build(parse_topology(tomllib.loads(text)))
    assert [item.network for item in lab.host("phone").attachments] == ["home", "mobile"]
    assert lab.sites["home"].public_ipv4 == lab.sites["isp"].wan4


async def test_the_new_kind_of_the_example_is_proved(lab: Lab) -> None:
    """The one line that adds a kind is all that it takes."""
    (block,) = [block for block in blocks("python") if block.startswith("# netsim/nat.py, in PRESETS")]
    kinds = eval("{" + block + "}", vars(nat))
    assert isinstance(kinds["cheap_router"], NAT)
    (proof,) = await verify.prove_all(lab, kinds)
    assert proof.holds, proof
