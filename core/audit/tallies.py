"""Tallies: ordinary requests are counted by kind and written as one entry each, now and then.

So the log costs a request next to nothing, and grows by who does what, not by how often. The number of kinds in a
period is bounded: what is beyond is counted, and nothing else of it is kept. So is that of an actor's addresses,
lest one that comes from everywhere takes the room of the others.
"""

from collections import defaultdict

from core.audit.events import ELSEWHERE, LOST, SERVER, Event


class Tallies:
    """Counts of a period by kind, at most ``kinds_max`` of them, from at most ``addresses_max`` of an actor."""

    def __init__(self, since: int, kinds_max: int, addresses_max: int) -> None:
        self.since = since
        self.lost = 0
        self._kinds_max = kinds_max
        self._addresses_max = addresses_max
        self._addresses: dict[str, set[str | None]] = defaultdict(set)
        self.counts: dict[Event, int] = {}

    def add(self, kind: Event, count: int = 1) -> None:
        """Count a request; beyond the addresses of its actor under ``ELSEWHERE``, beyond the kinds as lost."""
        if kind not in self.counts:
            kind = self._told_apart(kind)
            if kind not in self.counts and len(self.counts) >= self._kinds_max:
                self.lost += count
                return
            self._addresses[kind.actor].add(kind.address)
        self.counts[kind] = self.counts.get(kind, 0) + count

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

    def _told_apart(self, kind: Event) -> Event:
        addresses = self._addresses.get(kind.actor, ())
        if kind.address in addresses or len(addresses) < self._addresses_max:
            return kind
        return kind._replace(address=ELSEWHERE)
