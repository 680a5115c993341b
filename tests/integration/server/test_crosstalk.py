"""Fifty namespaces written and searched at the same time: none sees anything of another."""

from concurrent.futures import ThreadPoolExecutor

NAMESPACES = 50


def test_fifty_namespaces_at_once_do_not_meet(client, namespace, finished):
    def name(number):
        return f"{namespace}-{number}"

    def write(number):
        rows = [
            {
                "namespace": name(number),
                "id": f"m{row}",
                "content": f"The colour of door {row} belongs to owner{number}x.",
            }
            for row in range(4)
        ]
        answer = client.post("/v1/memory/bulk", json=rows).json()
        single = client.post("/v1/memory", json={"namespace": name(number), "content": f"single owner{number}x"}).json()
        return [answer["job_id"], single["job_id"]]

    def read(number):
        found = client.post(
            "/v1/memory/search", json={"namespace": name(number), "query": "colour of door", "limit": 100}
        )
        listed = client.get("/v1/memory", params={"namespace": name(number)})
        foreign = {"namespace": name(number), "query": f"owner{(number + 1) % NAMESPACES}x", "mode": "text"}
        return (
            {hit["content"].split()[-1].rstrip(".") for hit in found.json()["results"]},
            {memory["content"].split()[-1].rstrip(".") for memory in listed.json()["memories"]},
            len(listed.json()["memories"]),
            client.post("/v1/memory/search", json=foreign).json()["results"],
        )

    with ThreadPoolExecutor(16) as pool:
        jobs = [job for made in pool.map(write, range(NAMESPACES)) for job in made]
        for job in jobs:
            assert finished(job)["state"] == "indexed"
        for number, (found, listed, count, foreign) in enumerate(pool.map(read, range(NAMESPACES))):
            assert found == {f"owner{number}x"}
            assert listed == {f"owner{number}x"}
            assert (count, foreign) == (5, [])
