"""The seam to tracing: spans by name, with ids, counts and times in them and nothing else. Here: none at all."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Final

from core.errors import ConfigurationError
from core.settings import Telemetry

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


def trace_named(tracer: Tracer) -> dict[str, str]:
    """Return the id of the present trace as logs name it; nothing where there is none."""
    place = tracer.current()
    return {"trace_id": place.split("-")[1]} if place else {}


def open_tracer(telemetry: Telemetry, service: str) -> Tracer:
    """Return what the settings ask for; ``service`` names the process in traces. Raises ``ConfigurationError``."""
    if not telemetry.otlp_endpoint:
        return Tracer()
    try:
        from core.observing.otlp import OtlpTracer  # noqa: PLC0415 - an extra, and no small one
    except ModuleNotFoundError:
        raise ConfigurationError(
            "[telemetry] otlp_endpoint: OpenTelemetry is not installed; install the extra `otel`, or unset it"
        ) from None
    return OtlpTracer(telemetry.otlp_endpoint, service, version("ostraka-server"), telemetry.sample_ratio)
