"""Where the shards of every company lie: in the data directory, or in an object store."""

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from core.errors import Unavailable
from core.records.folders import company_folder, remove_folder
from core.settings import Storage
from core.shards.blobs import Blobs, LocalBlobs
from core.shards.objectaccess import open_access
from core.shards.objectblobs import Access, ObjectBlobs

# An object store wants money for each answer.
_TRUST_S: Final = 10.0  # probes ask no more often
_LOOK_EVERY_S: Final = 600.0  # and who has left no more often


class Depot(Protocol):
    """The blob stores of all companies."""

    @property
    def where(self) -> str:
        """Where that is, for an operator."""

    def of(self, company: str) -> Blobs:
        """Return the blob store of a company."""

    def names(self, company: str) -> Iterator[str]:
        """Yield the names of a company's blobs, also of one that has left. Raises ``Unavailable``."""

    def remove(self, company: str) -> None:
        """Remove every file of a company that has left. Raises ``Unavailable``, ``OSError``."""

    def holding(self, companies: Iterable[str]) -> set[str]:
        """Return those of some companies that have files there, or had minutes ago. Raises ``Unavailable``."""

    def check(self) -> None:
        """Raise ``Unavailable`` when the place cannot be reached."""

    def answers(self) -> bool:
        """Say whether it can be reached, as it was a few seconds ago at most."""


class LocalDepot:
    """``<root>/companies/<company>/shards``. Whether the disk is well, the record store says, which is on it."""

    where = "the data directory"

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, company: str) -> LocalBlobs:
        """See ``Depot``."""
        return LocalBlobs(self._folder(company))

    def names(self, company: str) -> Iterator[str]:
        """See ``Depot``."""
        for path in self._folder(company).glob("*/*"):
            yield path.relative_to(self._folder(company)).as_posix()

    def remove(self, company: str) -> None:
        """See ``Depot``."""
        remove_folder(self._folder(company))

    def holding(self, companies: Iterable[str]) -> set[str]:
        """See ``Depot``."""
        return {company for company in companies if self._folder(company).exists()}

    def check(self) -> None:
        """See ``Depot``."""

    def answers(self) -> bool:
        """See ``Depot``."""
        return True

    def _folder(self, company: str) -> Path:
        return company_folder(self._root, company) / "shards"


class ObjectDepot:
    """``<url>/<company>/<namespace>/<shard>.shard`` in an object store."""

    def __init__(self, url: str, access: Access) -> None:
        self.where = url
        self._access = access
        self._sound_until = 0.0
        self._asking = threading.Lock()
        self._listed: set[str] = set()
        self._list_after = 0.0

    def of(self, company: str) -> ObjectBlobs:
        """See ``Depot``."""
        return ObjectBlobs(self._access, company)

    def names(self, company: str) -> Iterator[str]:
        """See ``Depot``."""
        return self.of(company).names()

    def remove(self, company: str) -> None:
        """See ``Depot``."""
        self.of(company).remove()

    def holding(self, companies: Iterable[str]) -> set[str]:
        """See ``Depot``."""
        if time.monotonic() >= self._list_after:
            self._listed = self._access.folders()
            self._list_after = time.monotonic() + _LOOK_EVERY_S
        return self._listed.intersection(companies)

    def check(self) -> None:
        """See ``Depot``."""
        self._access.check()

    def answers(self) -> bool:
        """See ``Depot``."""
        with self._asking:
            if time.monotonic() < self._sound_until:
                return True
            try:
                self.check()
            except Unavailable:
                return False
            self._sound_until = time.monotonic() + _TRUST_S
            return True


def open_depot(storage: Storage, root: Path) -> Depot:
    """Return the depot of a data directory, as the settings say. Raises ``ConfigurationError``."""
    if not (url := storage.blobs_url):
        return LocalDepot(root)
    return ObjectDepot(url, open_access(url, storage.blobs_options, storage.blobs_secrets_file))
