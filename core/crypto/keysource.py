"""Where the master key comes from: the environment, a file, a plugin, or a file made at the very first start.

A made key lies outside the data directory: a stolen disk image of the data must not carry it. When data exists and no
key is found the start is refused: a new key could not open it. ``docs/keys.md`` describes the sources and the plugins.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from platformdirs import user_config_path

from core.crypto.keyfile import KeyFile, PlainFormat
from core.crypto.keys import MasterKey
from core.crypto.keytext import decode_key
from core.errors import ConfigurationError
from core.settings import Storage

ENV_VARIABLE: Final = "OSTRAKA_ENCRYPTION_KEY"
ENV_NEXT: Final = "OSTRAKA_ENCRYPTION_KEY_NEXT"
ENV_VAULT_TOKEN: Final = "VAULT_TOKEN"  # noqa: S105 - the name of a variable
SECRET_VARIABLES: Final = (ENV_VARIABLE, ENV_NEXT, ENV_VAULT_TOKEN)
"""What a server takes out of its environment, and gives to its worker alone."""
PLUGINS: Final = "ostraka.key_sources"


@runtime_checkable
class KeySource(Protocol):
    """Holds the master key of one store. Used from several threads and processes at a time."""

    where: str
    """Where the key is, for people: in errors, the log and ``ostraka doctor``. Nothing secret."""

    def find(self, key_id: str | None, /) -> MasterKey | None:
        """Return the key of that id; without it, or for ``None``, the current key; ``None`` when there is no key yet.

        Called at each start and every few seconds of a server's life. Raises ``ConfigurationError`` when the operator
        must change something, ``Unavailable`` when it may work later.
        """


@runtime_checkable
class RotatingKeySource(KeySource, Protocol):
    """A source that can also make keys: at the first start of a store, and when its master key is rotated.

    A rotation calls ``prepare_next``, seals everything anew in one transaction, and calls ``promote``. After a crash in
    between, ``find`` must still find either key by its id, and ``prepare_next`` return the key that it returned before.
    """

    def prepare_next(self) -> MasterKey:
        """Return a new key once it is durable, beside the current one. Raises as ``find`` does."""

    def promote(self, key: MasterKey) -> None:
        """Make that key the current one, durably. Calling it again changes nothing. Raises as ``find`` does."""


@runtime_checkable
class KeepingKeySource(KeySource, Protocol):
    """A source that keeps the keys that were replaced, so that backups made before can be opened."""

    def find_replaced(self, key_id: str, /) -> MasterKey | None:
        """Return the replaced key of that id, if it was kept. Raises as ``find`` does."""


class EnvironmentKeySource:
    """The key in a variable, and the next one in another while it is rotated."""

    where = f"variable {ENV_VARIABLE}"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._current = decode_key(environment[ENV_VARIABLE], ENV_VARIABLE)
        following = environment.get(ENV_NEXT)
        self._next = decode_key(following, ENV_NEXT) if following else None

    def find(self, key_id: str | None) -> MasterKey:
        """Return the next key where its id is asked for, else the current one."""
        return self._next if self._next is not None and self._next.key_id == key_id else self._current

    def prepare_next(self) -> MasterKey:
        """Return the next key. Raises ``ConfigurationError`` when it was not given."""
        if self._next is None:
            raise ConfigurationError(
                f"{ENV_NEXT}: is not set; start every process with the next key in it, then rotate"
            )
        if self._next.key_id == self._current.key_id:
            raise ConfigurationError(f"{ENV_NEXT}: is the key that {ENV_VARIABLE} holds already; make another")
        return self._next

    def promote(self, key: MasterKey) -> None:
        """Change nothing: who sets the variables moves the next key into the first before the next start."""


class HeldKey:
    """A key that somebody found already, as of a backup that it opened."""

    def __init__(self, key: MasterKey, where: str) -> None:
        self.where = where
        self._key = key

    def find(self, _key_id: str | None) -> MasterKey:
        """Return the key."""
        return self._key


def open_key_source(storage: Storage, store_id: str, environment: Mapping[str, str]) -> KeySource:
    """Return the source that is configured for a store, or the file that is made where none is.

    Raises ``ConfigurationError`` when two are configured, or the one that is cannot be used.
    """
    given = {
        ENV_VARIABLE: environment.get(ENV_VARIABLE),
        "[storage] key_file": storage.key_file,
        "[storage] key_source": storage.key_source,
    }
    configured = [name for name, value in given.items() if value]
    if len(configured) > 1:
        raise ConfigurationError(f"{' and '.join(configured)}: a store has one master key; keep one of them")
    if storage.key_source_options and not storage.key_source:
        raise ConfigurationError("[storage] key_source_options: no key_source is set; name it, or remove the options")
    if storage.key_source:
        return _open_plugin(storage.key_source, store_id, storage.key_source_options, environment)
    if storage.key_file:
        if not storage.key_file.exists():
            raise ConfigurationError(f"[storage] key_file: there is no file {storage.key_file}; create it or unset it")
        return KeyFile(storage.key_file, PlainFormat(), "file")
    if environment.get(ENV_VARIABLE):
        return EnvironmentKeySource(environment)
    return KeyFile(generated_key_path(store_id), PlainFormat(), "generated file")


def find_for_backup(source: KeySource, key_id: str) -> MasterKey | None:
    """Return the key that a backup was made with, else what the source finds: the store's own data has newer keys.

    Raises as ``KeySource.find`` does.
    """
    found = source.find(key_id)
    if (found is None or found.key_id != key_id) and isinstance(source, KeepingKeySource):
        return source.find_replaced(key_id) or found
    return found


def rotating(source: KeySource) -> RotatingKeySource:
    """Return the source as one that makes keys. Raises ``ConfigurationError`` when it does not."""
    if not isinstance(source, RotatingKeySource):
        raise ConfigurationError(f"the key source ({source.where}) makes no keys; choose one that does")
    return source


def generated_key_path(store_id: str) -> Path:
    """Return where the generated key of a store lies."""
    return keys_folder() / f"{store_id}.key"


def keys_folder() -> Path:
    """Return the folder of the key files that we make: the user's, outside every data directory."""
    return user_config_path("ostraka") / "keys"


def _open_plugin(name: str, store_id: str, options: Mapping[str, str], environment: Mapping[str, str]) -> KeySource:
    found = list(entry_points(group=PLUGINS, name=name))
    if len(found) != 1:
        installed = ", ".join(sorted(entry_points(group=PLUGINS).names)) or "none"
        problem = "is installed twice" if found else "is not installed"
        raise ConfigurationError(f"[storage] key_source: {name!r} {problem}; there are: {installed}")
    try:
        factory: Callable[[str, Mapping[str, str], Mapping[str, str]], object] = found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"[storage] key_source: {name!r} cannot be loaded: {error}; install what it needs"
        ) from None
    source = factory(store_id, options, environment)
    if not isinstance(source, KeySource):
        raise ConfigurationError(f"[storage] key_source: {name!r} is no key source; it needs `where` and `find`")
    return source
