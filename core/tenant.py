"""The parts that one process has open for one company."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from core.pipeline.admission import Admission
from core.pipeline.embedding import EmbedStage
from core.pipeline.groupcommit import GroupCommitter
from core.pipeline.indexing import IndexStage
from core.pipeline.maintenance import Reconciler
from core.records.company import CompanyRecords
from core.records.tables import Lane
from core.search.service import QueryService
from core.search.snapshots import SnapshotStore
from core.vectors import VectorSpace


@dataclass(frozen=True)
class Tenant:
    """Everything a process uses for one company."""

    records: CompanyRecords
    committer: GroupCommitter
    admission: Admission
    query: QueryService
    embed: EmbedStage
    index: IndexStage
    reconciler: Reconciler
    snapshots: SnapshotStore
    space: VectorSpace
    ring: Callable[[AbstractSet[Lane]], None]
