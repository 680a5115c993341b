"""What no linter checks: sizes, leftovers, clocks in tests, and that the documents name everything."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from core.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "benchmarks", "cli", "core", "sdk", "tests", "workers")
LINES_MAX = 300
LONGER: dict[str, str] = {}  # path: why it may be longer than the rest
LEFTOVER = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "time_ns"}


def python_files(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [path for path in found if not any(part.startswith(".") or part == "build" for part in path.parts)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), name(path))


def test_no_file_is_long():
    lengths = {name(path): len(path.read_text().splitlines()) for path in python_files(*FOLDERS)}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_MAX and path not in LONGER} == {}
    assert [path for path in LONGER if lengths.get(path, 0) <= LINES_MAX] == []


def test_nothing_is_left_for_later():
    assert [name(path) for path in python_files(*FOLDERS) if LEFTOVER.search(path.read_text())] == []


def test_test_files_have_names_of_their_own():
    """They are no packages: pytest imports each by its bare name."""
    names = Counter(path.name for path in python_files("tests") if path.name != "conftest.py")
    assert [path for path, count in names.items() if count > 1] == []


def clocks_of(function: ast.AST) -> set[str]:
    """Return the names that hold a reading of a clock, or something computed from one."""
    held: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and reads_clock(node.value, held):
            held |= {target.id for each in node.targets for target in ast.walk(each) if isinstance(target, ast.Name)}
    return held


def reads_clock(node: ast.AST, held: set[str]) -> bool:
    return any(
        (isinstance(each, ast.Attribute) and each.attr in CLOCKS) or (isinstance(each, ast.Name) and each.id in held)
        for each in ast.walk(node)
    )


def timing_asserts(tree: ast.Module) -> Iterator[int]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test"):
            held = clocks_of(function)
            yield from (
                node.lineno
                for node in ast.walk(function)
                if isinstance(node, ast.Assert) and reads_clock(node.test, held)
            )


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("def test():\n    start = time.perf_counter()\n    took = time.monotonic() - start\n    assert took < 1", [4]),
        ("def test():\n    assert time.perf_counter() < 1", [2]),
        ("def test():\n    deadline = time.monotonic() + 9\n    while time.monotonic() < deadline: pass", []),
    ],
)
def test_a_timing_assert_is_recognised(code, lines):
    assert list(timing_asserts(ast.parse(code))) == lines


def test_no_test_asserts_how_long_something_took():
    found = {name(path): list(timing_asserts(parsed(path))) for path in python_files("tests")}
    assert {path: lines for path, lines in found.items() if lines} == {}


# --- documents ----------------------------------------------------------------------------------------


def test_every_setting_is_in_the_readme_table():
    table = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    settings = [(section, name) for section, field in Settings.model_fields.items() for name in fields_of(field)]
    spelled = {each: re.compile(rf"`(\[{each[0]}\] |{each[0]}\.){each[1]}`") for each in settings}
    assert [each for each in settings if not any(spelled[each].search(line) for line in table)] == []


def fields_of(section: FieldInfo) -> list[str]:
    return list(type(section.default).model_fields)


def error_codes(tree: ast.Module) -> Iterator[str]:
    """Yield every stable code: of an error class, or given where one is raised."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from class_codes(node)
        if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def class_codes(node: ast.ClassDef) -> Iterator[str]:
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        if any(getattr(target, "id", None) == "code" for target in targets) and isinstance(line.value, ast.Constant):
            yield str(line.value.value)


def test_every_error_code_is_documented():
    used = {code for path in python_files("core", "api") for code in error_codes(parsed(path))}
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "errors.md").read_text()))
    assert used - documented == set()
    assert {"invalid_input", "integrity", "wrong_key", "cache_full"} <= used  # the search above finds them
