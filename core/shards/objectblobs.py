"""Sealed shards in an object store: S3, or what speaks like it, Google Cloud Storage, Azure.

A shard is written once: a small one in one request that the store refuses where the name is taken, a larger one in
parts, which nobody sees before the last request joins them. Requests that fail in passing are repeated by ``obstore``,
a body that breaks off or stands still from where it broke; what it does not repeat, a request that may have been done,
is repeated here, where it can be told whether it was. Bytes that an answer lacks are never taken for a shorter shard.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from core.errors import IntegrityError, Unavailable
from core.shards.blobs import Counted, StoredFile, missing

WHOLE_BYTES: Final = 8 * 2**20  # what is smaller goes out in one request
PART_BYTES: Final = 8 * 2**20  # the most parts that S3 takes, 10,000, make 80 GB
PIECE_BYTES: Final = 8 * 2**20  # of one reading request: its time is bounded, and what is repeated if it breaks off
_PARTS_AT_ONCE: Final = 4  # 32 MiB in memory
_TRIES: Final = 3
_NOBODY: Final = "co_/ns_"  # a prefix below which nothing lies


@dataclass(frozen=True)
class Access:
    """How an object store is reached: once for reading, once, more patiently, for writing."""

    reading: Any
    writing: Any
    patience_s: float  # how long a request may take

    def check(self) -> None:
        """Ask for something that is not there. Raises ``Unavailable`` when the bucket does not answer."""
        with _translated("looked for"):
            for _ in obstore.list(self.reading, prefix=_NOBODY):
                pass

    def folders(self) -> set[str]:
        """Return the names of the outermost folders. Raises ``Unavailable``."""
        with _translated("listed"):
            return {prefix.rstrip("/") for prefix in obstore.list_with_delimiter(self.reading)["common_prefixes"]}


class ObjectBlobs:
    """The sealed files of one company, below its id."""

    def __init__(self, access: Access, company: str) -> None:
        self._access = access
        self._folder = f"{company}/"

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store a blob; return its size once the store has confirmed it. One that lies there already must be the same.

        Raises ``Unavailable``, then nobody may list it, and ``IntegrityError`` where another lies under that name.
        """
        sized = Counted(chunks)
        start = _take(sized, WHOLE_BYTES)
        with _translated("written"):
            if len(start) < WHOLE_BYTES:
                self._put_whole(name, start)
            else:
                self._put_parts(name, start, sized)
        return sized.size

    def get(self, name: str) -> Iterator[bytes]:
        """Yield a blob's bytes, piece by piece, all of them. Raises as ``Blobs.get`` does."""
        with _translated("read"):
            found = self._find(name)
            if found is None:
                raise missing(name)
            for start in range(0, found["size"], PIECE_BYTES):
                try:
                    yield self._piece(name, start, min(start + PIECE_BYTES, found["size"]), found["e_tag"])
                except FileNotFoundError:  # removed meanwhile
                    raise missing(name) from None

    def delete(self, name: str) -> None:
        """See ``Blobs``."""
        with _translated("removed"):
            try:
                obstore.delete(self._access.writing, self._folder + name)
            except FileNotFoundError:
                self._access.check()

    def size(self, name: str) -> int | None:
        """See ``Blobs``."""
        with _translated("found"):
            found = self._find(name)
        return None if found is None else int(found["size"])

    def names(self, prefix: str = "") -> Iterator[str]:
        """See ``Blobs``."""
        for entry in self._entries(prefix):
            yield str(entry["path"]).removeprefix(self._folder)

    def files(self) -> Iterator[StoredFile]:
        """Yield every blob; parts that nobody joined are seen by the store alone, which is told to remove them."""
        for entry in self._entries(""):
            modified_at = int(entry["last_modified"].timestamp() * 1e6)
            yield StoredFile(str(entry["path"]).removeprefix(self._folder), modified_at, int(entry["size"]))

    def check(self) -> None:
        """See ``Blobs``."""
        self._access.check()

    def remove(self) -> None:
        """Remove every blob of the company. Raises ``Unavailable``."""
        with _translated("removed"):
            for page in obstore.list(self._access.reading, prefix=self._folder):
                with suppress(FileNotFoundError):
                    obstore.delete(self._access.writing, [entry["path"] for entry in page])

    def _put_whole(self, name: str, content: bytes) -> None:
        """Store a blob in one request. One whose answer was lost is repeated, and then finds its own work."""
        again = Retrying(
            retry=retry_if_exception_type(GenericError),
            stop=stop_after_attempt(_TRIES) | stop_after_delay(self._access.patience_s),
            wait=wait_random_exponential(0.1, max=2),
            reraise=True,
        )
        path = self._folder + name
        try:
            again(obstore.put, self._access.writing, path, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            self._refuse_another(name, [content])

    def _put_parts(self, name: str, start: bytes, rest: Counted) -> None:
        """Store a blob in parts; what the store has of one that fails is given up, and never listed."""
        pieces = chain([start], rest)
        if self._find(name) is not None:
            self._refuse_another(name, pieces)
            return
        failure: Exception | None = None
        try:
            obstore.put(
                self._access.writing,
                self._folder + name,
                pieces,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        except (BaseError, FileNotFoundError) as error:  # it may have been done, and only the answer was lost
            failure = error
        found = self._find(name)
        if found is None or found["size"] != rest.size:
            raise failure or _unavailable("written", "kept less than it confirmed")

    def _refuse_another(self, name: str, chunks: Iterable[bytes]) -> None:
        if _digest(chunks) != _digest(self.get(name)):
            raise IntegrityError(
                f"shard {Path(name).stem} lies in the object store already, with other bytes; "
                "see that no other server uses [storage] blobs_url"
            )

    def _find(self, name: str) -> Any:
        """Return what the store says of a blob, none when it is missing."""
        try:
            return obstore.head(self._access.reading, self._folder + name)
        except FileNotFoundError:
            self._access.check()  # a bucket that is missing looks the same
            return None

    def _piece(self, name: str, start: int, end: int, e_tag: str | None) -> bytes:
        """Return some of a blob's bytes. Those of another blob that was put in its place are an error."""
        options: Any = {"range": (start, end), "if_match": e_tag}
        for _ in range(_TRIES):
            piece = bytes(obstore.get(self._access.reading, self._folder + name, options=options).bytes())
            if len(piece) == end - start:
                return piece
        raise _unavailable("read", "answered with too few bytes")

    def _entries(self, prefix: str) -> Iterator[Any]:
        with _translated("listed"):
            for page in obstore.list(self._access.reading, prefix=self._folder + prefix, chunk_size=1_000):
                yield from page


def _take(chunks: Iterator[bytes], size: int) -> bytes:
    """Return at least so many bytes from a stream, or all that there are."""
    taken = bytearray()
    while len(taken) < size and (chunk := next(chunks, None)) is not None:
        taken += chunk
    return bytes(taken)


def _digest(chunks: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn what an object store raises into ``Unavailable``. What it says is not repeated: it holds addresses."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise _unavailable(what, f"gave {type(error).__name__}") from None


def _unavailable(what: str, why: str) -> Unavailable:
    return Unavailable(
        f"a stored shard could not be {what}: the object store of [storage] blobs_url {why}; "
        "look at it, and at our rights there",
        code="blob_unavailable",
    )
