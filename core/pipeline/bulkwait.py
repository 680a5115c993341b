"""How long embedded bulk rows have waited for a flush, as this process sees it, whoever flushes."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.records.waiting import Waiting


@dataclass(frozen=True)
class _Seen:
    since: int
    oldest: int  # the id of the oldest of them then: flushes take the oldest, so one that is newer tells of a flush


class BulkWait:
    """Remembers since when each namespace's embedded bulk rows wait: first seen, or flushed last by any worker.

    Not since they were accepted: the end of a long load would have waited long before it was embedded, and each of its
    batches would be flushed alone. And not since this worker flushed: several would each flush what the others left.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def waited_s(self, waiting: Sequence[Waiting], now: int) -> dict[int, float]:
        """Return the seconds that the bulk rows of each namespace have waited; 0 where there are none."""
        self._seen = {each.namespace_id: self._look(each, now) for each in waiting if each.bulk}
        return {
            each.namespace_id: (now - self._seen[each.namespace_id].since) / 1e6 if each.bulk else 0.0
            for each in waiting
        }

    def _look(self, each: Waiting, now: int) -> _Seen:
        before = self._seen.get(each.namespace_id)
        if before is None or each.bulk_oldest > before.oldest:
            return _Seen(now, each.bulk_oldest)
        return _Seen(min(now, before.since), each.bulk_oldest)  # a clock may be set back
