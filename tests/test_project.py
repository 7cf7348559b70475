"""What keeps the repository itself in order."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

PACKAGE = ROOT / "src" / "triptych"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(
        (canonical(name), pin)
        for name, pin in (line.split("==") for line in lines if not line.startswith("#"))
    )


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        named += extra
    names = {canonical(re.split(r"[\[<>=~! ]", line)[0]) for line in named} - {"triptych"}
    assert len(names) > 10
    assert names <= pins().keys()


def test_the_tests_run_with_the_pinned_torch() -> None:
    assert version("torch").partition("+")[0] == pins()["torch"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            file, _, heading = target.partition("#")
            linked = page.parent / file if file else page
            assert linked.exists(), f"{page.name} links to {target}"
            if heading and linked.suffix == ".md":
                text = linked.read_text(encoding="utf-8")
                titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
                slugs = [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]
                assert heading in slugs, f"{page.name} links to {target}"
