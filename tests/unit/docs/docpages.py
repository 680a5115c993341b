"""Reading the documentation as data: pages, tables, code."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted(page for folder in ("", "docs/**/", "compose/", "k8s/") for page in ROOT.glob(f"{folder}*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def read(name: str) -> str:
    return (ROOT / name).read_text()


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every table row of a text; headings and rules are rows like any other."""
    lines = [line.strip() for line in text.splitlines()]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines if line.startswith("|")
    ]


def rows_named(text: str, pattern: str) -> dict[str, list[str]]:
    """Return the table rows whose first cell is code that matches, by that code."""
    found = {}
    for cells in table_rows(text):
        match = re.fullmatch(rf"`({pattern})`", cells[0])
        if match:
            assert match[1] not in found, f"{match[1]} is described twice"
            found[match[1]] = cells[1:]
    return found


def code_of(name: str) -> list[str]:
    """Return a page's code: fenced lines and spans."""
    text = read(name)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*(line for block in fenced for line in block.splitlines()), *spans]
