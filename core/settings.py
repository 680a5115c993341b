"""Settings: ``ostraka.toml``, over it ``OSTRAKA_SECTION__NAME`` variables, over those command-line flags.

Unknown names and impossible values stop the start with a ``ConfigurationError`` that names the setting.
Every setting is described in the README's table, which a test compares with this file.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.databaseurl import split_password
from core.errors import ConfigurationError
from core.settingrules import Origin, explain, fixed, of_postgres, some
from core.shards.bloboptions import BlobOptions, BlobsUrl

ENV_PREFIX = "OSTRAKA_"
# Read elsewhere on purpose: the key must not linger in a settings object, the model folder is the machine's.
ENV_CONFIG = "OSTRAKA_CONFIG"
ENV_DATABASE_URL = "OSTRAKA_STORAGE__DATABASE_URL"
ENV_SECRETS = "OSTRAKA_SECRETS_FD"  # internal: the pipe in which `serve` hands its worker the secrets
ENV_OUTSIDE_SETTINGS = frozenset(
    {
        "OSTRAKA_ENCRYPTION_KEY",
        "OSTRAKA_ENCRYPTION_KEY_NEXT",
        "OSTRAKA_API_KEY",
        "OSTRAKA_MODELS_DIR",
        ENV_CONFIG,
        ENV_SECRETS,
    }
)


class Section(BaseModel):
    """A table of ``ostraka.toml``; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    """Where the API listens."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(3300, ge=0, le=65_535, description="TCP port; 0 picks a free one")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="lines to read or JSON; `auto`: JSON unless on a terminal"
    )
    search_threads: int = Field(4, ge=1, le=256, description="searches that run at the same time in a process")
    tls_cert: Path | None = Field(None, description="certificate chain (PEM); with `tls_key` the server speaks TLS")
    tls_key: Path | None = Field(None, description="its private key (PEM), not readable by everybody")
    trusted_proxies: tuple[Annotated[IPvAnyNetwork, AfterValidator(some)], ...] = Field(
        (), description="addresses or networks whose `X-Forwarded-*` is believed"
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; set both or neither")
        return self


class Storage(Section):
    """Where the data rests and which key guards it."""

    path: Path = Field(Path("ostraka-data"), description="data directory")
    encryption: Literal["aes-256-gcm"] = Field("aes-256-gcm", description="the only cipher; it cannot be off")
    key_file: Path | None = Field(None, description="file with the master key (base64, 32 bytes), mode 0600")
    key_source: str = Field("", description="plugin that holds the master key, such as `vault`")
    key_source_options: dict[str, str] = Field({}, description="what that plugin wants to know; nothing secret")
    database_url: Annotated[str, AfterValidator(of_postgres)] = Field(
        "", repr=False, description="postgresql://user@host/db; empty: SQLite files in `path`"
    )
    database_password_file: Path | None = Field(None, description="file with that user's password, mode 0600")
    database_connections: int = Field(40, ge=4, le=1_000, description="connections a process may open to PostgreSQL")
    database_prepare: bool = Field(True, description="prepare statements there; not through a pooler that loses them")
    purge_s: float = Field(3_600.0, ge=1, le=2_592_000, description="deleted memories leave index files within this")
    free_bytes_min: int = Field(256 * 2**20, ge=0, description="free disk below which the server is not ready")
    blobs_url: BlobsUrl = Field("", description="object store for index files; empty: they lie in the data directory")
    blobs_options: BlobOptions = Field(BlobOptions(), description="how to reach it; nothing secret")
    blobs_secrets_file: Path | None = Field(None, description="file with its credentials, mode 0600")

    @model_validator(mode="after")
    def _of_an_object_store(self) -> Self:
        if self.blobs_url:
            self.blobs_options.refuse_for(self.blobs_url)
        elif self.blobs_options != BlobOptions() or self.blobs_secrets_file is not None:
            raise ValueError("blobs_options and blobs_secrets_file mean nothing without blobs_url; set it")
        return self


class Retrieval(Section):
    """How a search ranks."""

    mode: Literal["hybrid", "vector", "text"] = Field("hybrid", description="arms used when a query names none")
    fusion: Literal["linear", "rrf"] = Field("linear", description="how the arms' rankings become one")
    weight_dense: float = Field(0.4, ge=0, le=1, description="share of the vector arm in linear fusion")
    neighbour_share: float = Field(0.3, ge=0, le=1, description="score a hit lends to its session neighbours")
    hnsw_m: int = Field(16, ge=4, le=64, description="links per node of the graph")
    hnsw_ef_construction: int = Field(100, ge=16, le=1_000, description="candidates while building the graph")
    hnsw_ef_search: int = Field(128, ge=16, le=1_000, description="candidates while searching the graph")
    bm25_k1: Annotated[float, fixed(1.2)] = Field(1.2, description="fixed by the text index")
    bm25_b: Annotated[float, fixed(0.75)] = Field(0.75, description="fixed by the text index")


class Embeddings(Section):
    """Which model turns text into vectors, and on what."""

    model: str = Field("all-MiniLM-L6-v2", description="model of the catalogue, or an imported one")
    precision: Literal["int8", "fp32", "fp16"] = Field(
        "int8", description="of the model's weights, the same on every host; `int8` runs on CPUs only"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="where workers embed; queries are embedded on the CPU")
    device_id: int = Field(0, ge=0, le=255, description="which GPU of those that the process sees")
    gpu_memory_bytes_max: int = Field(
        4 * 2**30, ge=2**28, description="bytes of the GPU for weights and batches; CUDA itself takes more"
    )
    batch_size: int = Field(
        256, ge=1, le=4_096, description="memories an embed worker claims at a time; twice as many of a backfill"
    )
    threads: int = Field(0, ge=0, le=256, description="embedding threads; 0 means the cores we may use")

    @model_validator(mode="after")
    def _on_this_device(self) -> Self:
        if self.device == "cuda" and self.precision == "int8":
            raise ValueError("precision = 'int8' runs on the CPU only; set 'fp16' or 'fp32' for device = 'cuda'")
        return self


class Queue(Section):
    """The doorbell and the workers behind it."""

    redis_url: str = Field("", description="redis://… or rediss://…; empty: `serve` starts a private Redis")
    redis_password_file: Path | None = Field(None, description="file with the password for `redis_url`, mode 0600")
    lease_s: float = Field(60.0, ge=1, le=3_600, description="seconds a worker may hold a claim")
    attempts_max: int = Field(5, ge=1, le=100, description="claims of a memory before it is failed")
    depth_max: int = Field(500_000, ge=1, description="memories of a lane on their way; beyond it writes get 429")
    bytes_max: int = Field(2 * 2**30, ge=2**20, description="bytes of a lane on their way; beyond it writes get 429")
    stalled_s: float = Field(120.0, ge=1, description="age of the oldest waiting memory beyond which we are not ready")
    reconcile_s: float = Field(2.0, ge=0.1, le=3_600, description="seconds between looks for forgotten work")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.redis_password_file is not None:
            url = urlsplit(self.redis_url)
            if url.scheme not in {"redis", "rediss"} or url.password is not None:
                raise ValueError(
                    "redis_password_file goes with a redis_url such as redis://HOST:6379/0, without a password in it"
                )
        return self


class Worker(Section):
    """Workers, and the scheduler that rings for them."""

    host: str = Field("127.0.0.1", min_length=1, description="address of a worker's or scheduler's health and metrics")
    port: int = Field(0, ge=0, le=65_535, description="TCP port of health and metrics; 0: none")
    watch: bool = Field(True, description="look for forgotten work, besides any scheduler")
    hung_s: float = Field(
        1_800.0, ge=1, le=86_400, description="time without progress after which a worker is not alive"
    )


class Flower(Section):
    """The page on which Celery's tasks are seen."""

    host: str = Field("127.0.0.1", min_length=1, description="address that `ostraka flower` listens on")
    port: int = Field(5555, ge=0, le=65_535, description="its TCP port; 0 picks a free one")
    users_file: Path | None = Field(None, description="file with a `user:password` a line, mode 0600")


class Cache(Section):
    """Opened shards, in RAM-backed tmpfs."""

    path: Path = Field(Path("/dev/shm"), description="tmpfs directory for opened shards")  # noqa: S108 - it is tmpfs
    bytes_max: int = Field(4 * 2**30, ge=2**20, description="bytes of opened shards kept on this host")
    allow_disk: bool = Field(False, description="accept a directory that is not tmpfs (plaintext on disk!)")


class Auth(Section):
    """Who may call."""

    require_key: bool = Field(False, description="refuse calls without an API key even on loopback")
    requests_per_s: float | None = Field(None, gt=0, le=1e6, description="calls a second of a key that names no rate")
    failures_per_minute: int = Field(60, ge=1, le=1_000_000, description="wrong keys an address may send; beyond: 429")
    cors_origins: tuple[Origin, ...] = Field(
        (), description="origins of web pages that may call, such as https://app.example"
    )
    audit_days: int = Field(400, ge=0, le=36_500, description="days that the audit log goes back; 0 keeps all of it")


class Telemetry(Section):
    """Where traces are sent."""

    otlp_endpoint: str = Field(
        "",
        pattern=r"^$|^https?://[^\s@]+$",
        description="OTLP/HTTP collector, such as http://host:4318; empty: no traces",
    )
    sample_ratio: float = Field(1.0, ge=0, le=1, description="share of traces that are sent")


class Settings(BaseSettings):
    """All settings, validated. Build it with :func:`load_settings`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    server: Server = Server()
    storage: Storage = Storage()
    retrieval: Retrieval = Retrieval()
    embeddings: Embeddings = Embeddings()
    queue: Queue = Queue()
    worker: Worker = Worker()
    flower: Flower = Flower()
    cache: Cache = Cache()
    auth: Auth = Auth()
    telemetry: Telemetry = Telemetry()

    def as_environment(self) -> dict[str, str]:
        """Return the variables that make a child process load these same settings."""
        return {
            f"{ENV_PREFIX}{section}__{name}".upper(): value if isinstance(value, str) else json.dumps(value)
            for section, values in self.model_dump(mode="json").items()
            for name, value in values.items()
            if value is not None
        }


def load_settings(config: Path | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Load, merge and validate the settings.

    ``config`` defaults to ``ostraka.toml`` in the working directory, when there is one; ``overrides`` is the
    nested mapping of the flags given. Raises ``ConfigurationError`` naming each bad setting and the remedy.
    """
    path = config or Path(os.environ.get(ENV_CONFIG, "ostraka.toml"))
    if config is not None and not config.is_file():
        raise ConfigurationError(f"--config: there is no file {config}; create it or drop the flag")
    _refuse_unknown_variables()

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = TomlConfigSettingsSource(settings_cls, toml_file=path)
            return (init_settings, env_settings, toml)

    try:
        settings = Layered(**(overrides or {}))
        _refuse_written_password(settings)
        return settings
    except ValidationError as error:
        raise ConfigurationError(explain(error)) from None
    except ValueError as error:  # TOML syntax, or a variable that is not JSON where JSON is needed
        raise ConfigurationError(f"the settings cannot be read: {error}; correct {path} or the variable") from None


def _refuse_unknown_variables() -> None:
    known = {
        f"{ENV_PREFIX}{section}__{name}".upper()
        for section, field in Settings.model_fields.items()
        for name in type(field.default).model_fields
    }
    for name in sorted(os.environ):
        if name.startswith(ENV_PREFIX) and name not in known and name not in ENV_OUTSIDE_SETTINGS:
            raise ConfigurationError(
                f"{name}: there is no such setting; correct the name (OSTRAKA_SECTION__NAME) or unset it"
            )


def _refuse_written_password(settings: Settings) -> None:
    """Raise ``ConfigurationError`` when the settings file holds a password: others may read it."""
    url = settings.storage.database_url
    if url != os.environ.get(ENV_DATABASE_URL) and split_password(url)[1]:
        raise ConfigurationError(
            f"[storage] database_url: holds a password; give it in {ENV_DATABASE_URL}, or in database_password_file"
        )
