"""Redis emptied, restarted, stopped, locked, full, gone: writes and searches go on, and all is indexed afterwards."""

import signal

from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES
FAULT_S = 0.7


def test_emptied(lasting, plan):
    with lasting.under("Redis: FLUSHALL") as traffic:
        for _ in range(plan.redis_cycles):
            with lasting.topology.connection() as connection:
                connection.flushall()
            lasting.goes_on(traffic, FAULT_S)
            lasting.recover("Redis: FLUSHALL")


def test_restarted(lasting, plan):
    with lasting.under("Redis: restart") as traffic:
        for _ in range(plan.redis_cycles):
            lasting.topology.end("redis")
            lasting.topology.revive()
            lasting.goes_on(traffic, FAULT_S)
            lasting.recover("Redis: restart")


def test_standing_still(lasting, plan):
    with lasting.under("Redis: SIGSTOP") as traffic:
        lasting.topology.redis.send_signal(signal.SIGSTOP)
        lasting.goes_on(traffic, plan.pause_s)
        lasting.topology.redis.send_signal(signal.SIGCONT)
        lasting.recover("Redis: SIGSTOP")


def test_with_another_password(lasting, plan):
    with lasting.under("Redis: wrong password") as traffic:
        for _ in range(plan.redis_cycles):
            with lasting.topology.connection() as connection:
                connection.config_set("requirepass", "another")
                connection.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            lasting.goes_on(traffic, FAULT_S)
            with lasting.topology.connection(password="another") as connection:
                connection.config_set("requirepass", "")
            lasting.recover("Redis: wrong password")


def test_full(lasting, plan):
    with lasting.under("Redis: maxmemory") as traffic:
        for _ in range(plan.redis_cycles):
            with lasting.topology.connection() as connection:
                connection.config_set("maxmemory", "1mb")
            lasting.goes_on(traffic, FAULT_S)
            with lasting.topology.connection() as connection:
                connection.config_set("maxmemory", "0")
            lasting.recover("Redis: maxmemory")


def test_gone_and_back(lasting, plan):
    with lasting.under("Redis: gone") as traffic:
        lasting.topology.kill("redis")
        lasting.goes_on(traffic, plan.pause_s)
        lasting.recover("Redis: gone")
