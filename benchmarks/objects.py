"""Warm searches with the shards in an object store against the same with shards in the data directory, by turns."""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.datasets import Corpus
from benchmarks.figures import Figure, repeated
from benchmarks.load import closed_loop, load_bulk
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.searching import search
from benchmarks.server import Server, serving
from benchmarks.summaries import bracketed_ratios, percentile
from benchmarks.wire import Client
from tests.object_store import object_store

_SHARES: Final = (50, 99)
_SECRETS: Final = 'access_key_id = "bench"\nsecret_access_key = "not-a-secret"\n'


def measure_objects(plan: Plan, corpus: Corpus) -> Sequence[Figure]:
    """Return the latencies of both, and those of the object store as multiples of the directory's."""
    memories = min(plan.sizes)
    with ExitStack() as stack:
        local = stack.enter_context(serving(plan.work / "blobs-local"))
        remote = stack.enter_context(_serving_objects(plan.work / "blobs-s3"))
        for server, client in (local, remote):
            uvloop.run(load_bulk(client, NAMESPACE, corpus.texts[:memories], plan.per_call))
            server.settle()
            _searches_ms(client, corpus.questions, plan)  # opens the shards
        outer, inner = [_searches_ms(local[1], corpus.questions, plan)], []
        for _ in range(plan.repeats):
            inner.append(_searches_ms(remote[1], corpus.questions, plan))
            outer.append(_searches_ms(local[1], corpus.questions, plan))
    figures = []
    for share in _SHARES:
        here, there = ([percentile(run, share / 100) for run in runs] for runs in (outer, inner))
        figures += [
            repeated("blobs", f"p{share}, warm, local", here, "ms", memories),
            repeated("blobs", f"p{share}, warm, s3", there, "ms", memories),
            repeated("blobs", f"p{share}, s3 ÷ local", bracketed_ratios(here, there), "", memories),
        ]
    return figures


@contextmanager
def _serving_objects(folder: Path) -> Iterator[tuple[Server, Client]]:
    """Yield a server whose shards lie in a bucket of an S3 server on this machine."""
    folder.mkdir(parents=True)
    secrets = folder / "objects.toml"
    secrets.touch(0o600)
    secrets.write_text(_SECRETS)
    with object_store() as store:
        storage = store.bucket().settings()
        settings = {
            "OSTRAKA_STORAGE__BLOBS_URL": storage["blobs_url"],
            "OSTRAKA_STORAGE__BLOBS_OPTIONS": json.dumps(storage["blobs_options"]),
            "OSTRAKA_STORAGE__BLOBS_SECRETS_FILE": str(secrets),
        }
        with serving(folder, settings) as served:
            yield served


def _searches_ms(client: Client, questions: Sequence[str], plan: Plan) -> Sequence[float]:
    requests = itertools.islice(itertools.cycle([search(client, question) for question in questions]), plan.searches)
    return uvloop.run(closed_loop(client, requests, 1)).latencies_ms
