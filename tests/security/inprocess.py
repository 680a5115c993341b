"""A server in this process: the real application over a real runtime, and which databases each request uses."""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from api.app import create_app
from core.clock import now_us
from core.records.apikeys import create_key, revoke_key, split_key
from core.records.tables import Lane
from core.runtime import Runtime
from core.settings import load_settings
from tests.security.tenants import COMPANIES

_HOUR_US = 3_600_000_000


class InProcess:
    """Companies, their keys, and a client; work in the background is done when told to."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        overrides = {
            "storage": {"path": str(folder / "data"), "database_url": database_url},
            "auth": {"require_key": True, "failures_per_minute": 1_000_000},
        }
        self.runtime = Runtime(load_settings(None, overrides), lambda *_: None)
        self.ids = {name: self.runtime.control.create_company(name).id for name in COMPANIES}
        self._names = {public: name for name, public in self.ids.items()}
        self._touched: set[str] = set()
        self.dead_keys = (self.make_revoked_key, self.make_expired_key)
        self.client = TestClient(
            create_app(self.runtime, anonymous_allowed=False, ping_redis=lambda: True), raise_server_exceptions=False
        )

    def __enter__(self) -> Self:
        event.listen(Engine, "before_cursor_execute", self._note)
        self.client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)
        event.remove(Engine, "before_cursor_execute", self._note)
        self.runtime.close()

    def make_key(self, company: str, scopes: Collection[str], patterns: Sequence[str]) -> str:
        return create_key(self.runtime.control, self.ids[company], sorted(scopes), patterns, None)

    def make_revoked_key(self, company: str) -> str:
        key = self.make_key(company, ["read", "write", "admin"], ["*"])
        revoke_key(self.runtime.control, split_key(key)[0])
        return key

    def make_expired_key(self, company: str) -> str:
        control = self.runtime.control
        control.clock = lambda: now_us() - 2 * _HOUR_US
        try:
            return create_key(control, self.ids[company], ["read", "write"], ["*"], now_us() - _HOUR_US)
        finally:
            control.clock = now_us

    def settle(self) -> None:
        """Embed and index everything that was accepted."""
        for company in self.ids.values():
            for lane in Lane:
                self.runtime.embed(company, lane)
            self.runtime.index(company)

    def touched(self) -> Collection[str]:
        """Return the companies whose databases were used since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def _note(self, connection: Any, *_: object) -> None:
        """Note whose database a statement is about to be run in: by the folder of its file, or by its schema."""
        if connection.dialect.name == "sqlite":
            used = Path(str(connection.engine.url.database)).parent.name
        else:
            asked = connection.connection.cursor().execute("SELECT current_schema()")
            used = str(asked.fetchone()[0]).removeprefix("ostraka_")
        if used in self._names:
            self._touched.add(self._names[used])
