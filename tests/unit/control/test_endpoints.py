"""The API's table, its routes, its description and its documentation say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from meshcall.control.endpoints import ENDPOINTS
from meshcall.control.models import API_PREFIX
from meshcall.control.openapi import make_openapi
from meshcall.control.server import ControlServer
from meshcall.paths import HomePaths

from .fake_node import FakeNode

DOCS = Path(__file__).parents[3] / "docs" / "api.md"


def routes(tmp_path: Path) -> set[tuple[str, str]]:
    """What the server answers, without what stands outside of the prefix."""
    server = ControlServer(FakeNode.__new__(FakeNode), HomePaths(tmp_path))
    return {
        (route.method, route.path.removeprefix(API_PREFIX))
        for route in server.routes()
        if route.path.startswith(API_PREFIX)
    }


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    """And no other."""
    assert routes(tmp_path) == {(one.method, one.path) for one in ENDPOINTS}


def test_every_address_is_documented() -> None:
    """By its path, with its variables in capitals."""
    text = DOCS.read_text()
    for one in ENDPOINTS:
        path = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), one.path)
        assert f"{one.method} {path}".replace("/ADDRESS", "/HOST:PORT") in text, one


def references(value: Any) -> set[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        found = {value["$ref"]} if "$ref" in value else set()
        return found.union(*(references(one) for one in value.values()), set())
    if isinstance(value, list):
        return set().union(*(references(one) for one in value), set())
    return set()


def test_the_description_is_whole() -> None:
    """References lead somewhere, operations have names of their own, variables are described."""
    document = make_openapi()
    components = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= components
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) == len(ENDPOINTS)
    for path, methods in document["paths"].items():
        for one in methods.values():
            named = {p["name"] for p in one["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert "500" in one["responses"]
