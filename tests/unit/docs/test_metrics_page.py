import ast

from docpages import ROOT, read, rows_named
from prometheus_client import CollectorRegistry, ProcessCollector

KINDS = ("Counter", "Gauge", "Histogram", "MetricFamily")


def exposed_names() -> set[str]:
    names = set()
    for source in (path for folder in ("api", "core", "workers") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                kind, name = getattr(node.func, "id", ""), node.args[0].value
                if kind.endswith(KINDS) and isinstance(name, str) and name.startswith("ostraka_"):
                    counter = kind.startswith("Counter") and not name.endswith("_total")
                    names.add(f"{name}_total" if counter else name)
    return names


def test_every_metric_is_described_and_no_other():
    assert exposed_names()
    assert set(rows_named(read("docs/metrics.md"), r"ostraka_\w+")) == exposed_names()


def test_what_the_library_shows_of_the_process_is_described():
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    shown = {sample.name for family in registry.collect() for sample in family.samples}
    assert set(rows_named(read("docs/metrics.md"), r"process_\w+")) == shown
