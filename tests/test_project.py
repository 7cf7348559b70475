"""What keeps the repository itself in order."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

PACKAGE = ROOT / "src" / "triptych"

ORDER = """
errors threads files options strict colours signatures tiff depth decode
reading_settings masks class_table prediction keymap images
nn backbones decoders models weights
readouts render windows engines segmenter metrics
inputs results predict samples convert export bench
stream films dashboard demo
data evaluation train
listing terminal cli commands __main__ __init__
"""
"""Parts of the package; each imports only from those before it."""
LAYERS = ORDER.split()


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
            if heading:
                text = linked.read_text(encoding="utf-8")
                titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
                slugs = [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]
                assert heading in slugs, f"{page.name} links to {target}"


def parts_imported_by(file: Path) -> set[str]:
    """Parts of the package that a module imports when it is loaded."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("triptych."):
            names.add(str(node.module).split(".")[1])
    return names


def test_imports_run_in_one_direction() -> None:
    checked = 0
    for file in sorted(PACKAGE.rglob("*.py")):
        part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert part in LAYERS, f"{part} has no place in LAYERS"
        allowed = LAYERS[: LAYERS.index(part) + 1]
        for name in parts_imported_by(file):
            assert name in allowed, f"{file.relative_to(ROOT)} imports from {name}, a later layer"
            checked += 1
    assert checked > 100
