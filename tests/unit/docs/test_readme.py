import ast
import inspect
import re

import pytest
from docpages import read, rows_named
from ostraka import Ostraka
from pydantic import BaseModel

from core.settings import ENV_OUTSIDE_SETTINGS, ENV_PREFIX, Settings


def shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    if default == "":
        return "empty"
    if isinstance(default, BaseModel):  # a table within the table
        return "`{}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def every_setting() -> dict[str, list[str]]:
    return {
        f"[{section}] {name}": [shown(field.default), field.description or ""]
        for section, of in Settings.model_fields.items()
        for name, field in type(of.default).model_fields.items()
    }


def test_the_settings_table_is_the_settings():
    assert rows_named(read("README.md"), r"\[.*\] .*") == every_setting()


def test_every_variable_named_is_read():
    known = {f"{ENV_PREFIX}{name[1:].replace('] ', '__')}".upper() for name in every_setting()} | ENV_OUTSIDE_SETTINGS
    assert set(re.findall(r"OSTRAKA_[A-Z_]+[A-Z]", read("README.md"))) <= known
    assert set(rows_named(read("README.md"), "OSTRAKA_.*")) <= ENV_OUTSIDE_SETTINGS


def test_the_python_example_fits_the_client():
    [example] = re.findall(r"^```python\n(.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)]
    methods = [(call.func.attr, call) for call in calls if isinstance(call.func, ast.Attribute)]
    assert {name for name, _ in methods} == {"add", "search"}
    for name, call in methods:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        method = getattr(Ostraka, name)
        inspect.signature(method).bind(None, *arguments, **named)


@pytest.mark.parametrize("promised", ["make serve", "make test", "make demo"])
def test_the_commands_come_first(promised):
    assert promised in read("README.md").partition("## Who may call")[0]
