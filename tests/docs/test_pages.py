"""What holds for every page: its blocks are tested, its links lead somewhere, it has no secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .page import ROOT, blocks

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pages whose examples have tests of their own here.
TESTED = {
    "README.md",
    "audit.md",
    "bulk.md",
    "emulator.md",
    "errors.md",
    "history.md",
    "hooks.md",
    "limits.md",
    "services.md",
}
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def test_every_page_with_python_is_tested() -> None:
    assert {path.name for path in PAGES if blocks(path)} == TESTED


@each_page
def test_fences_are_of_a_kind_that_the_runner_knows(path: Path) -> None:
    opened = re.findall(r"^\s*(?:```|~~~)(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    languages = ("python", "text", "sh")
    assert len(opened) == 2 * sum(len(blocks(path, language)) for language in languages)


@each_page
def test_links_lead_to_a_file_and_its_heading(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name) if name else path
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), target


def headings(path: Path) -> set[str]:
    """The anchors of a page, made as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
