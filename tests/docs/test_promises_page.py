"""docs/promises.md: every promise, test and sabotage is there, and none that does not exist."""

from __future__ import annotations

import re

from .page import ROOT

TEXT = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \*\*(.+?)\.\*\* .*? \| (.+?) \| (.+?) \| (.*?) ?\|$", TEXT, re.MULTILINE)


def test_every_promise_has_a_row_with_a_test() -> None:
    assert len(ROWS) == TEXT.count("\n| **") > 0
    assert all(re.search(r"\(\.\./tests/\S+\.py\)", tests) for _, tests, _, _ in ROWS)


def test_every_test_of_a_promise_is_on_the_page() -> None:
    names = {path.name for path in (ROOT / "tests" / "promises").glob("test_*.py")}
    assert {name for name in names if f"(../tests/promises/{name})" not in TEXT} == set()


def test_every_sabotage_stands_beside_the_test_that_must_notice_it() -> None:
    named = {}
    for _, tests, sabotage, _ in ROWS:
        named |= dict.fromkeys(re.findall(r"`([\w-]+)`", sabotage), tests)
    patches = {path.stem: path for path in (ROOT / "tests" / "sabotage").glob("*.patch")}
    assert set(named) == set(patches)
    for name, path in patches.items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        test = first.removeprefix("#").strip().partition("::")[0]
        assert f"(../{test})" in named[name], name
