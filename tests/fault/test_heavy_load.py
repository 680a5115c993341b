"""Many callers at once, shards rewritten under them: the ledger is the model, checked at every read and at the end."""

import pytest

from tests.stores import BOTH

RECORD_STORES = BOTH
pytestmark = pytest.mark.long_run


def test_eight_writers_eight_readers_deleters_and_compaction(lasting, plan):
    fault = "load, no fault"
    with lasting.under(fault, writers=8, readers=8, deleters=4, pause_s=0.15) as traffic:
        traffic.run_for(plan.load_s)
        lasting.recover(fault)
    assert traffic.ledger.deletes > traffic.ledger.writes // 20, "too little was deleted for shards to be rewritten"
