"""The overlays of ``k8s/`` as data, rendered by the real kustomize."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from commandlines import ROOT, tool

OVERLAYS = sorted(path.parent.name for path in (ROOT / "k8s/overlays").glob("*/kustomization.yaml"))
Resource = dict[str, Any]


@cache
def rendered(overlay: str) -> str:
    command = [tool("kubectl"), "kustomize", str(ROOT / "k8s/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return done.stdout


@cache
def resources(overlay: str) -> tuple[Resource, ...]:
    return tuple(yaml.safe_load_all(rendered(overlay)))


def of_kind(overlay: str, *kinds: str) -> list[Resource]:
    return [each for each in resources(overlay) if each["kind"] in kinds]


@dataclass(frozen=True)
class Pod:
    """What a workload makes pods of."""

    kind: str
    name: str
    owner: Resource
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ours(self) -> dict[str, Any] | None:
        """The container with an Ostraka image, if there is one."""
        return next((each for each in self.containers if each["image"].startswith("ostraka-")), None)

    def volume(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(each for each in self.spec["volumes"] if each["name"] == name)
        return found


def pods(overlay: str) -> Iterator[Pod]:
    for owner in resources(overlay):
        spec = owner.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            labels = template["metadata"]["labels"]
            yield Pod(owner["kind"], owner["metadata"]["name"], owner, labels, template["spec"])


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects something with these labels; an empty one selects everything."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions), "this test knows no other"
    return exact and all(labels.get(each["key"]) in each["values"] for each in expressions)
