"""A namespace of three shards, what may happen to their blobs, and what must not change."""

from core.records.quarantine import quarantined_shards
from core.records.tables import Lane
from core.shards.sealing import blob_name, check_shard

MODES = ("hybrid", "vector", "text")
QUERIES = ("a canary sings", "marker-7", "grey stone from the river")


def note(number: int) -> dict[str, object]:
    kind = ("canary", "river", "stone", "lantern")[number % 4]
    return {"id": f"n{number}", "content": f"Note {number} of a {kind}, marker-{number}.", "session": f"s{number % 3}"}


def path_of(server, shard, namespace="notes"):
    return server.records.folder / "shards" / blob_name(server.namespace(namespace).public_id, shard.public_id)


def everything(server) -> dict[str, list[tuple[str, float]]]:
    """What each arm and both together answer; the scores tell whether the whole namespace was counted."""
    return {
        f"{mode} {query}": [(hit.memory.id, round(hit.score, 5)) for hit in server.search(query, mode=mode, limit=30)]
        for mode in MODES
        for query in QUERIES
    }


def quarantined(server) -> list[str]:
    with server.records.database.read() as connection:
        return [shard.public_id for _, shard in quarantined_shards(connection)]


def sound(server) -> bool:
    """Whether every live shard's blob is what was put."""
    for shard in server.shards():
        check_shard(server.blobs, server.namespace().key, shard.public_id)
    return quarantined(server) == []


def layer(server):
    """Write a namespace of a large sealed shard, a small one and a tail; its fixture makes tiers small."""
    server.write(*map(note, range(32)), lane=Lane.BULK)
    server.settle()
    server.write(*map(note, range(32, 40)))
    server.settle()
    server.write(*map(note, range(40, 43)))
    server.settle()
    assert [shard.rows for shard in server.shards()] == [32, 8, 3]
    return server


def flip(place):
    def damage(path, rng):
        sealed = bytearray(path.read_bytes())
        sealed[int(place * (len(sealed) - 1)) if isinstance(place, float) else place] ^= 1 << rng.randrange(8)
        path.write_bytes(sealed)

    return damage


def truncate(share):
    return lambda path, _: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


DAMAGES = {
    "missing": lambda path, _: path.unlink(),
    "empty": truncate(0.0),
    "cut in the header": lambda path, _: path.write_bytes(path.read_bytes()[:9]),
    "cut in half": truncate(0.5),
    "cut at the end": truncate(0.999),
    "longer": lambda path, _: path.write_bytes(path.read_bytes() + b"\0"),
    "flipped in the header": flip(3),
    "flipped in the key version": flip(14),
    "flipped in the stream": flip(0.4),
    "flipped at the end": flip(-1),
    "flipped anywhere": lambda path, rng: flip(rng.random())(path, rng),
}


def unreadable(path):
    """Let every opening fail, though the file is there: a link that leads to itself."""
    kept = path.with_suffix(".kept")
    path.rename(kept)
    path.symlink_to(path.name)
    return kept
