"""Tallies: ordinary requests are counted by kind and written as one entry each, now and then.

So the log costs a request next to nothing, and grows by who does what, not by how often. The number of kinds in a
period is bounded: what is beyond is counted, and nothing else of it is kept.
"""

from core.audit.events import LOST, SERVER, Event


class Tallies:
    """Counts of a period by kind, at most ``kinds_max`` of them."""

    def __init__(self, since: int, kinds_max: int) -> None:
        self.since = since
        self.lost = 0
        self._kinds_max = kinds_max
        self.counts: dict[Event, int] = {}

    def add(self, kind: Event, count: int = 1) -> None:
        """Count a request; beyond the bound, as lost."""
        known = self.counts.get(kind, 0)
        if not known and len(self.counts) >= self._kinds_max:
            self.lost += count
            return
        self.counts[kind] = known + count

    def absorb(self, later: "Tallies") -> None:
        """Take in the counts of a later period, because this one could not be written."""
        self.lost += later.lost
        for kind, count in later.counts.items():
            self.add(kind, count)

    def events(self) -> list[Event]:
        """Return what is to be written."""
        counted = [kind._replace(times=count, since=self.since) for kind, count in self.counts.items()]
        lost = [Event(SERVER, LOST, times=self.lost, since=self.since)] if self.lost else []
        return counted + lost
