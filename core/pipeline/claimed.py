"""What claimed rows hold, opened: the texts to embed, and why the others have none."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sqlalchemy import Connection

from core.errors import IntegrityError, KeyUnusable, NotFound, WrongKey
from core.pipeline.patience import Patience
from core.records.claims import Claim
from core.records.company import CompanyRecords, Namespace, use_newest_keys
from core.records.rows import open_content, searchable_text


@dataclass(frozen=True)
class Batch:
    """Claimed rows with their texts, and the ids of those that did not open."""

    claim: Claim
    namespaces: Sequence[Namespace]
    rows: Sequence[int]
    texts: Sequence[str]
    broken: Sequence[int]
    outdated: Sequence[int]  # they name a version of a key that there is no more: sealed anew meanwhile, if sound
    aside: Sequence[int]  # of the namespaces whose key cannot be used: nothing is known of them
    unusable: AbstractSet[int]


def open_claim(records: CompanyRecords, claim: Claim) -> Batch:
    """Open the rows of a claim; those of a namespace that was deleted a moment ago are in no list."""
    found, broken, outdated, unusable = [], [], [], set()
    for row in claim.rows:
        if row.namespace_id in unusable:
            continue
        try:
            namespace = _namespace(records, row.namespace_id)
            found.append((row, namespace, searchable_text(open_content(namespace, row.id, row.sealed))))
        except NotFound:
            continue
        except KeyUnusable:
            unusable.add(row.namespace_id)
        except WrongKey:
            outdated.append(row)
        except IntegrityError:
            broken.append(row)
    kept = [each for each in found if each[0].namespace_id not in unusable]
    return Batch(
        claim=claim,
        namespaces=[namespace for _, namespace, _ in kept],
        rows=[row.id for row, _, _ in kept],
        texts=[text for _, _, text in kept],
        broken=[row.id for row in broken if row.namespace_id not in unusable],
        outdated=[row.id for row in outdated if row.namespace_id not in unusable],
        aside=[row.id for row in claim.rows if row.namespace_id in unusable],
        unusable=unusable,
    )


def unusable_among(connection: Connection, namespaces: Sequence[Namespace], patience: Patience) -> set[int]:
    """Let every namespace seal with the key that it has now; return those whose key cannot be used."""
    unusable = set()
    for namespace in {each.id: each for each in namespaces}.values():
        try:
            use_newest_keys(connection, [namespace])
            patience.succeeded(str(namespace.id))
        except KeyUnusable:
            unusable.add(namespace.id)
    return unusable


def _namespace(records: CompanyRecords, namespace_id: int) -> Namespace:
    """Return a namespace. Raises ``NotFound``, ``KeyUnusable`` also where it does not open: no row is at fault."""
    try:
        return records.namespace_by_id(namespace_id)
    except IntegrityError as error:
        raise KeyUnusable(f"a namespace cannot be opened: {error.message}") from None
