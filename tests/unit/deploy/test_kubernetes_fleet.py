"""How the parts of an overlay fit together: services, policies, budgets, scaling, monitors."""

import re

import pytest
from commandlines import ROOT
from manifests import OVERLAYS, Pod, Resource, of_kind, pods, resources, selects

LASTING = {"Deployment", "StatefulSet"}
SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def scaled(overlay: str) -> list[str]:
    return [each["spec"]["scaleTargetRef"]["name"] for each in of_kind(overlay, *SCALERS)]


def pods_of(overlay: str, selector: dict) -> list[Pod]:
    return [pod for pod in pods(overlay) if selects(selector, pod.labels)]


def ports_of(pod: Pod) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for each in pod.containers for port in each.get("ports", [])}


@every_overlay
def test_everything_lies_in_one_confined_namespace(overlay):
    [namespace] = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = {each["metadata"].get("namespace") for each in resources(overlay) if each is not namespace}
    assert others == {namespace["metadata"]["name"]}


@every_overlay
def test_no_secret_is_among_the_manifests(overlay):
    assert of_kind(overlay, "Secret") == []


@every_overlay
def test_each_workload_selects_its_own_pods_alone(overlay):
    for workload in of_kind(overlay, *LASTING):
        found = pods_of(overlay, workload["spec"]["selector"])
        assert [pod.name for pod in found] == [workload["metadata"]["name"]]


@every_overlay
def test_each_service_leads_to_a_port_of_one_workload(overlay):
    for service in of_kind(overlay, "Service"):
        [pod] = pods_of(overlay, {"matchLabels": service["spec"]["selector"]})
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports_of(pod), service["metadata"]["name"]


@every_overlay
def test_the_ingress_leads_to_a_service_and_keeps_questions_out_of_logs(overlay):
    services = {each["metadata"]["name"]: each for each in of_kind(overlay, "Service")}
    [ingress] = of_kind(overlay, "Ingress")
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
    assert ingress["spec"]["tls"]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/enable-access-log"] == "false"
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "64m"


# --- who may talk to whom -------------------------------------------------------------------------------


def rules(overlay: str, pod: Pod, direction: str) -> list[Resource]:
    """The rules that let a pod's traffic through; none of them: nothing passes."""
    return [
        rule
        for policy in of_kind(overlay, "NetworkPolicy")
        if direction.capitalize() in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], pod.labels)
        for rule in policy["spec"].get(direction, [])
    ]


def lets(overlay: str, source: Pod, target: Pod, port: int) -> bool:
    def passes(rule: Resource, peer: str, pod: Pod) -> bool:
        named = any(selects(each["podSelector"], pod.labels) for each in rule[peer] if set(each) == {"podSelector"})
        return named and port in {each["port"] for each in rule["ports"]}

    out = any(passes(rule, "to", target) for rule in rules(overlay, source, "egress"))
    return out and any(passes(rule, "from", source) for rule in rules(overlay, target, "ingress"))


@every_overlay
def test_every_pod_is_denied_what_no_policy_names(overlay):
    [nothing] = [each for each in of_kind(overlay, "NetworkPolicy") if each["metadata"]["name"] == "nothing"]
    assert nothing["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@every_overlay
def test_every_policy_concerns_a_pod_and_ports_that_are_listened_on(overlay):
    listened = {port for pod in pods(overlay) for port in ports_of(pod).values()} | {53, 443, 5432}
    for policy in of_kind(overlay, "NetworkPolicy"):
        assert pods_of(overlay, policy["spec"]["podSelector"]), policy["metadata"]["name"]
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            assert {port["port"] for port in rule["ports"]} <= listened
            assert rule.get("from") or rule.get("to"), "everybody is nobody in particular"


@pytest.mark.parametrize("overlay", [each for each in OVERLAYS if each != "single"])
def test_who_may_talk_to_whom(overlay):
    every = {pod.name: pod for pod in pods(overlay)}
    calls = {
        (a, b)
        for a in every
        for b in every
        for port in ports_of(every[b]).values()
        if lets(overlay, every[a], every[b], port)
    }
    clients = {name for name, pod in every.items() if pod.ours}
    assert calls == {("router", "api"), ("router", "query")} | {(name, "redis") for name in clients}


@every_overlay
def test_only_what_keeps_something_reaches_beyond(overlay):
    beyond = {
        pod.name
        for pod in pods(overlay)
        for rule in rules(overlay, pod, "egress")
        if any("ipBlock" in peer for peer in rule["to"])
    }
    keeping = {pod.name for pod in pods(overlay) if pod.ours and pod.name != "flower"}
    assert beyond == (set() if overlay == "single" else keeping)


# --- how it scales --------------------------------------------------------------------------------------


@every_overlay
def test_what_scales_is_there_and_says_no_number_of_its_own(overlay):
    workloads = {each["metadata"]["name"]: each for each in of_kind(overlay, "Deployment")}
    assert len(scaled(overlay)) == len(set(scaled(overlay))), "two would pull at one"
    for name in scaled(overlay):
        assert "replicas" not in workloads[name]["spec"], "an apply would undo the scaling"
    fixed = {name for name, each in workloads.items() if name not in scaled(overlay)}
    assert all("replicas" in workloads[name]["spec"] for name in fixed), fixed


@every_overlay
def test_a_drain_of_a_node_leaves_some_of_each(overlay):
    budgets = of_kind(overlay, "PodDisruptionBudget")
    for name in {*scaled(overlay), *({"scheduler", "gpu-worker"} & {pod.name for pod in pods(overlay)})}:
        [pod] = [each for each in pods(overlay) if each.name == name]
        [budget] = [each for each in budgets if selects(each["spec"]["selector"], pod.labels)]
        assert budget["spec"]["maxUnavailable"] == 1
    for budget in budgets:
        assert pods_of(overlay, budget["spec"]["selector"]), budget["metadata"]["name"]


def test_what_keda_scales_on_is_measured():
    documented = (ROOT / "docs/metrics.md").read_text()
    triggers = [trigger for each in of_kind("keda", "ScaledObject") for trigger in each["spec"]["triggers"]]
    served = {
        queue
        for pod in pods("keda")
        if pod.ours and pod.ours["args"][0] == "worker"
        for queue in pod.ours["args"][2].split(",")
    }
    asked = set()
    for trigger in triggers:
        [(name, queue)] = re.findall(r'max\((\w+)\{queue="([\w-]+)"\}\)', trigger["metadata"]["query"])
        assert f"| `{name}` | gauge | `queue` |" in documented
        assert float(trigger["metadata"]["threshold"]) > 0
        asked.add(queue)
    assert asked == {"embed", "embed-bulk", "index"} <= served


@every_overlay
def test_every_queue_has_a_worker(overlay):
    from core.pipeline.doorbell import QUEUES

    commands = [pod.ours["args"] for pod in pods(overlay) if pod.ours]
    served = {queue for words in commands if words[0] == "worker" for queue in words[2].split(",")}
    assert served == set(QUEUES) or ["serve"] in commands


def test_the_monitors_look_at_ports_that_there_are():
    services = of_kind("keda", "Service")
    [web] = of_kind("keda", "ServiceMonitor")
    found = [each for each in services if selects(web["spec"]["selector"], each["metadata"]["labels"])]
    assert {each["metadata"]["name"] for each in found} == {"api", "query"}
    assert {port["name"] for each in found for port in each["spec"]["ports"]} == {web["spec"]["endpoints"][0]["port"]}
    [work] = of_kind("keda", "PodMonitor")
    watched = pods_of("keda", work["spec"]["selector"])
    assert {pod.name for pod in watched} == {"worker", "bulk-worker", "scheduler"}
    assert all(work["spec"]["podMetricsEndpoints"][0]["port"] in ports_of(pod) for pod in watched)


def test_on_gpus_the_whole_fleet_has_one_precision():
    def precision(pod: Pod) -> set[str]:
        return {each["value"] for each in pod.ours["env"] if each["name"] == "OSTRAKA_EMBEDDINGS__PRECISION"}

    embedding = [pod for pod in pods("gpu") if pod.ours and pod.kind != "Job" and pod.name != "flower"]
    assert {pod.name: precision(pod) for pod in embedding} == {pod.name: {"fp16"} for pod in embedding}
    [gpu] = [pod for pod in pods("gpu") if "nvidia.com/gpu" in pod.containers[0]["resources"]["limits"]]
    assert gpu.ours["image"].startswith("ostraka-worker-gpu:")
    assert {"name": "OSTRAKA_EMBEDDINGS__DEVICE", "value": "cuda"} in gpu.ours["env"]
