"""Showing a run: a table for people, JSON for everything else."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Results
from benchmarks.targets import target_of

_PRINTED_COLUMNS: Final = 140  # where nobody's terminal sets the width


def write_json(path: Path, results: Results, described: Mapping[str, Any]) -> None:
    """Write everything there is to know about a run."""
    body = {
        **described,
        "texts": results.texts,
        "sections_s": results.sections_s,
        "figures": [figure.as_json() for figure in results.figures],
        "series": results.series,
    }
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def print_table(results: Results) -> None:
    """Print the figures, part by part, each beside its target."""
    table = Table("part", "memories", "figure", "value", "least … greatest", "n", "target", "")
    for column in (1, 3, 4, 5):
        table.columns[column].justify = "right"
    ordered = sorted(results.figures, key=lambda figure: (figure.part, figure.memories or 0))
    for _, group in groupby(ordered, key=lambda figure: (figure.part, figure.memories)):
        for index, figure in enumerate(group):
            table.add_row(*_row(figure, first=index == 0))
        table.add_section()
    console = Console()
    (console if console.is_terminal else Console(width=_PRINTED_COLUMNS)).print(table)


def _row(figure: Figure, *, first: bool) -> list[str]:
    target = target_of(figure.part, figure.name)
    met = target.judge(figure.value, figure.memories) if target else None
    verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: "[dim]another size[/]" if target else ""}[met]
    size = f"{figure.memories:,}" if figure.memories else ""
    limits = "" if figure.low is None or figure.high is None else f"{written(figure.low)} … {written(figure.high)}"
    return [
        figure.part if first else "",
        size if first else "",
        figure.name,
        f"{written(figure.value)} {figure.unit}".rstrip(),
        limits,
        str(figure.samples) if figure.samples > 1 else "",
        str(target) if target else "",
        verdict,
    ]


def written(value: float) -> str:
    """Return a number with about three significant digits, never in powers of ten."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.3f}"
