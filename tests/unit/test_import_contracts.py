"""The import contracts hold, and each notices a violation (a contract that matches nothing is quiet)."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / ".importlinter"
SHELLS = {"aio", "cli", "control", "testing", "web"}
"""Packages that may touch the world; every other one is pure."""

PREFIX = "importlinter:contract:"


def read_contracts() -> dict[str, configparser.SectionProxy]:
    """Each contract by its short name."""
    parser = configparser.ConfigParser()
    parser.read(CONFIG)
    return {name.removeprefix(PREFIX): parser[name] for name in parser.sections() if name.startswith(PREFIX)}


def words(section: configparser.SectionProxy, key: str) -> list[str]:
    """The entries of a list in the configuration."""
    return section[key].split()


def lint(folder: Path) -> tuple[int, str]:
    """Exit status and output of lint-imports in ``folder``."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def pure_packages() -> set[str]:
    """The packages that the contract calls pure."""
    return {name.removeprefix("meshcall.") for name in words(read_contracts()["pure"], "source_modules")}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and of the contracts."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "meshcall", tmp_path / "meshcall", ignore=ignored)
    shutil.copy(CONFIG, tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    """The package as it is breaks none."""
    status, output = lint(ROOT)
    assert status == 0, output
    assert f"Contracts: {len(read_contracts())} kept, 0 broken." in output


def test_every_package_is_pure_or_a_shell() -> None:
    """A new package can't slip past the contracts."""
    packages = {path.parent.name for path in (ROOT / "meshcall").glob("*/__init__.py")}
    assert packages - SHELLS == pure_packages()


def test_every_contract_notices_a_violation(copy: Path) -> None:
    """One planted module per contract, and each is named in the report of its contract."""
    plants = {
        "layers": ("identity", "meshcall.dht"),
        "kademlia": ("call", "kademlia.node"),
        "cryptography": ("record", "cryptography.hazmat.primitives.asymmetric.ed25519"),
        "media": ("control", "aiortc.mediastreams"),
        "mdns": ("control", "zeroconf.asyncio"),
        "mainline": ("aio", "libtorrent"),
        "http": ("aio", "aiohttp.web"),
        "metrics": ("aio", "prometheus_client.core"),
        "terminal": ("control", "typer"),
        "instant": ("cli", "asyncio"),
        "lab": ("aio", "netsim.lab"),
    }
    contracts = read_contracts()
    assert set(plants) | {"pure"} == set(contracts)
    for contract, (package, module) in plants.items():
        path = copy / "meshcall" / package / f"planted_{contract}.py"
        path.write_text(f"def late() -> None:\n    import {module}\n")
    status, output = lint(copy)
    assert status != 0
    report = output.partition("Broken contracts")[2]
    for contract, (package, module) in plants.items():
        name = contracts[contract]["name"]
        section = re.split(rf"^{re.escape(name)}\n-+$", report, flags=re.M)[1]
        section = re.split(r"^.+\n-{3,}$", section, flags=re.M)[0]
        imported = module if module.startswith("meshcall.") else module.partition(".")[0]
        assert f"meshcall.{package}.planted_{contract} -> {imported}" in section, (contract, section)


def test_every_forbidden_module_is_noticed_in_every_pure_package(copy: Path) -> None:
    """Modules of the standard library are matched too, and also where they come by way of another module."""
    forbidden = words(read_contracts()["pure"], "forbidden_modules")
    for package in pure_packages():
        path = copy / "meshcall" / package / "planted.py"
        path.write_text("".join(f"from {module} import anything\n" for module in forbidden))
    (copy / "meshcall" / "planted_outside.py").write_text("import asyncio.events\n")
    (copy / "meshcall" / "call" / "planted_indirect.py").write_text("import meshcall.planted_outside\n")
    status, output = lint(copy)
    assert status != 0
    for package in pure_packages():
        for module in forbidden:
            assert f"meshcall.{package}.planted -> {module} " in output, (package, module)
    assert "meshcall.call.planted_indirect -> meshcall.planted_outside" in output
