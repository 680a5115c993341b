"""What the contract says about itself: every route explained, every problem documented, every example accepted."""

import json

import pytest

from tests.stores import BOTH

RECORD_STORES = BOTH
PROBLEMS = {"400", "401", "403", "413", "414", "422", "429", "500", "503"}


def operations(openapi):
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_route_has_a_summary_a_description_and_a_name(openapi):
    names = [operation["operationId"] for _, _, operation in operations(openapi)]
    assert len(names) == len(set(names))
    for method, path, operation in operations(openapi):
        assert operation["summary"], (method, path)
        assert operation["description"].endswith("."), (method, path)
        assert operation["tags"], (method, path)


def test_every_parameter_and_field_of_a_request_is_typed(openapi):
    for method, path, operation in operations(openapi):
        for parameter in operation.get("parameters", []):
            assert set(parameter["schema"]) & {"type", "anyOf", "enum", "$ref"}, (method, path, parameter["name"])


def test_every_route_documents_its_problems(openapi):
    for method, path, operation in operations(openapi):
        if path.startswith("/health"):
            continue
        documented = set(operation["responses"])
        assert documented >= PROBLEMS, (method, path)
        if "{" in path and method != "PUT":
            assert "404" in documented, (method, path)
        for status in documented:
            if status >= "400":
                [(kind, content)] = operation["responses"][status]["content"].items()
                assert kind == "application/problem+json", (method, path, status)
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_every_reference_leads_somewhere(openapi):
    text = json.dumps(openapi)
    wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert wanted <= set(openapi["components"]["schemas"])


def test_links_name_parameters_that_are_there(openapi):
    named = {operation["operationId"]: operation for _, _, operation in operations(openapi)}
    links = [
        link
        for _, _, operation in operations(openapi)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(links) > 20
    for link in links:
        known = {parameter["name"] for parameter in named[link["operationId"]].get("parameters", [])}
        assert set(link["parameters"]) <= known


def test_every_credential_is_documented(openapi):
    assert {"bearer": []} in openapi["security"]
    assert {"apiKey": []} in openapi["security"]
    assert set(openapi["components"]["securitySchemes"]) == {"bearer", "apiKey"}


def bodies(openapi):
    """Every example of a request body: its method, path, media type and the example."""
    for method, path, operation in operations(openapi):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in content:
                yield method, path, kind, content["example"]
            reference = content["schema"].get("$ref", "").rpartition("/")[2]
            for example in openapi["components"]["schemas"].get(reference, {}).get("examples", []):
                yield method, path, kind, example


def test_every_body_has_an_example_and_the_server_accepts_it(server, openapi):
    client = server.client
    with_body = {(method, path) for method, path, operation in operations(openapi) if "requestBody" in operation}
    tried = set()
    last = ("POST", "PATCH", "DELETE").index  # what is changed or ended must have been made
    for method, path, kind, example in sorted(bodies(openapi), key=lambda each: (last(each[0]), len(each[1]))):
        tried.add((method, path))
        target = path
        if "{memory_id}" in path:
            [first, *_] = client.get("/v1/memory", params={"namespace": "support"}).json()["memories"]
            target = path.replace("{memory_id}", first["id"]) + "?namespace=support"
        if "{key_id}" in path:
            target = path.replace("{key_id}", client.get("/admin/keys").json()["keys"][-1]["id"])
        if "{company_id}" in path:
            target = path.replace("{company_id}", client.get("/admin/companies").json()["companies"][-1]["id"])
        content = example if isinstance(example, str) else json.dumps(example)
        answer = client.request(method, target, content=content.encode(), headers={"content-type": kind})
        assert answer.status_code in {200, 201, 202}, (method, path, answer.text)
        client.post("/admin/unfreeze", json={})  # one of them freezes the server
    assert tried == with_body


@pytest.mark.parametrize("name", ["Problem", "AddMemory", "SearchMemory", "Memory", "Job", "NamespaceView"])
def test_the_contract_knows_our_words(openapi, name):
    assert openapi["components"]["schemas"][name]["description"]
