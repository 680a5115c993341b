"""On which record stores the tests of a module run: ``RECORD_STORES = BOTH`` in it; without, in files alone."""

import pytest

BOTH = ("sqlite", "postgres")
POSTGRES = ("postgres",)
SQLITE = ("sqlite",)
LONG_ON_POSTGRES = ("sqlite", pytest.param("postgres", marks=pytest.mark.long_run))


def choose(metafunc: pytest.Metafunc, otherwise: tuple[str, ...]) -> None:
    """Run a test once for each store of its module, or of a mark of its own."""
    stores = getattr(metafunc.module, "RECORD_STORES", otherwise)
    chosen = any("record_store" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "record_store" in metafunc.fixturenames and not chosen and stores != SQLITE:
        metafunc.parametrize("record_store", stores, indirect=True)


IN_FILES = pytest.mark.parametrize("record_store", SQLITE, indirect=True)  # for one test of a module that runs on both
