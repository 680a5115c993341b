"""Taking secrets, in processes of their own: what is done to them is for life."""

import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from cli.secrecy import handed_over, take_secrets

ROOT = Path(__file__).parents[3]
SECRETS = {"OSTRAKA_ENCRYPTION_KEY": "the-key", "OSTRAKA_ENCRYPTION_KEY_NEXT": "the-next", "VAULT_TOKEN": "the-token"}
PR_GET_DUMPABLE = 3


def report() -> None:
    """Take the secrets and print what this process shows of them then."""
    taken = take_secrets()
    shown = Path("/proc/self/environ").read_text() + repr(dict(os.environ)) + Path("/proc/self/cmdline").read_text()
    sys.stdout.write(
        json.dumps(
            {
                "pid": os.getpid(),
                "taken": taken,
                "shown": [name for name, value in SECRETS.items() if value in shown],
                "kept": os.environ.get("KEPT"),
                "url": os.environ.get("OSTRAKA_STORAGE__DATABASE_URL"),
                "arguments": sys.argv[1:],
                "core": resource.getrlimit(resource.RLIMIT_CORE),
                "dumpable": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE),
                "pipes": [link for link in map(os.readlink, descriptors()) if link.startswith("pipe:")],
            }
        )
    )


def descriptors() -> list[str]:
    return [f"/proc/self/fd/{number}" for number in (3, 4, 5, 6) if os.path.lexists(f"/proc/self/fd/{number}")]


def run(environment, **how) -> tuple[dict, int]:
    command = [sys.executable, __file__, "one", "two words"]
    base = {"PYTHONPATH": str(ROOT), "KEPT": "yes", "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=base | environment, stdout=subprocess.PIPE, **how) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(printed), process.pid


def test_secrets_are_taken_out_of_the_environment_that_the_kernel_shows():
    found, pid = run(SECRETS)
    assert found["taken"] == SECRETS
    assert found["shown"] == []
    assert found["pid"] == pid  # whoever watches over it does not lose it
    assert (found["kept"], found["arguments"]) == ("yes", ["one", "two words"])


def test_the_password_of_the_database_is_taken_out_of_its_address():
    url = "postgresql://ostraka:the-token@db/records"
    found, _ = run({"OSTRAKA_STORAGE__DATABASE_URL": url})
    assert found["taken"] == {"PGPASSWORD": "the-token"}
    assert found["shown"] == []
    assert found["url"] == "postgresql://ostraka@db/records"


def test_two_passwords_of_the_database_are_one_too_many():
    environment = {"OSTRAKA_STORAGE__DATABASE_URL": "postgresql://ostraka:one@db/records", "PGPASSWORD": "other"}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "api"],
        env={"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "both give a password" in done.stderr) == (2, True), done.stderr


def test_a_child_is_handed_secrets_that_nobody_sees():
    with handed_over(SECRETS) as (descriptors, variables):
        found, _ = run(variables, pass_fds=descriptors)
    assert found["taken"] == SECRETS
    assert found["shown"] == []
    assert found["pipes"] == []  # read to the end and closed


def test_where_there_are_none_none_are_taken():
    with handed_over({}) as (descriptors, variables):
        assert (descriptors, variables) == ((), {})
    assert run({})[0]["taken"] == {}


def test_a_process_that_took_secrets_is_not_dumped():
    for environment in ({}, SECRETS):
        found, _ = run(environment)
        assert (found["core"], found["dumpable"]) == ([0, 0], 0)


def test_a_process_whose_memory_cannot_be_closed_does_not_start():
    code = (
        "import ctypes, cli.secrecy\n"
        "class Refusing:\n"
        "    def prctl(self, *_):\n"
        "        ctypes.set_errno(1)\n"
        "        return -1\n"
        "ctypes.CDLL = lambda *_, **__: Refusing()\n"
        "cli.secrecy.take_secrets()\n"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ConfigurationError: the kernel does not close" in done.stderr, done.stderr


def test_a_descriptor_that_is_none_of_ours_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "api"],
        env={"PYTHONPATH": str(ROOT), "OSTRAKA_SECRETS_FD": "99"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "OSTRAKA_SECRETS_FD" in done.stderr) == (2, True), done.stderr


if __name__ == "__main__":
    report()
