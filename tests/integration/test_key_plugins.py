"""Key sources found by entry point: the example of `docs/keys.md`, installed and used as it stands there."""

import base64
import json
import os
import re
import secrets

import pytest

from tests.integration.processes import ROOT, run_command
from tests.plugins import install_plugin

SECRET = secrets.token_bytes(32)


@pytest.fixture
def environment(tmp_path):
    """The example, installed, with its credential."""
    [example] = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "keys.md").read_text(), re.MULTILINE | re.DOTALL)
    folder = tmp_path / "installed"
    install_plugin(folder, "credential", "its_module:open_credential")
    (folder / "its_module.py").write_text(example)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ostraka-key").write_bytes(base64.b64encode(SECRET))
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "CREDENTIALS_DIRECTORY": str(credentials),
        "OSTRAKA_STORAGE__KEY_SOURCE": "credential",
        "OSTRAKA_STORAGE__KEY_SOURCE_OPTIONS": json.dumps({"name": "ostraka-key"}),
    }


def refused(tmp_path, environment) -> str:
    status, out, err = run_command(tmp_path, "keys", "list", environment=environment)
    assert status == 2, out + err
    assert base64.b64encode(SECRET).decode() not in out + err
    return err


def test_the_example_gives_a_store_its_key(tmp_path, environment):
    assert run_command(tmp_path, "keys", "list", environment=environment)[0] == 0
    assert "systemd credential ostraka-key" in run_command(tmp_path, "doctor", environment=environment)[1]
    assert "no key was found" in refused(tmp_path, {})
    key = base64.b64encode(SECRET).decode()
    assert run_command(tmp_path, "keys", "list", environment={"OSTRAKA_ENCRYPTION_KEY": key})[0] == 0
    (tmp_path / "credentials" / "ostraka-key").unlink()
    assert "name it in the unit" in refused(tmp_path, environment)


def test_two_plugins_of_a_name_are_refused(tmp_path, environment):
    install_plugin(tmp_path / "again", "credential", "another_module:open_credential")
    path = environment["PYTHONPATH"] + os.pathsep + str(tmp_path / "again")
    renamed = tmp_path / "again" / "credential-1.0.dist-info"
    (renamed / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    renamed.rename(renamed.with_name("another-1.0.dist-info"))
    assert "'credential' is installed twice" in refused(tmp_path, environment | {"PYTHONPATH": path})


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import not_there", "No module named 'not_there'"),
        ("", "has no attribute 'open_credential'"),
        ("def open_credential(*_): return object()", "needs `where` and `find`"),
    ],
)
def test_a_plugin_that_is_none_is_refused(tmp_path, environment, module, said):
    (tmp_path / "installed" / "its_module.py").write_text(module)
    assert said in refused(tmp_path, environment)
