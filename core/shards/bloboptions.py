"""What the settings say of an object store: where it is and how to reach it. Nothing of it is secret."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_URL: Final = re.compile(
    r"(?P<scheme>s3|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/(?!\.{1,2}(/|$))[A-Za-z0-9._-]{1,200}){0,10}/?"
)
_OF_SCHEME: Final = {
    "s3": {"endpoint", "path_style", "region"},
    "gs": {"endpoint"},
    "az": {"account", "endpoint"},
}


def _url(given: str) -> str:
    if given and not _URL.fullmatch(given):
        raise ValueError("must be s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, and nothing else")
    return given.rstrip("/")


def _endpoint(given: str) -> str:
    parts = urlsplit(given)
    if given and (parts.scheme not in {"http", "https"} or not parts.hostname or "@" in given or parts.query):
        raise ValueError("must be https://host or https://host:port, without name, password or query")
    return given.rstrip("/")


BlobsUrl = Annotated[str, AfterValidator(_url)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class BlobOptions(BaseModel):
    """``[storage.blobs_options]``; what is not given, the provider's own variables or defaults say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str = Field("", description="of the bucket (s3)")
    endpoint: Endpoint = Field("", description="of a store that is not the provider's own")
    path_style: bool = Field(True, description="the bucket stands in the path, not in the host's name (s3)")
    account: str = Field("", description="the storage account (az)")
    allow_http: bool = Field(False, description="speak to another machine in the clear")
    ca_file: Path | None = Field(None, description="certificates (PEM) to trust besides the system's")
    timeout_s: float = Field(5.0, ge=0.1, le=600, description="how long an answer may stand still")

    def refuse_for(self, url: str) -> None:
        """Raise ``ValueError`` where these options do not go with a URL."""
        scheme = url.partition(":")[0]
        others = set().union(*_OF_SCHEME.values()) - _OF_SCHEME[scheme]
        given = {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}
        if misplaced := sorted(others & given):
            raise ValueError(f"blobs_options.{misplaced[0]} means nothing to {scheme}://; remove it")
        parts = urlsplit(self.endpoint)
        if parts.scheme == "http" and not self.allow_http and not _is_loopback(parts.hostname or ""):
            raise ValueError(
                f"blobs_options.endpoint: {parts.hostname} would be spoken to in the clear; use https://, "
                "or set allow_http if nobody can listen"
            )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
