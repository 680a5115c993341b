import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest
from ostraka import Deleted, Erased, Ostraka, Remaining
from scripted_server import ADDED, DELETED, DELETION, FOUND, JOB, MEMORY, Reply, Script


def test_an_add_sends_what_was_given_and_no_more(script: Script):
    script.will(Reply(ADDED, 202))
    moment = datetime(2026, 3, 14, 20, 30, tzinfo=timezone(timedelta(hours=2)))
    with Ostraka(script.url, api_key="key_secret") as client:
        added = client.add("n", "naïve 東京", session=None, tags=("a",), metadata={"k": [1, None]}, occurred_at=moment)
    [asked] = script.asked
    assert (added.id, added.job_id, added.state) == ("mem_1", "job_1", "pending")
    assert (asked.method, asked.target) == ("POST", "/v1/memory")
    assert asked.headers["authorization"] == "Bearer key_secret"
    assert asked.headers["content-type"] == "application/json"
    assert asked.json() == {
        "namespace": "n",
        "content": "naïve 東京",
        "tags": ["a"],
        "metadata": {"k": [1, None]},
        "occurred_at": "2026-03-14T20:30:00+02:00",
    }


def test_an_update_keeps_none_and_a_search_leaves_it_out(script: Script):
    script.will(Reply(MEMORY), Reply(FOUND))
    with Ostraka(script.url) as client:
        client.update("n", "mem_1", session=None, tags=[])
        client.search("n", "q", session=None, limit=3, since=datetime(2026, 1, 1, tzinfo=UTC))
    update, search = script.asked
    assert update.json() == {"session": None, "tags": []}
    assert search.json() == {"namespace": "n", "query": "q", "limit": 3, "since": "2026-01-01T00:00:00+00:00"}


def test_searches_of_a_namespace_share_a_hint_for_routers_that_does_not_name_it(script: Script):
    script.will(Reply(FOUND), Reply(FOUND), Reply(FOUND), Reply(ADDED, 202))
    with Ostraka(script.url) as client:
        for namespace in ("東京", "東京", "kyoto"):
            client.search(namespace, "q")
        client.add("kyoto", "a")
    first, again, other, add = (asked.headers.get("x-ostraka-namespace") for asked in script.asked)
    assert first == again != other
    assert first.isascii()
    assert other != "kyoto"
    assert add is None


def test_names_are_escaped(script: Script):
    script.will(Reply(MEMORY), Reply(DELETED), Reply(status=204))
    with Ostraka(script.url + "/") as client:
        client.get("a&b=c #", "x/y?z")
        assert client.delete_where("n", session="s 1", tags=["a", "b&"], filter={"k": {"in": [1]}}).deleted == 2
        client.delete_namespace("ü")
    assert [asked.target for asked in script.asked] == [
        "/v1/memory/x%2Fy%3Fz?namespace=a%26b%3Dc+%23",
        "/v1/memory?namespace=n&session=s+1&tags=a&tags=b%26&filter=%7B%22k%22%3A%7B%22in%22%3A%5B1%5D%7D%7D",
        "/v1/namespaces/%C3%BC",
    ]


def test_a_delete_answers_the_id_of_its_receipt(script: Script):
    receipt = {"Ostraka-Deletion": "del_1"}
    script.will(Reply(status=204, headers=receipt), Reply(status=204, headers=receipt), Reply(DELETED), Reply(DELETION))
    with Ostraka(script.url) as client:
        assert client.delete("n", "mem_1") == "del_1"
        assert client.delete_namespace("n") == "del_1"
        assert client.delete_where("n", session="s") == Deleted("del_1", 2, 1)
        found = client.deletion("del/1")
    assert script.asked[-1].target == "/v1/deletions/del%2F1"
    assert (found.id, found.namespace, found.kind, found.state, found.rows) == ("del_1", None, "session", "erased", 2)
    assert found.erased == (Erased("record store", "content", datetime(2026, 3, 15, tzinfo=UTC)),)
    assert found.remains == (Remaining("backups", None, "sealed"),)
    assert found.purged_at is None


def test_no_name_leads_elsewhere(script: Script):
    script.will(*[Reply(status=204)] * 3)
    with Ostraka(script.url) as client:
        for name in (".", "..", "a..b"):
            client.delete("n", name)
        with pytest.raises(ValueError, match="empty"):
            client.delete("n", "")
    targets = ["/v1/memory/%2E?namespace=n", "/v1/memory/%2E%2E?namespace=n", "/v1/memory/a..b?namespace=n"]
    assert [asked.target for asked in script.asked] == targets


def test_what_cannot_be_sent_is_refused_before_sending(script: Script):
    with Ostraka(script.url) as client:
        with pytest.raises(ValueError, match="time zone"):
            client.add("n", "text", occurred_at=datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(ValueError, match="JSON"):
            client.add("n", "text", metadata={"a": float("nan")})
        with pytest.raises(TypeError, match="set"):
            client.add("n", "text", metadata={"a": {1}})
    assert script.asked == []


def test_answers_are_typed_and_newer_fields_passed_over(script: Script):
    script.will(Reply({**MEMORY, "colour": "new"}), Reply(JOB))
    with Ostraka(script.url) as client:
        memory = client.get("n", "mem_1")
        job = client.job("job_1")
    assert memory.occurred_at == datetime(2026, 3, 14, 18, 30, tzinfo=UTC)
    assert memory.created_at.microsecond == 1
    assert memory.tags == ("x",)
    assert memory.closed_at is None
    assert (job.accepted, job.errors) == (3, ())


def test_results_are_a_sequence(script: Script):
    hit = {name: MEMORY[name] for name in MEMORY if name not in {"expires_at", "state", "error", "closed_at"}}
    results = [{**hit, "id": name, "score": 0.5, "similarity": None, "explain": None} for name in "ab"]
    script.will(Reply({"results": results, "took_ms": 0.7, "parts_ms": {"text": 0.1}}))
    with Ostraka(script.url) as client:
        found = client.search("n", "q", explain=True)
    assert (len(found), found[1].id, [result.id for result in found]) == (2, "b", ["a", "b"])
    assert found.parts_ms == {"text": 0.1}


def test_nothing_is_logged_and_the_key_is_not_shown(script: Script, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    script.will(Reply(ADDED, 202), Reply(DELETED), Reply({"detail": "x"}, 422))
    with Ostraka(script.url, api_key="key_secret") as client:
        client.add("private-name", "private text", session="private session")
        client.delete_where("private-name", session="private session")
        with pytest.raises(Exception, match="x"):
            client.search("private-name", "private query")
        assert "secret" not in repr(vars(client))
    assert "private" not in caplog.text
    assert "secret" not in caplog.text
