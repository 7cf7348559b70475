"""Links from the documentation to lines of the code: put in the line where each name stands now.

    python tools/renew_links.py            # rewrites them
    python tools/renew_links.py --check    # tells which are old, and exits with 1

A link is [`name`](../src/triptych/file.py#L1): a function, a class, or a method as `Class.method`.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[`(?P<name>[\w.]+)`\]\((?P<file>[^)#\s]+\.py)#L(?P<line>\d+)\)")


def line_of(file: Path, name: str) -> int:
    """The line on which a name is defined.

    Raises:
        LookupError: the file has no such name.
    """
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    line = 0
    for part in name.split("."):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part:
                line, body = node.lineno, node.body
                break
        else:
            raise LookupError(f"{file} has no {name}")
    return line


def renewed(page: Path) -> str:
    """The text of a page with today's lines."""

    def put(link: re.Match[str]) -> str:
        name, file = link["name"], link["file"]
        return f"[`{name}`]({file}#L{line_of(page.parent / file, name)})"

    return LINK.sub(put, page.read_text(encoding="utf-8"))


def pages() -> list[Path]:
    """All pages of the documentation."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def main() -> int:
    """Rewrite the pages, or only look."""
    old = [page for page in pages() if renewed(page) != page.read_text(encoding="utf-8")]
    for page in old:
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(renewed(page), encoding="utf-8")
    return int(bool(old) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
