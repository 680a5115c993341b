"""Shards damaged, lost or put back from before under a living server: it answers on, and builds them anew."""

import pytest

from tests.integration.processes import eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run

KINDS = ("flipped", "truncated", "missing", "put back")
FAULT = "a live shard damaged"


@pytest.fixture
def damage(lasting, rng):
    """Harm one live shard of a namespace; return whether there was one to harm so."""

    def harm(namespace: str, kind: str) -> bool:
        live = lasting.auditor.blobs(namespace)
        older = [path for path in live[0].parent.glob("*.shard") if path not in live] if live else []
        if not live or (kind == "put back" and not older):
            return False
        path = rng.choice(live)
        sealed = path.read_bytes()
        place = rng.randrange(len(sealed))
        match kind:
            case "flipped":
                path.write_bytes(sealed[:place] + bytes([sealed[place] ^ 1 << rng.randrange(8)]) + sealed[place + 1 :])
            case "truncated":
                path.write_bytes(sealed[:place])
            case "missing":
                path.unlink()
            case "put back":
                path.write_bytes(rng.choice(older).read_bytes())
        return True

    return harm


def test_damage_is_answered_around_and_repaired(lasting, plan, damage, rng):
    topology, auditor = lasting.topology, lasting.auditor
    with lasting.under(FAULT) as traffic:
        namespace = traffic.ledger.namespace
        for kind in KINDS * plan.damage_cycles:
            eventually(lambda: traffic.check() or auditor.blobs(namespace))
            traffic.run_for(rng.uniform(0.2, 0.6))
            topology.kill("api", "worker")  # opened shards lie in memory, where no disk can harm them
            assert damage(namespace, kind)
            topology.revive()
            lasting.goes_on(traffic, 0.5)
            lasting.recover(FAULT)
    eventually(lambda: auditor.damaged(namespace) == [])
