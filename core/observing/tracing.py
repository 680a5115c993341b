"""The seam to tracing: spans by name, with ids, counts and times in them and nothing else. Here: none at all."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

Value = str | int | float

_NO_SPAN: Final = nullcontext()


class Tracer:
    """Makes no spans, at no cost: what a process has that was not told where to send them.

    A place in a trace is named as the W3C does it (``traceparent``), so that it travels in a header.
    """

    def span(
        self,
        name: str,  # noqa: ARG002 - told to those that make spans, as all the rest
        *,
        parent: str | None = None,  # noqa: ARG002
        links: Sequence[str] = (),  # noqa: ARG002
        **attributes: Value,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Make a block a span: below ``parent``, or else below the present one; ``links`` are others it works for."""
        return _NO_SPAN

    def current(self) -> str | None:
        """Return the place of the present span, if there is one."""
        return None

    def note(self, **attributes: Value) -> None:
        """Add to the present span what is known only now."""

    def close(self) -> None:
        """Send what is left."""
