"""compose/: what the specification says of it, and what every service must be."""

import ipaddress
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from commandlines import ROOT, SETTINGS, parsed, settings_in, size_of, tool

from cli import serving
from core.crypto.keytext import decode_key
from core.pipeline.doorbell import QUEUES
from core.privacy import read_private
from workers import worker

COMPOSE = ROOT / "compose"
FILE = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES = FILE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("ostraka-")}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
every_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def run(*command: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def limits(name: str) -> dict:
    return SERVICES[name]["deploy"]["resources"]["limits"]


def test_the_specification_accepts_it(tmp_path):
    check = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = run(*check, str(COMPOSE / "compose.yaml"))
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yaml").write_text((COMPOSE / "compose.yaml").read_text().replace("read_only:", "readonly:"))
    assert run(*check, str(tmp_path / "wrong.yaml")).returncode != 0


def test_the_linter_accepts_the_dockerfile(tmp_path):
    done = run(tool("hadolint"), str(COMPOSE / "Dockerfile"))
    assert done.returncode == 0, done.stdout
    (tmp_path / "Dockerfile").write_text((COMPOSE / "Dockerfile").read_text().replace("--no-install-recommends", ""))
    assert run(tool("hadolint"), str(tmp_path / "Dockerfile")).returncode != 0


@every_service
def test_it_is_confined(name):
    service = SERVICES[name]
    assert service["user"].startswith("${OSTRAKA_UID:?"), "without prepare.sh nothing starts"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "env_file"} & set(service)


@every_service
def test_it_is_bounded_watched_and_restarted(name):
    service = SERVICES[name]
    assert {"cpus", "memory", "pids"} <= set(limits(name))
    assert size_of(service.get("shm_size", "0")) < size_of(limits(name)["memory"])
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"]
    assert "healthcheck" in service or name in {"api", "query"}, "the image's own check looks at the API's port"
    assert seconds(service["stop_grace_period"]) > 0


@every_service
def test_its_ports_are_published_on_loopback(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@every_service
def test_no_variable_holds_a_secret(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        secret = any(word in variable for word in ("PASSWORD", "TOKEN", "SECRET", "KEY"))
        assert not secret or (variable.endswith("_FILE") and value.startswith("/run/secrets/")), variable


@every_service
def test_its_image_is_pinned(name):
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert image
    assert tag == VERSION if image.startswith("ostraka-") else re.match(r"v?\d+\.\d+", tag)


@every_service
def test_the_stores_are_reached_from_inside_alone(name):
    assert FILE["networks"]["back"] == {"internal": True}
    stores = name in {"redis", "postgres"}
    assert list(SERVICES[name]["networks"]) == (
        ["back"] if stores else ["front", "back"] if name in OURS else ["front"]
    )
    assert not (stores and "ports" in SERVICES[name])


@each_of_ours
def test_its_command_and_variables_are_ours(name):
    assert parsed(OURS[name]["command"])
    assert set(OURS[name]["environment"]) <= SETTINGS


@each_of_ours
def test_its_settings_load_and_name_its_secrets(name, tmp_path, monkeypatch):
    variables = {key: value for key, value in OURS[name]["environment"].items() if key != "OSTRAKA_CONFIG"}
    if name == "worker-gpu":
        variables["OSTRAKA_EMBEDDINGS__PRECISION"] = "fp16"  # compose/README.md says to set it for all
    text = (COMPOSE / "ostraka.toml").read_text()
    settings = settings_in(tmp_path / "ostraka.toml", text, monkeypatch, **variables)
    named = {settings.queue.redis_password_file}
    if name == "flower":
        named |= {settings.flower.users_file}
    else:
        named |= {settings.storage.key_file, settings.storage.database_password_file}
    assert {str(path) for path in named} == {f"/run/secrets/{secret}" for secret in OURS[name]["secrets"]}
    opens_shards = OURS[name]["command"][0] in {"api", "query", "worker"}
    assert opens_shards == (settings.cache.bytes_max < size_of(OURS[name]["shm_size"]))
    assert settings.auth.require_key
    assert [str(each) for each in settings.server.trusted_proxies] == [f"{address('caddy')}/32"]


def address(name: str) -> str:
    given: str = SERVICES[name]["networks"]["front"]["ipv4_address"]
    [subnet] = FILE["networks"]["front"]["ipam"]["config"]
    assert ipaddress.ip_address(given) in ipaddress.ip_network(subnet["subnet"])
    return given


@each_of_ours
def test_its_check_and_ports_are_those_of_its_role(name, tmp_path, monkeypatch):
    settings = settings_in(tmp_path / "o.toml", (COMPOSE / "ostraka.toml").read_text(), monkeypatch)
    role = OURS[name]["command"][0]
    port = {"worker": settings.worker.port, "scheduler": settings.worker.port, "flower": settings.flower.port}.get(
        role, settings.server.port
    )
    if "healthcheck" in OURS[name]:
        assert f"127.0.0.1:{port}/" in OURS[name]["healthcheck"]["test"][-1]
    else:
        checks = re.findall(r"127\.0\.0\.1:(\d+)/", (COMPOSE / "Dockerfile").read_text())
        assert checks == [str(settings.worker.port), str(settings.server.port)]  # of `worker-gpu` and `server`
    assert all(published.endswith(f":{port}") for published in OURS[name].get("ports", []))


@each_of_ours
def test_it_may_take_the_time_that_its_stop_takes(name):
    stop = worker.STOP_S if OURS[name]["command"][0] in {"worker", "scheduler"} else serving._GRACE_S
    assert seconds(OURS[name]["stop_grace_period"]) > stop


def test_every_queue_has_a_worker_without_any_profile():
    commands = [each["command"] for each in OURS.values() if "profiles" not in each]
    assert {queue for words in commands if words[0] == "worker" for queue in words[2].split(",")} == set(QUEUES)


def test_what_is_mounted_is_here_or_made_by_the_script():
    script = (COMPOSE / "prepare.sh").read_text()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            here = source in FILE["volumes"] or (COMPOSE / source).exists() or source.removeprefix("./") in script
            assert here, source
    assert all((COMPOSE / each["file"]).is_file() for each in FILE["configs"].values())


# --- the first start ------------------------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path) -> Path:
    assert run(str(COMPOSE / "prepare.sh"), str(tmp_path)).returncode == 0
    return tmp_path


def test_the_script_makes_every_secret_for_the_containers_user_alone(prepared):
    made = {f"./secrets/{path.name}" for path in (prepared / "secrets").iterdir()}
    assert made == {each["file"] for each in FILE["secrets"].values()}
    lines = dict(line.split("=") for line in (prepared / ".env").read_text().splitlines())
    assert int(lines["OSTRAKA_UID"]) > 0
    for path in (prepared / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert (path.stat().st_uid, path.stat().st_gid) == (int(lines["OSTRAKA_UID"]), int(lines["OSTRAKA_GID"]))


def test_its_secrets_are_strong_different_and_fit_for_use(prepared):
    contents = {path.name: path.read_text().strip() for path in (prepared / "secrets").iterdir()}
    assert decode_key(contents["encryption_key"], "the file")
    assert contents.pop("metrics_key") == ""
    assert len(set(contents.values())) == len(contents)
    assert all(len(value) >= 24 and re.fullmatch(r"[\w+/=:-]+", value) for value in contents.values())
    assert re.fullmatch(r"flower:[\w-]{24}", contents["flower_users"])


def test_a_second_run_replaces_nothing(prepared):
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in prepared.rglob("*") if path.is_file()}

    before = contents()
    assert run(str(COMPOSE / "prepare.sh"), str(prepared)).returncode == 0
    assert contents() == before


def test_ostraka_reads_what_the_script_made(prepared, tmp_path):
    copy = tmp_path / "own"
    shutil.copytree(prepared / "secrets", copy)  # another user's files, where root ran the script, are not read
    assert all(read_private(path) is not None for path in copy.iterdir())


# --- the images -----------------------------------------------------------------------------------------


def test_only_sources_reach_the_builder():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line[0] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE)
    assert allowed == {name for names in copied for name in names.split()}
    assert allowed == {"api", "cli", "core", "workers", "README.md", "constraints.txt", "pyproject.toml"}


def test_each_image_runs_as_somebody_and_begins_with_tini():
    text = (COMPOSE / "Dockerfile").read_text()
    stages = {stage.partition("\n")[0].split(" AS ")[-1]: stage for stage in text.split("\nFROM ")[1:]}
    for name, service in OURS.items():
        stage = stages[service["build"]["target"]]
        assert "USER 10001:10001" in stage, name
        assert "HEALTHCHECK" in stage
        assert stage.startswith("runtime AS ")
    assert 'ENTRYPOINT ["tini", "--", "ostraka"]' in stages["runtime"]
    assert re.search(r"^ARG BASE=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert f"ARG VERSION={VERSION}\n" in text
