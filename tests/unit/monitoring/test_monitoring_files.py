"""compose/monitoring: what Prometheus' own tool says of it, and that every name in it is one that we show."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import program

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "compose" / "monitoring"
HISTOGRAMS = re.compile(r"^\| `(ostraka_\w+)` \| histogram", re.MULTILINE)
METRICS = re.compile(r"^\| `(\w+)` \| (?:gauge|counter|histogram)", re.MULTILINE)
THEIRS = {"up"}  # what Prometheus makes itself
# A name that no label, function or keyword can be: labels stand in braces or behind by, on and without.
IN_BRACES = re.compile(r"\{[^}]*\}|\"[^\"]*\"|\[[^\]]*\]|\b(?:by|on|without) \([^)]*\)")
WORD = re.compile(r"\b[a-z_]+[a-z]\b(?!\s*\()")
KEYWORDS = {"and", "or", "unless", "by", "on", "without", "bool"}


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def documented() -> set[str]:
    page = (ROOT / "docs" / "metrics.md").read_text()
    histograms = set(HISTOGRAMS.findall(page))
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    return (set(METRICS.findall(page)) - histograms) | parts | THEIRS


def names_in(expression: str) -> set[str]:
    return set(WORD.findall(IN_BRACES.sub(" ", expression))) - KEYWORDS


def loaded(name: str) -> Any:
    return yaml.safe_load((MONITORING / name).read_text())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in loaded("rules.yml")["groups"] for rule in group["rules"]]


def dashboard_panels() -> Iterator[dict[str, Any]]:
    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "ostraka.json").read_text())
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('max by (queue) (ostraka_a{queue="x"}) > 60', {"ostraka_a"}),
        (
            'sum(rate(ostraka_a_count{status="5xx"}[5m])) / on () ostraka_b or vector(0)',
            {"ostraka_a_count", "ostraka_b"},
        ),
        ("histogram_quantile(0.9, sum by (le) (rate(unknown_bucket[5m])))", {"unknown_bucket"}),
    ],
)
def test_names_are_found_in_expressions(expression, names):
    assert names_in(expression) == names


def test_prometheus_accepts_its_configuration():
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    assert loaded("prometheus.yml")["rule_files"] == ["rules.yml"]


def test_prometheus_accepts_the_rules():
    promtool("check", "rules", "rules.yml")


def test_each_alert_fires_when_it_should_and_alone():
    promtool("test", "rules", "rules.test.yml")


def test_no_alert_is_without_a_test_of_its_firing():
    tested = set(re.findall(r'alertname="(\w+)"', (MONITORING / "rules.test.yml").read_text()))
    assert {alert["alert"] for alert in alerts()} == tested


def test_each_alert_says_how_bad_it_is_and_what_to_do():
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert set(alert["annotations"]) == {"summary", "action"}


def test_each_metric_of_an_alert_is_one_that_we_show():
    used = {name for alert in alerts() for name in names_in(alert["expr"])}
    assert used - documented() == set()
    assert "ostraka_queue_oldest_age_seconds" in used


def test_each_metric_of_a_panel_is_one_that_we_show():
    for panel in dashboard_panels():
        used = {name for target in panel["targets"] for name in names_in(target["expr"])}
        assert used, panel["title"]
        assert used - documented() == set(), panel["title"]


def test_the_dashboard_shows_almost_everything():
    """But for what only says when a process began, or is a company's own."""
    shown = {name for panel in dashboard_panels() for target in panel["targets"] for name in names_in(target["expr"])}
    stages = {"ostraka_stage_duration_seconds_bucket", "ostraka_batch_fill_ratio_sum", "ostraka_embedded_total"}
    state = {"ostraka_queue_rows", "ostraka_queue_oldest_age_seconds", "ostraka_fleet_shards", "ostraka_generation_lag"}
    assert stages | state <= shown


def test_every_panel_can_be_told_apart_and_asks_the_provisioned_source():
    [source] = loaded("grafana/datasources/prometheus.yml")["datasources"]
    panels = list(dashboard_panels())
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {source["uid"]}


def test_each_expression_of_the_dashboard_is_valid(tmp_path):
    """As rules, because that is what the tool reads; Grafana's interval stands for minutes."""
    expressions = [target["expr"] for panel in dashboard_panels() for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions)
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "panels.yml"))


def test_the_jobs_that_the_rules_look_at_have_one_name_in_compose_and_kubernetes():
    asked = {job["job_name"] for job in loaded("prometheus.yml")["scrape_configs"]} - {"prometheus"}
    monitors = list(yaml.safe_load_all((ROOT / "k8s" / "components" / "metrics" / "monitors.yaml").read_text()))
    endpoints = [
        endpoint
        for monitor in monitors
        for endpoint in monitor["spec"].get("endpoints", monitor["spec"].get("podMetricsEndpoints"))
    ]
    named = {
        rule["replacement"]
        for endpoint in endpoints
        for rule in endpoint["relabelings"]
        if rule["targetLabel"] == "job"
    }
    assert named == asked == {"ostraka-api", "ostraka-worker"}
