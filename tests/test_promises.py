"""The list of promises names tests that exist."""

import ast
import re

from helpers import ROOT


def test_every_promise_names_its_tests():
    """Files and functions of docs/promises.md."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "promises.md").read_text("utf-8"))
    assert len(named) > 40
    for path, name in named:
        assert (ROOT / path).is_file(), path
        tests = {node.name for node in ast.parse((ROOT / path).read_text("utf-8")).body if hasattr(node, "name")}
        assert name in tests, f"{path}::{name}"
