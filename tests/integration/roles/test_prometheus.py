"""The recipe for Prometheus, carried out by the real one: every role is read, every rule holds, a dead worker shows."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.processes import END_S, eventually, free_port
from tests.integration.roles.fleet import Fleet, indexed, note
from tests.programs import environment_of, program

MONITORING = Path(__file__).parents[3] / "compose" / "monitoring"


class Prometheus:
    """A server on the recipe's own files, but for addresses, and asking once a second."""

    def __init__(self, folder: Path, targets: dict[str, list[str]], key: str) -> None:
        folder.mkdir()
        (folder / "key").write_text(key)
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
        jobs = {job["job_name"]: job for job in config["scrape_configs"]}
        jobs["ostraka-api"]["authorization"]["credentials_file"] = str(folder / "key")
        for name, addresses in targets.items():
            del jobs[name]["dns_sd_configs"]
            jobs[name]["static_configs"] = [{"targets": addresses}]
        config["scrape_configs"] = [jobs[name] for name in targets]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
        for rule in (rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == "OstrakaDown"):
            rule["for"] = "0s"
        (folder / "rules.yml").write_text(yaml.safe_dump(rules))
        port, found = free_port(), program("prometheus")
        command = [found, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment_of(found), stdout=log, stderr=log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30)

    def get(self, path: str, **parameters: str) -> Any:
        """Return an answer's data, nothing while it starts."""
        try:
            answer = self.client.get(path, params=parameters)
        except httpx.TransportError:
            return None
        return answer.json()["data"] if answer.status_code == 200 else None

    def value(self, expression: str) -> float | None:
        """Return the only value of an expression, if there is one."""
        result = (self.get("/query", query=expression) or {"result": []})["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def discard(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(END_S)


@pytest.fixture
def watched(fleet: Fleet, tmp_path: Path) -> Iterator[tuple[Fleet, Prometheus, httpx.Client]]:
    api, worker = fleet.begin("api", "--port", "0"), fleet.begin("worker")
    scheduler = fleet.begin("scheduler")
    clients = [fleet.client_of(member) for member in (api, worker, scheduler)]
    making = fleet.begin("keys", "create", "--scope", "read,write,admin")
    assert making.wait() == 0
    key = next(line for line in making.log.read_text().splitlines() if line.startswith("ostraka_key_"))
    clients[0].headers["x-api-key"] = key
    addresses = [f"{client.base_url.host}:{client.base_url.port}" for client in clients]
    prometheus = Prometheus(
        tmp_path / "prometheus", {"ostraka-api": addresses[:1], "ostraka-worker": addresses[1:]}, key
    )
    try:
        yield fleet, prometheus, clients[0]
    finally:
        prometheus.discard()


def test_prometheus_reads_every_role_and_misses_a_dead_worker(watched):
    fleet, prometheus, client = watched
    job = client.post("/v1/memory", json=note("Ada waters the roses.")).json()["job_id"]
    eventually(lambda: indexed(client, job))

    eventually(lambda: prometheus.value("sum(up)") == 3)
    eventually(lambda: prometheus.value("max(ostraka_fleet_rows{state='indexed'})") == 1)
    assert prometheus.value("sum(ostraka_indexed_total)") == 1
    assert prometheus.value("count(ostraka_ready == 1)") == 3
    rules = eventually(lambda: evaluated(prometheus))
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert prometheus.get("/alerts")["alerts"] == []

    dead = fleet.members[1]
    dead.send(signal.SIGKILL)
    dead.wait()
    [alert] = eventually(
        lambda: [each for each in prometheus.get("/alerts")["alerts"] if each["labels"]["alertname"] == "OstrakaDown"]
    )
    assert (alert["state"], alert["labels"]["job"]) == ("firing", "ostraka-worker")


def evaluated(prometheus: Prometheus) -> list[dict[str, Any]]:
    """Return every rule once each was evaluated."""
    groups = (prometheus.get("/rules") or {"groups": []})["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return rules if rules and all(rule["health"] != "unknown" for rule in rules) else []
