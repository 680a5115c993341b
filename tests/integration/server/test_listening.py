"""Listening to the world with a key; requiring keys on loopback."""

from tests.integration.processes import run_command


def test_with_a_key_the_server_listens_to_the_world_and_lets_nobody_in_without(server_folder, tmp_path):
    status, key, err = run_command(tmp_path, "keys", "create", "--scope", "read,write")
    assert status == 0, err
    server = server_folder("--host", "0.0.0.0").start()
    assert server.client.get("/v1/whoami").status_code == 401
    assert server.client.get("/v1/whoami", headers={"x-api-key": key.strip()}).status_code == 200
    server.stop()


def test_keys_can_be_required_on_loopback(server_folder):
    server = server_folder(environment={"OSTRAKA_AUTH__REQUIRE_KEY": "true"}).start()
    assert server.client.get("/health").json()["authentication"] == "keys"
    assert server.client.get("/v1/whoami").status_code == 401
    server.stop()
