"""The systemd units: valid, hardened, and true to our commands and settings."""

import re
import subprocess
from pathlib import Path

import pytest
import typer

from cli.main import app
from core.settings import ENV_OUTSIDE_SETTINGS, ENV_PREFIX, Settings
from tests.programs import environment_of, program

UNITS = Path(__file__).parents[2] / "systemd"
SERVICE = UNITS / "ostraka@.service"
ROLES = ("serve", "api", "query", "worker", "scheduler", "flower")
EXPOSURE_MAX = "20"  # of 100; a service with no hardening at all has 96


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = program("systemd-analyze")
    return subprocess.run(
        [found, *arguments], env=environment_of(found), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def installed(tmp_path):
    """The units as they are installed, but for the program, which is elsewhere here."""
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    return tmp_path


@pytest.mark.parametrize("role", ROLES)
def test_the_units_are_valid(installed, role):
    checked = analyze("verify", "--man=no", f"{installed}/ostraka@{role}.service", f"{installed}/ostraka.target")
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_fault_would_be_noticed(installed):
    unit = installed / "ostraka@.service"
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=mostly"))
    checked = analyze("verify", "--man=no", f"{installed}/ostraka@api.service")
    assert "protect system value" in checked.stderr


def test_the_service_is_hardened(installed):
    judged = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", f"{installed}/ostraka@.service")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_what_it_starts_and_sets_exists():
    text = SERVICE.read_text()
    assert re.findall(r"(?m)^ExecStart=.*/ostraka (.*)$", text) == ["%i"]
    assert set(ROLES) <= set(typer.main.get_command(app).commands)
    known = ENV_OUTSIDE_SETTINGS | {
        f"{ENV_PREFIX}{section}__{name}".upper()
        for section, field in Settings.model_fields.items()
        for name in type(field.default).model_fields
    }
    assert set(re.findall(r"OSTRAKA_\w+", text)) <= known


def test_every_role_has_the_time_that_it_takes_to_stop():
    from workers.worker import STOP_S

    given = int(re.findall(r"(?m)^TimeoutStopSec=(\d+)$", SERVICE.read_text())[0])
    assert given > 2 * STOP_S  # `serve` stops its worker, and then the API
