"""Every problem code of the source is on the page, with the status it really has."""

import ast
from collections.abc import Iterator

from docpages import ROOT, read, rows_named

from api.problems import STATUS
from core import errors
from core.pipeline import building, embedding
from core.pipeline.readiness import Facts, judge

ANSWERS, REST = read("docs/errors.md").split("## Reasons inside answers")
REASONS, HEALTH = REST.split("## Health")
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OstrakaError)]


def given_codes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands where a code is given: `code=…`, `code = …`, the second argument of `problem`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            yield from node.args[1:2] if getattr(node.func, "id", "") == "problem" else ()
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
            yield node.value


def literals(node: ast.AST) -> Iterator[str]:
    """Yield the texts an expression may have as its value."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=otherwise):
            yield from [*literals(body), *literals(otherwise)]
        case ast.Call(func=ast.Attribute(value=ast.Dict(values=values)), args=[_, default]):
            yield from (text for each in [*values, default] for text in literals(each))


def raised_codes() -> set[str]:
    trees = [ast.parse(path.read_text()) for folder in ("api", "core") for path in (ROOT / folder).rglob("*.py")]
    return {code for tree in trees for node in given_codes(tree) for code in literals(node)}


def test_every_code_is_described_and_no_other():
    assert set(rows_named(ANSWERS, r"\w+")) == raised_codes() | {kind.code for kind in ERRORS}


def test_the_statuses_are_those_of_the_table():
    described = rows_named(ANSWERS, r"\w+")
    for kind in ERRORS:
        status = next(status for of, status in STATUS if issubclass(kind, of))
        assert described[kind.code][0] == str(status), kind.code


def test_every_reason_of_a_failed_memory_is_described():
    reasons = {embedding.BROKEN, embedding.EXHAUSTED, embedding.POISON, building.UNINDEXABLE}
    assert set(rows_named(REASONS, r"\w+")) == reasons


def test_every_reason_of_health_is_described():
    wrong = {"store_answers": False, "keys_fit": False, "blobs_answer": False, "frozen": True}
    worst = Facts(**wrong, still_s={"embed": 2.0}, quarantined=1, imbalance=1)
    reasons = judge(worst, redis_answers=False, stalled_s=1, free_bytes_min=1)
    described = {code: cells[0] for code, cells in rows_named(HEALTH, r"\w+").items()}
    assert described == {reason.code: "unready" if reason.unready else "degraded" for reason in reasons}
