"""Making a client's method look like what it does, to readers, ``help()`` and editors that run code."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any


def describe_method(method: Callable[..., Any], plan: Callable[..., Any]) -> None:
    """Give ``method`` the name, the words and the parameters of ``plan``, and the result its plan ends with."""
    functools.update_wrapper(method, plan)
    signature = inspect.signature(plan)
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    result = typing.get_args(signature.return_annotation)[-1]
    parameters = [client, *signature.parameters.values()]
    typing.cast("Any", method).__signature__ = signature.replace(parameters=parameters, return_annotation=result)
