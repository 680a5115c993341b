"""The verdict: what the server holds against what the ledger says was promised."""

import random
from collections import defaultdict

import httpx

from tests.fault.audit import Auditor
from tests.fault.ledger import Ledger, Outcome
from tests.fault.report import Figures
from tests.fault.topology import Topology
from tests.fault.traffic import imbalances
from tests.integration.processes import eventually

SEARCHED = 40  # memories that are asked for by all ways of asking


def judge(topology: Topology, auditor: Auditor, ledger: Ledger, figures: Figures, rng: random.Random) -> None:
    """Wait until every job has ended, then hold every memory against the ledger; add to the figures; fail on any fault.

    Listing shows all; a sample is also read by id, with its history, and searched for.
    """
    client = topology.client
    settle(topology, auditor)
    figures.acknowledged_writes += ledger.writes
    figures.acknowledged_deletes += ledger.deletes
    faults = [fault for fault in (_listed(client, ledger, figures)) if fault]
    faults += [fault for name in ledger.sample(rng, SEARCHED) if (fault := _asked(client, ledger, name, figures))]
    assert faults == []
    assert set(imbalances(client.get("/metrics").text)) == {0.0}
    auditor.check_sums()
    auditor.check_index(ledger.namespace)


def settle(topology: Topology, auditor: Auditor) -> None:
    """Wait until every job has ended; what failed in a fault is sent round again, as its owner would."""

    def ended() -> bool:
        topology.revive()
        return not auditor.unfinished_jobs()

    eventually(ended, within_s=120, every_s=0.05)
    for job in auditor.failed_jobs():
        assert topology.client.post(f"/v1/jobs/{job}/retry").is_success
    eventually(lambda: ended() and not auditor.failed_jobs(), every_s=0.05)


def _listed(client: httpx.Client, ledger: Ledger, figures: Figures) -> list[str]:
    found = _list(client, ledger.namespace)
    faults = [f"{name} was never written" for name in found.keys() - ledger.entries.keys()]
    for name, entry in ledger.entries.items():
        faults += _compare(name, entry.possible, found.get(name, []), figures)
    return faults


def _compare(name: str, possible: frozenset[Outcome], found: list[str], figures: Figures) -> list[str]:
    if len(found) > 1:
        figures.duplicated += 1
        return [f"{name} is there {len(found)} times"]
    seen = found[0] if found else None
    if seen in possible:
        return []
    if possible == {None}:
        figures.resurrected += 1
        return [f"{name} was deleted and is there again"]
    figures.lost += 1
    return [f"{name} should be one of {sorted(map(str, possible))}, is {seen!r}"]


def _list(client: httpx.Client, namespace: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    cursor = None
    while True:
        params = {"namespace": namespace, "limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/memory", params=params).raise_for_status().json()
        for memory in page["memories"]:
            found[memory["id"]].append(memory["content"])
        if (cursor := page["next_cursor"]) is None:
            return found


def _asked(client: httpx.Client, ledger: Ledger, name: str, figures: Figures) -> list[str]:
    """Read one memory by id and by history, and search for its word and its meaning."""
    entry, params = ledger.entries[name], {"namespace": ledger.namespace}
    answer = client.get(f"/v1/memory/{name}", params=params)
    content: Outcome = answer.json()["content"] if answer.status_code == 200 else None
    faults = [] if content in entry.possible else [f"{name} reads {content!r}"]
    versions = client.get(f"/v1/memory/{name}/history", params=params)
    count = len(versions.json()) if versions.status_code == 200 else 0
    expected = range(entry.acknowledged, entry.acknowledged + entry.unanswered + 1)
    if content is not None and count not in expected:
        figures.duplicated += count > expected[-1]
        faults.append(f"{name} has {count} versions, {expected} were written")
    for query, mode in ((f"word{name}x", "text"), (content or f"word{name}x", "vector")):
        body = params | {"query": query, "mode": mode}
        hits = client.post("/v1/memory/search", json=body).raise_for_status().json()["results"]
        mine = [hit["content"] for hit in hits if hit["id"] == name]
        if mine != ([content] if content is not None else []) or (mine and hits[0]["id"] != name):
            faults.append(f"{name} is found by {mode} as {mine}, should be {content!r}")
    return faults
