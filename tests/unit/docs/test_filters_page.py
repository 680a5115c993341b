import json
import re

import pytest
from docpages import read, table_rows

from core import limits
from core.search.filters import parse_filter
from core.shards.attributes import AttributeRow, Attributes

PAGE = "docs/filters.md"
[METADATA] = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", read(PAGE), re.MULTILINE | re.DOTALL)]
EXAMPLES = [(cells[0].strip("`"), cells[1]) for cells in table_rows(read(PAGE)) if cells[0].startswith("`{")]
ROW = AttributeRow(1, 0, None, None, None, None, [], None, METADATA)


@pytest.mark.parametrize(("text", "holds"), EXAMPLES)
def test_each_example_is_true(text, holds):
    [found] = parse_filter(json.loads(text)).mask(Attributes.of([ROW]))
    assert holds in {"yes", "no"}
    assert bool(found) == (holds == "yes")


def test_every_operator_has_an_example():
    operators = re.search(r"operator\s+:= (.*)", read(PAGE))
    assert operators
    shown = " ".join(text for text, _ in EXAMPLES)
    missing = [name for name in operators[1].split() if f'"{name}"' not in shown]
    assert missing == ["eq", "lte"]  # eq is what a plain value means


def test_the_limits_are_those_of_the_code():
    section = read(PAGE).partition("## Limits")[2]
    for limit in (
        f"{limits.FILTER_DEPTH_MAX} levels",
        f"{limits.FILTER_LIST_MAX:,} values",
        f"{limits.FILTER_NODES_MAX} parts",
    ):
        assert limit in section
