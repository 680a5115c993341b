"""Whether the audit log is whole: every entry opens where it lies and follows the one before, from base to head."""

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from core.audit.log import AuditLog, Mark
from core.records.audittables import entries

_TOLD_MAX: Final = 100


@dataclass(frozen=True)
class Fault:
    """An entry that is not as it was written, and what is wrong with it."""

    seq: int
    what: str


@dataclass
class Verdict:
    """What was found: the entries looked at, and the faults in their order, the first hundred of them."""

    first: int = 0
    last: int = 0
    entries: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def tell(self, seq: int, what: str) -> None:
        """Add a fault, while there are few."""
        if len(self.faults) < _TOLD_MAX:
            self.faults.append(Fault(seq, what))


def verify_log(log: AuditLog) -> Verdict:
    """Walk the whole log at one moment. Raises ``IntegrityError`` when its key, base or head does not open."""
    head, verdict = log.head(), Verdict()
    with log.database.read() as connection:
        before = base = log.base(connection)
        verdict.first = base.seq + 1
        for row in connection.execute(select(entries).order_by(entries.c.seq).execution_options(yield_per=1_000)):
            at = Mark(row.seq, row.link)
            if row.seq != before.seq + 1:
                verdict.tell(before.seq + 1, f"missing, up to entry {row.seq - 1}")
            elif log.key.link(before.link, row.seq, row.sealed) != row.link:
                verdict.tell(row.seq, "does not follow the entry before it")
            if log.read_entry(row).damaged:
                verdict.tell(row.seq, "changed, or not where it was written")
            if at.seq == head.seq and at.link != head.link:
                verdict.tell(row.seq, "not the entry that the control store noted")
            before = at
            verdict.entries += 1
    if before.seq < head.seq:
        verdict.tell(before.seq + 1, f"missing, up to entry {head.seq}: the log was cut, or an older one put back")
    verdict.last = before.seq
    return verdict
