"""Opening an object store as the settings say, with the credentials that the provider's own means or a file give."""

import json
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from obstore.exceptions import BaseError
from obstore.store import from_url

from core.errors import ConfigurationError
from core.privacy import read_private
from core.shards.bloboptions import BlobOptions
from core.shards.objectblobs import Access

_REQUEST_FACTOR: Final = 6  # a whole request, its body included, may take so many times what an answer may stand still
_RETRIES: Final = 2  # of a request, by obstore, with jitter
_BACKOFF: Final = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}
_SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "s3": frozenset({"access_key_id", "secret_access_key", "session_token"}),
    "az": frozenset({"account_key", "sas_key", "client_id", "client_secret", "tenant_id"}),
}


def open_access(url: str, options: BlobOptions, secrets_file: Path | None) -> Access:
    """Open an object store; nothing is sent to it yet. Raises ``ConfigurationError``."""
    scheme = url.partition(":")[0]
    config: Any = _config(scheme, options) | (_secrets(scheme, secrets_file) if secrets_file else {})
    request_s = options.timeout_s * _REQUEST_FACTOR
    client: Any = {
        "timeout": timedelta(seconds=request_s),
        "connect_timeout": timedelta(seconds=options.timeout_s),
        "allow_http": options.endpoint.startswith("http://"),
        **({"root_certificate": _certificates(options.ca_file)} if options.ca_file else {}),
    }
    retry: Any = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=request_s), "backoff": _BACKOFF}
    reading = client | {"read_timeout": timedelta(seconds=options.timeout_s)}  # it would bound a whole upload, too
    try:
        return Access(
            from_url(url, config=config, client_options=reading, retry_config=retry),
            from_url(url, config=config, client_options=client, retry_config=retry),
            request_s,
        )
    except (BaseError, ValueError) as error:  # its text may hold a secret
        raise ConfigurationError(
            f"[storage] blobs_url: {url} cannot be opened ({type(error).__name__}); correct it, blobs_options, "
            "blobs_secrets_file, or the provider's variables"
        ) from None


def _config(scheme: str, options: BlobOptions) -> dict[str, Any]:
    """Return the options in obstore's names."""
    match scheme:
        case "s3":
            found: dict[str, Any] = {
                "region": options.region,
                "endpoint": options.endpoint,
                "virtual_hosted_style_request": not options.path_style,
                "disable_bulk_delete": True,  # not every store that speaks S3 has it
            }
        case "gs":
            found = {"base_url": options.endpoint}
        case _:
            found = {"account_name": options.account, "endpoint": options.endpoint}
    return {name: value for name, value in found.items() if value != ""}


def _secrets(scheme: str, path: Path) -> dict[str, str]:
    """Return the credentials of a file: of Google's own form, else TOML. Raises ``ConfigurationError``."""
    setting = "[storage] blobs_secrets_file"
    try:
        text = read_private(path).decode()
        if scheme == "gs":
            json.loads(text)
            return {"service_account_key": text}
        found = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigurationError(f"{setting}: there is no file {path}; create it, mode 0600") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error.message}") from None
    except ValueError:  # its text may hold a secret
        kind = "the JSON of a service account" if scheme == "gs" else "TOML"
        raise ConfigurationError(f"{setting}: {path} is not {kind}; see docs/object-storage.md") from None
    known = _SECRETS[scheme]
    if not found or not found.keys() <= known or not all(isinstance(value, str) for value in found.values()):
        raise ConfigurationError(f"{setting}: {path} must hold texts for some of {', '.join(sorted(known))}, no more")
    return {name: str(value) for name, value in found.items()}


def _certificates(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        raise ConfigurationError(f"[storage] blobs_options.ca_file: {path} cannot be read; name a PEM file") from None
