"""``ostraka backfill``: much at once, from files, into a server near or far."""
