"""Retrieval quality over the API: each collection loaded in file order, each arm and the default asked everything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Final

import orjson
import uvloop

from benchmarks.datasets import DataSet, Question, read_set
from benchmarks.figures import Figure
from benchmarks.load import bulk_requests, wait_for_job
from benchmarks.plan import Plan
from benchmarks.ranking import ndcg_at, recall_at, reciprocal_rank
from benchmarks.server import serving
from benchmarks.wire import Client

MODES: Final = ("text", "vector", "hybrid")
PRIMARY: Final = {"scifact": "nDCG@10", "cacm": "nDCG@10"}  # conversations: recall; collections: ranking
_DEPTH: Final = 20

Scores = Mapping[str, float]


def measure_quality(plan: Plan, folder: Path, name: str) -> list[Figure]:
    """Return every measure of every mode on one collection, and how far the fused ranking is ahead."""
    data = read_set(folder, name)
    with serving(plan.work / f"quality-{name}", plan.new_store()) as (_, client):
        scores = uvloop.run(_evaluate(client, data, plan))
    count = sum(map(len, data.namespaces.values()))
    figures = [
        Figure("quality", f"{name} {mode} {measure}", value, "", count, samples=len(data.questions))
        for mode, measured in scores.items()
        for measure, value in measured.items()
    ]
    primary = PRIMARY.get(name, "R@10")
    lead = scores["hybrid"][primary] - max(scores["text"][primary], scores["vector"][primary])
    figures.append(
        Figure("quality", f"{name} fused lead over the better arm", lead, primary, count, samples=len(data.questions))
    )
    return figures


def score(rankings: Sequence[Sequence[str]], questions: Sequence[Question]) -> Scores:
    """Return the mean of each measure over all questions."""
    pairs = [(ranked, question.relevant) for ranked, question in zip(rankings, questions, strict=True)]
    return {
        "R@10": mean(recall_at(ranked, relevant, 10) for ranked, relevant in pairs),
        "R@20": mean(recall_at(ranked, relevant, 20) for ranked, relevant in pairs),
        "MRR": mean(reciprocal_rank(ranked, relevant) for ranked, relevant in pairs),
        "nDCG@10": mean(ndcg_at(ranked, relevant, 10) for ranked, relevant in pairs),
    }


async def _evaluate(client: Client, data: DataSet, plan: Plan) -> dict[str, Scores]:
    jobs = []
    for namespace, texts in data.namespaces.items():
        for request in bulk_requests(client, namespace, texts, plan.per_call):
            accepted = await client.call_raw(request)
            if accepted["rejected"]:
                raise RuntimeError(f"the server rejected lines of {data.name}: {accepted['rejected'][:3]}")
            jobs.append(accepted["job_id"])
    for job in jobs:
        await wait_for_job(client, job)
    return {mode: score(await _ask(client, data.questions, mode), data.questions) for mode in MODES}


async def _ask(client: Client, questions: Sequence[Question], mode: str) -> list[list[str]]:
    """Return the ids each question brings back, in order."""
    found: list[list[str]] = []
    connection = await client.connect()
    try:
        for question in questions:
            body: dict[str, object] = {"namespace": question.namespace, "query": question.query, "limit": _DEPTH}
            if mode != "hybrid":  # the default answers for itself
                body["mode"] = mode
            reply = await connection.send(client.build("POST", "/v1/memory/search", orjson.dumps(body)))
            found.append([result["id"] for result in reply.json()["results"]])
    finally:
        connection.close()
    return found
