"""What a backup holds, as it says itself: the first file of its archive. The last one has the files' hashes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.backup.archive import Entry
from core.errors import IntegrityError

MANIFEST_NAME: Final = "manifest.json"
HASHES_NAME: Final = "sha256.json"
CONTROL_NAME: Final = "control.db"
AUDIT_NAME: Final = "audit.db"
FORMAT: Final = 1
_ID: Final = "[a-z0-9]{1,37}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SavedShard(_Part):
    """A live shard; without ``bytes`` it was missing or damaged, and is built anew after a restore."""

    namespace: Annotated[str, Field(pattern=f"^ns_{_ID}$")]
    id: Annotated[str, Field(pattern=f"^sh_{_ID}$")]
    bytes: int | None


class SavedNamespace(_Part):
    """A namespace in numbers: all its rows, and its memories that are neither deleted nor replaced."""

    id: str
    name: str
    generation: int
    rows: int
    memories: int


class SavedCompany(_Part):
    """A company with its record store and shards."""

    id: Annotated[str, Field(pattern=f"^co_{_ID}$")]
    name: str
    records_bytes: int
    namespaces: list[SavedNamespace]
    shards: list[SavedShard]


class Manifest(_Part):
    """Everything that a backup holds."""

    format: int
    control_bytes: int
    audit_bytes: int | None = None  # a backup of one company has no audit log
    companies: list[SavedCompany]

    def entries(self) -> Iterator[Entry]:
        """Yield the files, in the order in which they lie in the archive."""
        yield Entry(CONTROL_NAME, self.control_bytes)
        if self.audit_bytes is not None:
            yield Entry(AUDIT_NAME, self.audit_bytes)
        for company in self.companies:
            yield Entry(f"{company.id}/records.db", company.records_bytes)
            for shard in company.shards:
                if shard.bytes is not None:
                    yield Entry(f"{company.id}/{shard.namespace}/{shard.id}.shard", shard.bytes)


def parse_manifest(text: bytes) -> Manifest:
    """Return the manifest that a backup carries. Raises ``IntegrityError`` when this server does not understand it."""
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        raise IntegrityError("the backup's manifest is not one that this server understands") from None
    if manifest.format != FORMAT:
        raise IntegrityError("the backup's manifest has a format that this server does not know")
    return manifest


def is_shard(name: str) -> bool:
    """Say whether a file of the archive is a shard."""
    return name.endswith(".shard")


def place_of(name: str, root: Path) -> Path:
    """Return where a file of the archive lies in a data directory."""
    match name.split("/"):
        case [company, namespace, shard]:
            return root / "companies" / company / "shards" / namespace / shard
        case [company, records]:
            return root / "companies" / company / records
    return root / name
