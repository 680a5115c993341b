"""Listening to the world with a key; requiring keys on loopback."""

from tests.commands import run_here


def test_with_a_key_the_server_listens_to_the_world_and_lets_nobody_in_without(server_folder, tmp_path):
    status, key, err = run_here(tmp_path, "keys", "create", "--scope", "read,write")
    assert status == 0, err
    server = server_folder("--host", "0.0.0.0").start()
    assert server.client.get("/v1/whoami").status_code == 401
    assert server.client.get("/v1/whoami", headers={"x-api-key": key.strip()}).status_code == 200
    server.stop()


def test_keys_can_be_required_on_loopback_and_have_rates_and_pages_of_a_named_origin_may_call(server_folder, tmp_path):
    status, key, err = run_here(tmp_path, "keys", "create", "--scope", "read", "--requests-per-s", "2")
    assert status == 0, err
    origin = "https://app.example"
    named = {"OSTRAKA_AUTH__REQUIRE_KEY": "true", "OSTRAKA_AUTH__CORS_ORIGINS": f'["{origin}"]'}
    server = server_folder(environment=named).start()
    assert server.client.get("/health").json()["authentication"] == "keys"
    assert server.client.get("/v1/whoami").status_code == 401

    answers = [server.client.get("/v1/whoami", headers={"x-api-key": key.strip()}) for _ in range(40)]
    assert answers[0].headers["ratelimit-limit"] == "2"
    assert (answers[0].headers["ratelimit-remaining"], answers[0].headers["ratelimit-reset"]) == ("1", "1")
    limited = next(answer for answer in answers if answer.status_code != 200)
    assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
    assert (limited.headers["retry-after"], limited.headers["ratelimit-remaining"]) == ("1", "0")

    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    preflights = {
        page: server.client.options("/v1/memory", headers=asked | {"origin": page})
        for page in (origin, f"{origin}.evil.example", "null", "http://app.example")
    }
    allowed = [answer.headers.get("access-control-allow-origin") for answer in preflights.values()]
    assert allowed == [origin, None, None, None]
    assert "access-control-allow-credentials" not in preflights[origin].headers
    server.stop()
