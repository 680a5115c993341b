"""Which memories of a shard a search may see: present, not expired, within the request's scope."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.records.overlay import Masked
from core.search.request import Scope
from core.shards.attributes import NEVER, Attributes
from core.shards.reader import OpenShard

Mask = npt.NDArray[np.bool_]


def visible(shard: OpenShard, overlay: Mapping[int, Masked], scope: Scope, now: int) -> Mask | None:
    """Return bool[rows] for a shard, or ``None`` when every row may answer (the common, free case)."""
    parts = [] if scope.is_open else [matches(shard.attributes, scope)]
    if shard.manifest.expires_min and shard.manifest.expires_min <= now:
        parts.append(shard.attributes.times("expires_at") > now)
    if (present := _present(shard, overlay, scope.as_of)) is not None:
        parts.append(present)
    return np.logical_and.reduce(parts) if parts else None


def matches(attributes: Attributes, scope: Scope) -> Mask:
    """Return bool[rows]: which rows the request's own conditions allow."""
    result = np.ones(attributes.rows, np.bool_)
    occurred = attributes.times("occurred_at")
    if scope.since is not None:
        result &= occurred >= scope.since
    if scope.until is not None:
        result &= occurred < scope.until
    if scope.as_of is not None:
        result &= attributes.times("created_at") <= scope.as_of
    if scope.session is not None:
        result &= _equals(attributes.column("session"), scope.session)
    if scope.tags:
        result &= _has_tags(attributes.column("tags"), scope.tags)
    if scope.filter is not None:
        result &= scope.filter.mask(attributes)
    return result


def _present(shard: OpenShard, overlay: Mapping[int, Masked], as_of: int | None) -> Mask | None:
    """Return which rows stand now, or stood at ``as_of``; rows that pass on to a successor still stand."""
    ids = np.fromiter(overlay, np.int64, len(overlay))
    rows = shard.locate(ids) if len(ids) else ids
    held = [(int(row), overlay[int(id_)]) for row, id_ in zip(rows, ids, strict=True) if row >= 0]
    if not held and not shard.manifest.closed:
        return None
    moment = NEVER - 1 if as_of is None else as_of
    standing: Mask = shard.attributes.times("closed_at") > moment
    standing = standing.copy()
    for row, masked in held:
        closed = masked.closed_at is not None and masked.closed_at <= moment
        standing[row] = not masked.deleted and (not closed or (as_of is None and masked.forward))
    return standing


def _equals(column: pa.DictionaryArray, value: str) -> Mask:
    code = pc.index(column.dictionary, value).as_py()
    codes: npt.NDArray[np.int32] = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes == code if code >= 0 else np.zeros(len(column), np.bool_)


def _has_tags(column: pa.ListArray, wanted: Sequence[str]) -> Mask:
    result = np.ones(len(column), np.bool_)
    owners = pc.list_parent_indices(column).to_numpy()
    values = pc.list_flatten(column)
    for tag in wanted:
        has = np.zeros(len(column), np.bool_)
        has[owners[pc.equal(values, tag).to_numpy(zero_copy_only=False).astype(np.bool_)]] = True
        result &= has
    return result
