"""The files to read: which they are, what they hold, and how they are opened."""

import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from cli.backfill.csvrows import CsvRows
from cli.backfill.jsonrows import JsonRows
from cli.backfill.lines import share_of
from cli.backfill.rows import Reader
from core.errors import ConfigurationError, InvalidInput

Format = Literal["jsonl", "csv", "tsv", "parquet"]
Packing = Literal["", "gz", "zst"]

STANDARD: Final = Path("-")
ENDINGS: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_PACKINGS: Final[dict[str, Packing]] = {".gz": "gz", ".zst": "zst"}


@dataclass(frozen=True)
class Source:
    """A file, or standard input."""

    path: Path
    name: str  # in reports, and in the ids of its rows: below the directory that was named
    format: Format
    packing: Packing
    bytes: int


def find_sources(target: Path, format: Format | None) -> tuple[list[Source], int]:  # noqa: A002 - the flag's name
    """Return the files in the order of their names, and how many others a directory holds, which are left out.

    Raises ``ConfigurationError`` naming what cannot be read, or whose format nothing tells.
    """
    if target == STANDARD:
        if format == "parquet":
            raise ConfigurationError("Parquet is read from its end: standard input has none; name a file")
        return [Source(target, "-", format or "jsonl", "", 0)], 0
    try:
        paths = _files_below(target) if target.is_dir() else [target]
        known = [(path, told) for path in paths if (told := _told(path, format))]
        sources = [Source(path, _name(path, target), told[0], told[1], path.stat().st_size) for path, told in known]
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be read: {error.strerror}; name another") from None
    if not sources:
        endings = ", ".join(ENDINGS)
        raise ConfigurationError(
            f"{target}: nothing here ends in {endings}, or one of them and .gz or .zst; see --format"
        )
    return sources, len(paths) - len(sources)


@contextmanager
def opened(source: Source, delimiter: str | None) -> Iterator[Reader]:
    """Yield a reader of the file. Raises ``InvalidInput`` when it is none of its format, ``OSError``."""
    if source.format == "parquet":
        from cli.backfill.parquetrows import ParquetRows  # noqa: PLC0415 - 25 MB that other formats need not

        if source.packing:
            raise InvalidInput("is Parquet in another packing: unpack it, Parquet packs by itself")
        yield ParquetRows(source.path)
        return
    with _stream(source) as (stream, raw):

        def share() -> float:
            return share_of(raw.tell, source.bytes)

        if source.format == "jsonl":
            yield JsonRows(stream, share)
        else:
            yield CsvRows(stream, share, delimiter or ("\t" if source.format == "tsv" else ","))


@contextmanager
def _stream(source: Source) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Yield the unpacked bytes of a file, and the file itself."""
    if source.path == STANDARD:
        yield sys.stdin.buffer, io.BytesIO()
        return
    with source.path.open("rb") as raw:
        if source.packing == "gz":
            with gzip.open(raw) as unpacked:
                yield io.BufferedReader(unpacked), raw
        elif source.packing == "zst":
            import pyarrow as pa  # noqa: PLC0415 - as above

            unpacked = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
            yield io.BufferedReader(unpacked), raw
        else:
            yield raw, raw


def _files_below(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    visible = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def _told(path: Path, format: Format | None) -> tuple[Format, Packing] | None:  # noqa: A002
    """Return what a file's name, or the flag, says of it."""
    packing = _PACKINGS.get(path.suffix.lower(), "")
    bare = path.with_suffix("") if packing else path
    found = format or ENDINGS.get(bare.suffix.lower())
    return (found, packing) if found else None


def _name(path: Path, target: Path) -> str:
    below = path.relative_to(target).as_posix() if path != target else path.name
    return os.fsencode(below).decode("utf-8", "backslashreplace")
