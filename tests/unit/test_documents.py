"""The documents: what they name is there."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from meshcall.dht import messages

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
LABEL = re.compile(rb"""(?:b"|encode\(')(meshcall/[a-z0-9/-]+)(?:\\0)?["']""")
"""As Python has them, and the page's modules."""


def names_of_tests() -> set[str]:
    """Every test function under tests/."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of a document."""
    targets = [target for target, _ in LINK.findall(document.read_text(encoding="utf-8"))]
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (document.parent / target).exists()] == []


def test_the_threat_model_names_tests_that_exist() -> None:
    """And every defence names one."""
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    table = text.partition("## Defences")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if "`test_" not in row] == []
    assert sorted(set(re.findall(r"`(test_[a-z0-9_]+)`", text)) - names_of_tests()) == []


def test_the_threat_model_names_attacks_with_the_file_of_their_test() -> None:
    """Every row of the attacks names at least one; each is in that file."""
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    section = text.partition("## Attacks by name")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and line != "| attack | test |"]
    assert len(rows) > 35
    assert [row for row in rows if ".py::test_" not in row] == []
    missing = [
        f"{path}::{name}"
        for path, name in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)
        if not re.search(rf"def {name}\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_every_label_of_the_code_is_in_the_protocol() -> None:
    """The table of domains is whole, and lists nothing that is not used."""
    used = {
        label.decode()
        for path in (ROOT / "meshcall").rglob("*.*")
        if path.suffix in (".py", ".js")
        for label in LABEL.findall(path.read_bytes())
    }
    page = (ROOT / "docs" / "protocol" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(meshcall/[a-z0-9/-]+)`", page.partition("## Domains")[2]))
    assert listed == used


def test_every_frame_is_in_the_protocol_with_all_its_fields() -> None:
    """A row for each kind, by number and name, with as many fields as its struct; and no other row."""
    page = (ROOT / "docs" / "protocol" / "dht.md").read_text(encoding="utf-8")
    listed = {
        int(kind): (name, len(re.sub(r"\([^)]*\)", "", fields).split(",")))
        for kind, name, fields in re.findall(r"^\| (\d+) \| (\w+) \| ([^|]*) \|", page, re.MULTILINE)
    }
    made = {}
    for kind in messages.Frame.__args__:
        common = messages.Response if issubclass(kind, messages.Response) else messages.Message
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        made[kind.__struct_config__.tag] = (name, len(kind.__struct_fields__) - len(common.__struct_fields__))
    assert listed == made


def test_every_limit_says_why() -> None:
    """Under each constant of limits.py, or the last of lines that belong together, stands its reason."""
    body = ast.parse((ROOT / "meshcall" / "limits.py").read_bytes()).body
    constants = [(node, after) for node, after in pairwise(body) if isinstance(node, ast.AnnAssign)]
    assert len(constants) > 200
    assert isinstance(body[-1], ast.Expr)
    bare = [
        ast.unparse(node.target)
        for node, after in constants
        if not isinstance(after, ast.Expr)
        and not (isinstance(after, ast.AnnAssign) and after.lineno == node.lineno + 1)
    ]
    assert bare == []


def test_every_address_of_the_api_is_documented() -> None:
    """With its method, and its variable parts in capitals."""
    source = (ROOT / "meshcall" / "control" / "server.py").read_text(encoding="utf-8")
    routes = re.findall(r'\("(GET|POST|PATCH|DELETE)", "(/[^"]*)"', source)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert len(routes) > 20
    for method, path in routes:
        address = re.sub(r"{\w+}", "[A-Z:]+", path)
        assert re.search(rf"`{method} {address}[`\[]", page), f"{method} {path}"


def test_every_page_of_the_protocol_is_listed_and_has_a_status() -> None:
    """The index leads to all of them; each says whether it is in use."""
    folder = ROOT / "docs" / "protocol"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in folder.glob("*.md"):
        head = page.read_text(encoding="utf-8")[:400]
        assert "Status" in head, page.name
        assert "in use" in head, page.name
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
