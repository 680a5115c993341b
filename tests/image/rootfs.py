"""A folder as a root file system, and commands run in it as a container engine would: to build it, or confined."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

# Mounts end with the namespace; of this machine only what is lent is seen, and nothing of that can be written.
_ENTER: Final = r"""
set -eu
root=$1 data=$2 lent=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
for pair in $lent; do
    source=${pair%%:*} target=$root${pair#*:}
    if [ -d "$source" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}"; touch "$target"; fi
    mount --bind "$source" "$target"
    mount -o remount,bind,ro "$target"
done
if [ -n "$data" ]; then
    mount -o remount,bind,ro "$root"
    mount --bind "$data" "$root/var/lib/ostraka"
    mount -t tmpfs -o size=256m,mode=1777,nosuid,nodev,noexec tmpfs "$root/tmp"
    mount -t tmpfs -o size=1g,mode=1777,nosuid,nodev,noexec tmpfs "$root/dev/shm"
fi
exec chroot "$root" "$@"
"""
USER: Final = 10_001
_NO_POWERS: Final = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
)


class Rootfs:
    """One root file system; ``lent`` says what of this machine is seen where in it."""

    def __init__(self, root: Path, lent: Mapping[str, str]) -> None:
        self.root = root
        self._lent = lent

    def build(self, command: str, variables: Mapping[str, str], workdir: str) -> None:
        """Run a shell command as root, as a RUN does. Raises ``CalledProcessError``."""
        within = ["/bin/sh", "-c", f"cd {shlex.quote(workdir)} && {command}"]
        subprocess.run(self._entered(within, variables, data=None), check=True)

    def confined(self, words: Sequence[str], variables: Mapping[str, str], data: Path) -> list[str]:
        """Return the command line that runs words as compose.yaml does: without powers, on a root that is read-only."""
        return self._entered([*_NO_POWERS, "env", "--chdir=/var/lib/ostraka", *words], variables, data)

    def copy(self, source: Path, name: str, target: str, workdir: str) -> None:
        """Copy a file or folder in, as a COPY does."""
        found, goal = source / name.lstrip("/"), self.root / os.path.join(workdir, target).lstrip("/")  # noqa: PTH118
        if found.is_dir():
            passed_over = shutil.ignore_patterns("__pycache__")
            shutil.copytree(found, goal, symlinks=True, dirs_exist_ok=True, ignore=passed_over)
        else:
            shutil.copy2(found, goal / found.name if target.endswith("/") else goal)

    def _entered(self, words: Sequence[str], variables: Mapping[str, str], data: Path | None) -> list[str]:
        lent = " ".join(f"{source}:{target}" for target, source in self._lent.items())
        named = [f"{name}={value}" for name, value in variables.items()]
        entering = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh"]
        return [*entering, str(self.root), str(data or ""), lent, "/usr/bin/env", "-i", *named, *words]
