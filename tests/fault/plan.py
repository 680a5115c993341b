"""How long a run is: a few minutes beside the other tests, or as long as `make fault` is told."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The length of each part."""

    kill_cycles: int = 4  # each part and all of them, once
    pause_s: float = 2.0  # how long Redis stands still
    load_s: float = 10.0
    restarts: int = 1
    redis_cycles: int = 1
    disk_cycles: int = 1
    damage_cycles: int = 1
    every: int = 29  # of the bytes of a shard, each how manieth is changed
    long: bool = False
