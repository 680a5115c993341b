"""What was injected how often with what result, added up over a run."""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fault.plan import Plan


@dataclass
class Figures:
    """One kind of fault."""

    cycles: int = 0
    acknowledged_writes: int = 0
    acknowledged_deletes: int = 0
    lost: int = 0
    duplicated: int = 0
    resurrected: int = 0
    corruptions: int = 0  # of bytes, each tried by itself
    undetected: int = 0  # of those
    slowest_recovery_s: float = 0.0


@dataclass
class Report:
    """The figures of a run, by kind of fault, in the order of their first use."""

    seed: int
    faults: dict[str, Figures] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    def of(self, fault: str) -> Figures:
        return self.faults.setdefault(fault, Figures())

    def recovered(self, fault: str, seconds: float) -> None:
        figures = self.of(fault)
        figures.slowest_recovery_s = round(max(figures.slowest_recovery_s, seconds), 2)

    def survived(self, fault: str, writes: int) -> None:
        """Note a fault after which so many acknowledged writes were found, each once."""
        figures = self.of(fault)
        figures.cycles += 1
        figures.acknowledged_writes += writes

    def total(self) -> Figures:
        total = Figures()
        for each in fields(Figures):
            values = [getattr(figures, each.name) for figures in self.faults.values()]
            setattr(total, each.name, max(values, default=0.0) if each.name == "slowest_recovery_s" else sum(values))
        return total

    def write(self, path: Path) -> None:
        told = {
            "seed": self.seed,
            "seconds": round(time.time() - self.started),
            "total": asdict(self.total()),
            "faults": {name: asdict(figures) for name, figures in self.faults.items()},
        }
        path.write_text(json.dumps(told, indent=2) + "\n")

    def show(self) -> None:
        """Print it as a table, the sums last."""
        table = Table("fault", title=f"seed {self.seed}")
        for each in fields(Figures):
            table.add_column(each.name.replace("_", " "), justify="right")
        for name, figures in [*self.faults.items(), ("total", self.total())]:
            table.add_row(name, *(f"{value:,}" for value in asdict(figures).values()))
        Console(width=160).print(table)


class FaultRun:
    """A run of the fault suite, as a plugin of pytest: shows and writes its report at the end."""

    def __init__(self, plan: Plan, seed: int, path: Path | None = None) -> None:
        self.plan = plan
        self.report = Report(seed)
        self._path = path

    def pytest_terminal_summary(self) -> None:
        self.report.show()
        if self._path is not None:
            self.report.write(self._path)
            Console().print(f"written to {self._path}")
