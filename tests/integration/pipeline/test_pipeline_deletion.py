"""A deleted memory is in no answer after its delete returned: in every mode, at every stage, after every restart."""

import pytest

from core.errors import NotFound
from core.records.reading import get_memory
from core.records.tables import Lane
from core.search.request import SearchRequest
from tests.stores import BOTH

RECORD_STORES = BOTH

MODES = ("hybrid", "vector", "text")
SECRET = "The vault combination is zebra-4417."


def absent(server, memory_id: str = "secret", **scope) -> bool:
    return all(
        memory_id not in server.ids(query, mode=mode, limit=100, **scope)
        for mode in MODES
        for query in (SECRET, "zebra-4417", "vault")
    )


def fill(server) -> None:
    server.write(
        {"id": "secret", "content": SECRET, "session": "s", "tags": ["t"]},
        *({"id": f"n{number}", "content": f"Ordinary note {number}.", "session": "s"} for number in range(12)),
    )


@pytest.mark.usefixtures("small_tiers")
def test_a_delete_shows_at_once_at_every_stage(server, restart):
    fill(server)
    server.settle()
    assert server.ids("zebra-4417", mode="text") == ["secret"]
    moment = server.clock()

    server.delete("secret")
    assert absent(server)
    assert absent(server, as_of=moment)
    server.write({"id": "later", "content": "Something else."})
    server.settle()
    assert absent(server)
    server = restart(server)
    assert absent(server)
    server.clock.advance(3_600)
    server.maintain()
    assert absent(server)
    server = restart(server)
    assert absent(server)
    assert absent(server, as_of=moment)
    server.check()
    assert len(server.ids("ordinary note", mode="vector", limit=100)) == 13


@pytest.mark.parametrize("stage", ["pending", "embedded"])
def test_a_delete_before_the_index_holds_it(server, stage):
    fill(server)
    if stage == "embedded":
        server.embed()
    server.delete("secret")
    server.settle()

    assert absent(server)
    assert server.states()["deleted"] == 1
    assert set(server.row_ids("secret")).isdisjoint(server.held())
    server.check()


def test_a_delete_while_its_shard_is_built(server, during_build):
    """Between the reading of the rows and the commit of the shard that holds them."""
    fill(server)
    server.embed()
    during_build(lambda: server.delete("secret"))
    server.index()

    assert absent(server)
    server.clock.advance(3_600)
    server.maintain()
    assert set(server.row_ids("secret")).isdisjoint(server.held())
    assert absent(server)


def test_a_delete_of_an_updated_memory_while_the_tail_is_rebuilt(server, during_build):
    """The old version was closed before the build and is deleted during it: it must still leave the shards."""
    fill(server)
    server.settle()
    server.write({"id": "secret", "content": "The vault was moved."})
    server.embed()
    during_build(lambda: server.delete("secret"))
    server.index()

    assert absent(server)
    server.clock.advance(3_600)
    server.maintain()
    assert set(server.row_ids("secret")).isdisjoint(server.held())
    server.check()


def test_a_delete_takes_every_version_out_of_every_answer(server):
    fill(server)
    server.settle()
    first = server.clock()
    server.clock.advance(10)
    server.write({"id": "secret", "content": "The vault combination is now okapi-9021."})
    server.settle()
    second = server.clock()

    server.delete("secret")

    for moment in (None, first, second):
        assert absent(server, as_of=moment)
        assert "secret" not in server.ids("okapi-9021", mode="text", as_of=moment)


def test_many_deletes_still_fill_the_answer(server):
    server.write(
        *({"id": f"n{number}", "content": f"Lantern number {number}."} for number in range(150)), lane=Lane.BULK
    )
    server.settle()
    server.search("lantern")  # so that the reader has an older list of what to mask
    for number in range(120):
        server.delete(f"n{number}")

    for mode in MODES:
        assert sorted(server.ids("lantern number", mode=mode, limit=30)) == sorted(f"n{n}" for n in range(120, 150))


def test_an_id_used_again_after_its_delete(server):
    fill(server)
    server.settle()
    server.delete("secret")
    server.write({"id": "secret", "content": "Nothing to hide."})
    assert absent(server)
    server.settle()

    assert server.contents("nothing to hide")[0] == "Nothing to hide."
    assert "secret" not in server.ids("zebra-4417", mode="text")


def test_an_expired_memory_is_in_no_answer_swept_or_not(server):
    server.write({"id": "secret", "content": SECRET, "ttl_seconds": 60}, {"id": "n", "content": "Ordinary note."})
    server.settle()
    server.clock.advance(59)
    assert server.ids("zebra-4417", mode="text") == ["secret"]

    server.clock.advance(1)
    assert absent(server)
    with pytest.raises(NotFound):
        get_memory(server.records, server.namespace(), "secret")

    server.maintain()
    assert absent(server)
    assert server.states()["deleted"] == 1
    server.check()


def test_a_deleted_namespace_answers_nobody(open_server):
    server, other = open_server(), open_server()
    fill(server)
    server.settle()
    assert other.ids("zebra-4417", mode="text") == ["secret"]

    server.records.delete_namespace("notes")

    request = SearchRequest("zebra-4417", 10, "hybrid")
    for each in (other, server):
        with pytest.raises(NotFound):
            each.tenant.query.search(each.records.namespace("notes"), request)
    server.write("a new beginning")
    server.settle()
    assert server.ids("zebra-4417", mode="text") == other.ids("zebra-4417", mode="text") == []
