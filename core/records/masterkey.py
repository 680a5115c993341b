"""The master key of a store: the one that its data names, or the first one."""

import structlog

from core.crypto.keys import MasterKey
from core.crypto.keysource import ENV_VARIABLE, KeySource, rotating
from core.errors import ConfigurationError

log = structlog.get_logger()


def master_key_of(source: KeySource, where: str, key_id: str) -> MasterKey:
    """Return the key that the store's data is sealed with. Raises ``ConfigurationError`` when it is not to be had."""
    master = source.find(key_id)
    if master is None:
        raise ConfigurationError(
            f"the data in {where} is sealed with master key {key_id}, and no key was found: set {ENV_VARIABLE}, "
            f"[storage] key_file or key_source, or put the key back ({source.where})"
        )
    if master.key_id != key_id:
        raise ConfigurationError(
            f"the data in {where} is sealed with master key {key_id}, the configured one "
            f"({source.where}) is {master.key_id}; configure the right key"
        )
    return master


def make_first_key(source: KeySource) -> MasterKey:
    """Return a new key, made current in its source. Raises ``ConfigurationError`` when the source makes none."""
    maker = rotating(source)
    master = maker.prepare_next()
    maker.promote(master)
    log.warning(
        "master_key_generated",
        where=source.where,
        key_id=master.key_id,
        meaning="without it the data cannot be opened: keep a copy",
    )
    return master
