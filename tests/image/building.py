"""Building the images' root file systems without a container engine: each instruction of the Dockerfile, for real.

The base image is stood in for by the same Debian release with its own Python 3.11, made by debootstrap.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.image.dockerfile import Stage, parse_argument, read_stages, replaced
from tests.image.rootfs import Rootfs

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "compose" / "Dockerfile"
_RELEASE: Final = "bookworm"
_PACKAGES: Final = "python3-dev,python3-venv,ca-certificates"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Built:
    """A stage that was built, and what its instructions left."""

    root: Path
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"


class Builder:
    """Builds stages below a folder; one that lies there from an earlier run is taken as it is."""

    def __init__(self, folder: Path, lent: Mapping[str, str], machine: Mapping[str, str], say: Callable[[str], None]):
        self._folder = folder
        self._lent = lent
        self._machine = dict(machine)  # variables that pip needs on this machine, in steps of the build alone
        self._say = say
        self._stages = read_stages(DOCKERFILE)

    def build(self, name: str) -> Built:
        """Build a stage and those that it needs. Raises ``CalledProcessError``, ``ValueError``."""
        stage = self._stages[name]
        base = self.build(stage.base) if stage.base in self._stages else self._base()
        copied = {source: self.build(source) for source in stage.copied_stages()}
        root, fresh = self._folder / name, not (self._folder / name).exists()
        built = Built(root, dict(base.variables), base.workdir)
        if fresh:
            partial = root.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(["cp", "-a", str(base.root), str(partial)], check=True)
            built.root = partial
        self._carry_out(stage, built, copied, fresh=fresh)
        if fresh:
            built.root = partial.rename(root)
        return built

    def _base(self) -> Built:
        root = self._folder / "base"
        if not root.exists():
            self._say(f"base: debootstrap {_RELEASE}")
            made = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _RELEASE, str(root)]
            subprocess.run(made, check=True)
            (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        return Built(root)

    def _carry_out(self, stage: Stage, built: Built, copied: Mapping[str, Built], *, fresh: bool) -> None:
        arguments: dict[str, str] = {}
        for word, value in stage.instructions:
            known = arguments | built.variables
            match word:
                case "ARG":
                    arguments.update([parse_argument(value)])
                case "ENV":
                    built.variables |= {key: replaced(text, known) for key, text in _pairs(value)}
                case "WORKDIR":
                    built.workdir = value
                    (built.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "COPY" if fresh:
                    self._copy(value, built, copied)
                case "RUN" if fresh:
                    self._say(f"{stage.name}: RUN {value}")
                    Rootfs(built.root, self._lent).build(value, self._machine | known, built.workdir)
                case "COPY" | "RUN" | "LABEL" | "USER" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                    pass  # carried out before, or what a running container makes of it
                case _:
                    raise ValueError(f"{word}: this builder does not know it")

    def _copy(self, value: str, built: Built, copied: Mapping[str, Built]) -> None:
        words = value.split()
        source = ROOT
        if words[0].startswith("--from="):
            source = copied[words.pop(0).removeprefix("--from=")].root
        *names, target = words
        for name in names:
            self._say(f"COPY {name} {target}")
            Rootfs(built.root, self._lent).copy(source, name, target, built.workdir)


def _pairs(value: str) -> list[tuple[str, str]]:
    return [parse_argument(word) for word in value.split()]
