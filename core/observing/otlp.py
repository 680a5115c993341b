"""Spans sent as OTLP over HTTP. The only module that imports OpenTelemetry's SDK; loaded where an endpoint is set."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.errors import kind_of
from core.observing.tracing import Tracer, Value

_SEND_S: Final = 3.0  # a collector that is away must not hold a stop up
_EVERY_MS: Final = 1_000.0
_W3C: Final = TraceContextTextMapPropagator()
_FIELD: Final = "traceparent"


class OtlpTracer(Tracer):
    """Makes spans and sends them in the background; what a collector does not take in time is dropped."""

    def __init__(self, endpoint: str, service: str, version: str, sample_ratio: float) -> None:
        """``sample_ratio`` of traces are sent; one that a caller began goes on as the caller decided."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_SEND_S)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource({"service.name": service, "service.version": version}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MS))
        self._tracer = self._provider.get_tracer("ostraka", version)

    @contextmanager
    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **attributes: Value
    ) -> Iterator[None]:
        """Make a block a span. One that fails is marked with the kind of its error: a message may carry content."""
        with self._tracer.start_as_current_span(
            name,
            context=_place(parent) if parent else None,
            links=[trace.Link(trace.get_current_span(_place(link)).get_span_context()) for link in links],
            attributes=_named(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR, kind_of(error))
                raise

    def current(self) -> str | None:
        """Return the place of the present span, if there is one."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_FIELD)

    def note(self, **attributes: Value) -> None:
        """Add to the present span what is known only now."""
        trace.get_current_span().set_attributes(_named(attributes))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _place(traceparent: str) -> Context:
    return _W3C.extract({_FIELD: traceparent}, Context())


def _named(attributes: dict[str, Value]) -> dict[str, Value]:
    return {f"ostraka.{name}": value for name, value in attributes.items()}
