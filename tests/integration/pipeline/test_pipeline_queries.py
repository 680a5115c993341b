"""What people type: identifiers, other scripts, long texts, odd texts."""

import pytest

from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

IDENTIFIERS = {
    "us-east-1": ["us-east-2", "us-west-1", "eu-east-1"],
    "k8s-worker-3": ["k8s-worker-13", "k8s-worker-30", "k8s-master-3"],
    "ERR_4821": ["ERR_4822", "ERR_48210", "WARN_4821"],
    "10.0.17.4": ["10.0.17.41", "10.0.174", "10.10.17.4"],
    "ops@example.com": ["dev@example.com", "ops@example.org"],
    "v2.3.1": ["v2.3.10", "v2.13.1"],
}


@pytest.fixture
def incidents(server):
    server.write(
        *(
            {"id": token, "content": f"The incident was traced to {token} after a long night."}
            for wanted, others in IDENTIFIERS.items()
            for token in (wanted, *others)
        )
    )
    server.settle()
    return server


@pytest.mark.parametrize("wanted", IDENTIFIERS)
def test_an_identifier_finds_itself_first(incidents, wanted):
    for query in (wanted, f"what happened with {wanted}?"):
        assert incidents.ids(query, mode="text")[0] == wanted
        assert incidents.ids(query)[0] == wanted
    assert incidents.ids(wanted, mode="text") == [wanted]
    assert incidents.ids(wanted.upper(), mode="text") == [wanted]


def test_chinese_japanese_and_korean_are_found(server):
    texts = {
        "zh": "用户喜欢在周末去杭州喝龙井茶。",
        "zh2": "会议改到下周三上午十点。",
        "ja": "来月から東京オフィスに移動します。",
        "ko": "서버 점검은 금요일 밤에 진행됩니다.",
        "th": "ลูกค้าต้องการใบเสร็จทางอีเมล",
    }
    server.write(*({"id": id_, "content": text} for id_, text in texts.items()))
    server.settle()

    for query, id_ in {
        "龙井茶": "zh",
        "杭州": "zh",
        "茶": "zh",
        "下周三": "zh2",
        "東京": "ja",
        "점검": "ko",
        "ใบเสร็จ": "th",
    }.items():
        assert server.ids(query, mode="text") == [id_]
        assert server.ids(query)[0] == id_


def test_a_long_memory_is_found_by_its_end(server):
    filler = [f"Paragraph {number} describes the routine maintenance of escalators." for number in range(200)]
    trees = ("apple", "pear", "plum", "cherry", "walnut", "mulberry", "fig", "almond")
    page = [f"In the orchard behind the monastery the monks also grow {tree} trees." for tree in trees] * 2
    last = "The last row of the orchard holds quince and medlar."
    server.write(
        {"id": "long", "content": " ".join([*filler, *page, last])},
        {"id": "cut", "content": " ".join(filler)},
        *({"id": f"n{number}", "content": f"Escalator note {number}."} for number in range(20)),
    )
    server.settle()
    [shard] = server.opened()
    assert shard.manifest.vectors > shard.manifest.rows == 22

    for mode in ("hybrid", "vector", "text"):
        assert server.ids(last, mode=mode)[0] == "long"
    assert server.ids("quince and medlar", mode="text") == ["long"]
    assert server.contents("fruit trees of the monks", mode="vector", limit=1)[0].endswith(last)
    assert server.ids("escalators", mode="vector", limit=50).count("long") == 1
    server.check()


def test_a_query_longer_than_the_model_is_read_to_its_end(server):
    server.write({"id": "bees", "content": "The beekeeper sells heather honey in jars."}, "Trains run hourly.")
    server.settle()
    query = "Please ignore the following filler. " * 80 + "Who sells heather honey?"

    for mode in ("hybrid", "text"):
        assert server.ids(query, mode=mode)[0] == "bees"


@pytest.mark.parametrize(
    "query", ["", " ", "?!", '"unbalanced (AND NOT', "a:b AND c*", "the of and", "\x00", "😀", "%_'; DROP TABLE"]
)
def test_any_text_is_a_query(incidents, query):
    for mode in ("hybrid", "vector", "text"):
        assert len(incidents.ids(query, mode=mode)) <= 10


def test_the_date_of_a_memory_is_part_of_its_text(server):
    server.write(
        {"id": "may", "content": "We signed the lease.", "occurred_at": "2023-05-08T09:00:00+02:00"},
        {"id": "june", "content": "We signed the lease.", "occurred_at": "2023-06-08T09:00:00+02:00"},
    )
    server.settle()

    assert server.ids("lease of June 2023", mode="text")[0] == "june"
    assert server.contents("lease of June 2023")[0] == "We signed the lease."


def test_neighbours_of_a_session_come_along(server):
    server.write(
        {"id": "q", "content": "Which pigment did Ilse choose for the fresco?", "session": "s"},
        {"id": "a", "content": "Ochre, she said.", "session": "s"},
        *({"id": f"n{number}", "content": f"Minutes of meeting {number}.", "session": "other"} for number in range(30)),
    )
    server.settle()

    assert server.ids("Which pigment did Ilse choose for the fresco?")[:2] == ["q", "a"]


def test_explanations_name_the_arms(incidents):
    from core.search.request import SearchRequest

    answer = incidents.tenant.query.search(incidents.namespace(), SearchRequest("ERR_4821", 3, "hybrid", explain=True))

    best = answer.hits[0].explanation
    assert best["text"]["rank"] == 1
    assert set(best) == {"text", "vector"}
    assert {"embed", "open", "filter", "vector", "text", "fuse", "hydrate"} <= set(answer.took_ms)
