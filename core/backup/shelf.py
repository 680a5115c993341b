"""A folder of backups: what they hold, and which of them has a namespace at a chosen generation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.backup.header import Header, read_header
from core.backup.manifest import Manifest, SavedNamespace
from core.backup.reading import BackupReader
from core.crypto.keys import MasterKey
from core.errors import ConfigurationError, IntegrityError, NotFound

SUFFIX: Final = ".ostraka"


@dataclass(frozen=True)
class Shelved:
    """A backup of a folder. Without a manifest it could not be opened, for the reason that ``fault`` gives."""

    path: Path
    header: Header
    manifest: Manifest | None
    fault: str = ""

    def namespace(self, company: str, name: str) -> SavedNamespace | None:
        """Return a namespace as the backup holds it."""
        companies = self.manifest.companies if self.manifest else []
        found = (each for saved in companies if saved.name == company for each in saved.namespaces if each.name == name)
        return next(found, None)


def look_through(folder: Path, find_key: Callable[[Header], MasterKey]) -> Sequence[Shelved]:
    """Return the backups of a folder, oldest first. Files that are none are passed over."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            found.append(_look_at(path, find_key))
        except IntegrityError:
            continue
    return sorted(found, key=lambda each: each.header.created_at)


def pick(shelf: Sequence[Shelved], company: str, namespace: str, generation: int) -> Shelved:
    """Return the backup that holds the newest state of a namespace up to a generation. Raises ``NotFound``."""
    held = [(found.generation, each) for each in shelf if (found := each.namespace(company, namespace))]
    fitting = [(found, each) for found, each in held if found <= generation]
    if not fitting:
        known = ", ".join(str(found) for found, _ in held) or "none"
        raise NotFound(
            f"no backup holds namespace {namespace!r} at generation {generation} or before; there are: {known}"
        )
    return max(fitting, key=lambda each: (each[0], each[1].header.created_at))[1]


def _look_at(path: Path, find_key: Callable[[Header], MasterKey]) -> Shelved:
    with path.open("rb") as source:
        header, _ = read_header(source)
        source.seek(0)
        try:
            return Shelved(path, header, BackupReader(source, find_key).manifest)
        except (ConfigurationError, IntegrityError) as error:
            return Shelved(path, header, None, error.message)
