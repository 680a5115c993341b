"""What every pod of every overlay must be: confined, bounded, probed, and without a secret in a variable."""

import subprocess
import tomllib

import pytest
import yaml
from commandlines import ROOT, SETTINGS, parsed, settings_in, size_of, tool
from manifests import OVERLAYS, Pod, of_kind, pods, rendered, resources

from cli import serving, supervisor
from core.settings import Settings
from workers import worker

PODS = [
    pytest.param(overlay, pod, id=f"{overlay}-{pod.kind}-{pod.name}") for overlay in OVERLAYS for pod in pods(overlay)
]
LASTING = [each for each in PODS if each.values[1].kind in {"Deployment", "StatefulSet"}]
OURS = [each for each in PODS if each.values[1].ours]
# What the manifests may name that the validator has no schema for.
CUSTOM = {"ScaledObject", "ServiceMonitor", "PodMonitor"}


def settings_of(overlay: str, pod: Pod, tmp_path, monkeypatch) -> Settings:
    """The settings as the pod's process loads them: from its file, under its variables."""
    [settings] = [each for each in pod.spec["volumes"] if each["name"] == "settings"]
    [found] = [
        each for each in of_kind(overlay, "ConfigMap") if each["metadata"]["name"] == settings["configMap"]["name"]
    ]
    variables = {each["name"]: each["value"] for each in pod.ours["env"] if each["name"] != "OSTRAKA_CONFIG"}
    return settings_in(tmp_path / "ostraka.toml", found["data"]["ostraka.toml"], monkeypatch, **variables)


def test_the_overlays_are_those_that_the_page_names():
    page = (ROOT / "k8s/README.md").read_text()
    assert [overlay for overlay in OVERLAYS if f"`{overlay}`" not in page] == []
    assert OVERLAYS == ["cpu", "gpu", "keda", "single"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_accept_it(overlay, tmp_path):
    known = [each for each in resources(overlay) if each["kind"] not in CUSTOM]
    (tmp_path / "known.yaml").write_text(yaml.safe_dump_all(known))
    command = [tool("kubernetes-validate"), "--strict", str(tmp_path / "known.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout + done.stderr


def test_the_schemas_refuse_what_is_misspelled(tmp_path):
    (tmp_path / "wrong.yaml").write_text(rendered("single").replace("runAsNonRoot", "runAsNonRot"))
    command = [tool("kubernetes-validate"), "--strict", str(tmp_path / "wrong.yaml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_it_is_confined(overlay, pod):
    spec, shared = pod.spec, pod.spec["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert shared["runAsNonRoot"] is True
    assert shared["runAsUser"] > 0
    assert shared["runAsGroup"] > 0
    assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod.containers:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"]["drop"] == ["ALL"]
        assert own["capabilities"].get("add", []) in ([], ["NET_BIND_SERVICE"])
        assert not {"privileged", "runAsUser", "procMount"} & set(own)
    assert all({"emptyDir", "configMap", "secret", "persistentVolumeClaim"} & set(each) for each in spec["volumes"])


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_it_is_bounded(overlay, pod):
    for container in pod.containers:
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][bound]), container["name"]
        assert size_of(container["resources"]["requests"]["memory"]) <= size_of(
            container["resources"]["limits"]["memory"]
        )
    assert all("sizeLimit" in each["emptyDir"] for each in pod.spec["volumes"] if "emptyDir" in each)
    in_memory = sum(
        size_of(each["emptyDir"]["sizeLimit"])
        for each in pod.spec["volumes"]
        if each.get("emptyDir", {}).get("medium") == "Memory"
    )
    assert in_memory < sum(size_of(each["resources"]["limits"]["memory"]) for each in pod.containers)


@pytest.mark.parametrize(("overlay", "pod"), LASTING)
def test_it_is_probed_on_ports_that_it_has(overlay, pod):
    for container in pod.containers:
        names = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            [check] = [container[probe][kind] for kind in ("httpGet", "tcpSocket") if kind in container[probe]]
            assert check["port"] in names


@pytest.mark.parametrize(("overlay", "pod"), LASTING)
def test_what_all_pods_share_takes_none_of_them_out(overlay, pod):
    """A stalled queue makes every API pod unready at once; a service without pods would answer nothing at all."""
    paths = {
        probe: pod.containers[0][probe].get("httpGet", {}).get("path") for probe in ("livenessProbe", "readinessProbe")
    }
    if pod.labels["app.kubernetes.io/component"] in {"api", "query", "server"}:
        assert paths == {"livenessProbe": "/health/live", "readinessProbe": "/health/live"}
    if "worker" in pod.name or pod.name == "scheduler":
        assert paths == {"livenessProbe": "/health/live", "readinessProbe": "/health/ready"}


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_no_variable_holds_a_secret(overlay, pod):
    for container in pod.containers:
        assert "envFrom" not in container
        for variable in container.get("env", []):
            assert set(variable) == {"name", "value"}, variable
            assert not any(word in variable["name"] for word in ("PASSWORD", "TOKEN", "SECRET", "ENCRYPTION"))
            assert variable["name"] in SETTINGS | {"XDG_CONFIG_HOME", "XDG_DATA_HOME"}


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_secrets_are_files_that_its_group_alone_may_read(overlay, pod):
    for volume in pod.spec["volumes"]:
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
            assert pod.spec["securityContext"]["fsGroup"] == pod.spec["securityContext"]["runAsGroup"]
            [mount] = [each for each in pod.containers[0]["volumeMounts"] if each["name"] == volume["name"]]
            assert mount == {"name": "secrets", "mountPath": "/run/secrets/ostraka", "readOnly": True}


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_the_master_key_is_where_it_is_needed(overlay, pod):
    keys = {item["key"] for each in pod.spec["volumes"] for item in each.get("secret", {}).get("items", [])}
    some = {"flower": {"redis_password", "flower_users"}, "redis": {"redis_password"}}
    assert keys == some.get(pod.name, set()), "none named: all of them"
    assert pod.ours or pod.name in some or not any("secret" in each for each in pod.spec["volumes"])


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_every_mount_is_of_a_volume_and_every_volume_is_mounted(overlay, pod):
    volumes = {each["name"] for each in pod.spec["volumes"]}
    volumes |= {each["metadata"]["name"] for each in pod.owner["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for container in pod.containers for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize(("overlay", "pod"), OURS)
def test_its_command_is_one_of_ours(overlay, pod):
    assert "command" not in pod.ours, "the image's entrypoint is tini"
    assert parsed(pod.ours["args"])


@pytest.mark.parametrize(("overlay", "pod"), OURS)
def test_its_settings_are_ours(overlay, pod, tmp_path, monkeypatch):
    """Loading them refuses names that there are not; what they name must be mounted."""
    settings = settings_of(overlay, pod, tmp_path, monkeypatch)
    assert settings.auth.require_key
    secret_files = [
        settings.storage.key_file,
        settings.storage.database_password_file,
        settings.queue.redis_password_file,
        settings.flower.users_file,
    ]
    assert all(path is None or str(path.parent) == "/run/secrets/ostraka" for path in secret_files)
    caches = [each["name"] for each in pod.ours["volumeMounts"] if each["mountPath"] == str(settings.cache.path)]
    assert len(caches) == (pod.ours["args"][0] in {"api", "query", "worker", "serve", "doctor"})
    for name in caches:
        cache = pod.volume(name)["emptyDir"]
        assert cache["medium"] == "Memory"
        assert settings.cache.bytes_max < size_of(cache["sizeLimit"])
    assert pod.spec["enableServiceLinks"] is False, "OSTRAKA_PORT of a service would be refused as a setting"


@pytest.mark.parametrize(("overlay", "pod"), [each for each in OURS if each in LASTING])
def test_its_port_is_the_one_that_its_role_listens_on(overlay, pod, tmp_path, monkeypatch):
    settings = settings_of(overlay, pod, tmp_path, monkeypatch)
    role = pod.ours["args"][0]
    ports = {"worker": settings.worker.port, "scheduler": settings.worker.port, "flower": settings.flower.port}
    [port] = pod.ours["ports"]
    assert port["containerPort"] == ports.get(role, settings.server.port)
    hosts = {"worker": settings.worker.host, "scheduler": settings.worker.host, "flower": settings.flower.host}
    assert hosts.get(role, settings.server.host) == "0.0.0.0"


@pytest.mark.parametrize(("overlay", "pod"), LASTING)
def test_it_may_take_the_time_that_its_stop_takes(overlay, pod):
    stops = {"api": serving._GRACE_S, "query": serving._GRACE_S, "serve": supervisor._STOP_S + serving._GRACE_S}
    container = pod.containers[0]
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    role = container.get("args", ["other"])[0]
    stop = {"worker": worker.STOP_S, "scheduler": worker.STOP_S}.get(role, stops.get(role, 0))
    assert pod.spec["terminationGracePeriodSeconds"] > pause + stop
    if role in {"api", "query"}:
        assert pause > 0, "routers hear of it a moment later"


@pytest.mark.parametrize(("overlay", "pod"), PODS)
def test_its_image_is_pinned(overlay, pod):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for container in pod.containers:
        name, _, tag = container["image"].partition(":")
        assert name in {"ostraka-server", "ostraka-worker-gpu", "redis", "caddy"}
        assert tag == version if name.startswith("ostraka-") else tag.count(".") >= 2, container["image"]
