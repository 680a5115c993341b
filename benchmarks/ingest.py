"""Ingest: the whole service against the raw embedding limit, turn by turn so that the machine's drift cancels."""

import uvloop

from benchmarks.datasets import Corpus
from benchmarks.figures import Figure, repeated
from benchmarks.load import load_bulk
from benchmarks.plan import NAMESPACE, WARM_UP, Plan
from benchmarks.raw_embedding import raw_rate
from benchmarks.server import serving
from benchmarks.summaries import bracketed_ratios
from benchmarks.texts import generate_texts

WARM_UP_TEXTS = 300


def measure_ingest(plan: Plan, corpus: Corpus) -> list[Figure]:
    """Return the rates of the raw embedder and of the service over the same texts, and their ratio."""
    texts = corpus.texts[: plan.ingest_texts]
    embedded = [text.embedded for text in texts]
    raw = [raw_rate(embedded, plan.work)]
    service = []
    for repeat in range(plan.repeats):
        with serving(plan.work / f"ingest-{repeat}", plan.new_store()) as (_, client):
            uvloop.run(load_bulk(client, WARM_UP, generate_texts(WARM_UP_TEXTS, plan.seed), WARM_UP_TEXTS))
            service.append(len(texts) / uvloop.run(load_bulk(client, NAMESPACE, texts, plan.per_call)))
        raw.append(raw_rate(embedded, plan.work))
    return [
        repeated("ingest", "raw embedding limit", raw, "texts/s", len(texts)),
        repeated("ingest", "whole service", service, "texts/s", len(texts)),
        repeated("ingest", "service ÷ raw limit", bracketed_ratios(raw, service), "", len(texts)),
    ]
