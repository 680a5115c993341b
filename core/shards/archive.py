"""A shard's plaintext: one tar of its files, written and read in RAM-backed tmpfs only."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from core.crypto.sealedfile import CHUNK_BYTES
from core.errors import IntegrityError


def pack(folder: Path, archive: Path) -> None:
    """Write every file below ``folder`` into a tar, in name order, with nothing of this host in its headers."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as source:
                    tar.addfile(member, source)


def unpack(archive: Path, folder: Path) -> None:
    """Extract an authenticated tar into ``folder``. Raises ``IntegrityError`` when it is not one of ours."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                _extract(tar, member, folder)
    except (tarfile.TarError, EOFError) as error:
        raise IntegrityError(f"a shard's archive cannot be read: {type(error).__name__}") from None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file. Not with tarfile's own filters: the Python 3.11 of Debian 12 is older than they are."""
    target = folder / member.name
    content = tar.extractfile(member) if member.isreg() else None
    if content is None or not target.resolve().is_relative_to(folder.resolve()):
        raise IntegrityError("a shard's archive holds something else than files of its own")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(content, out)


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of a megabyte."""
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
