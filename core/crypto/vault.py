"""HashiCorp Vault's transit engine as a key source: the master key lies in a file, sealed by a key that only Vault has.

Transit makes a data key and gives us its ciphertext alone. It is opened by Vault before it is used, so that a key that
could be made but not opened guards nothing. Vault is asked at each start of a process, and when the key is rotated.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import hvac
import requests
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry, parse_url

from core.crypto.keyfile import KeyFile
from core.crypto.keys import MASTER_KEY_BYTES, MasterKey
from core.crypto.keysource import ENV_VAULT_TOKEN, keys_folder
from core.crypto.keytext import decode_key
from core.errors import ConfigurationError, Unavailable
from core.privacy import read_private

_TIMEOUTS_S: Final = (3.0, 5.0)  # to connect, and between two bytes of an answer
_RETRIES: Final = Retry(
    total=3,
    redirect=0,
    backoff_factor=0.2,  # 0, 0.4, 0.8 s
    status_forcelist=(429, 500, 502, 503),
    allowed_methods=None,  # POST too: a data key that is made twice is as good as one
    raise_on_status=False,
    respect_retry_after_header=False,
)

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]


class _Options(BaseModel):
    """``[storage.key_source_options]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    key: _Name
    mount: _Name = "transit"
    namespace: str | None = None
    file: Path | None = None
    ca_file: Path | None = None
    token_file: Path | None = None
    role_id: str | None = None
    secret_id_file: Path | None = None
    kubernetes_role: str | None = None
    kubernetes_token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    auth_mount: _Name | None = None


class TransitFormat:
    """What lies in the key file: a ciphertext of transit, such as ``vault:v1:…``."""

    def __init__(self, options: _Options, environment: Mapping[str, str]) -> None:
        self._options = options
        self._token = environment.get(ENV_VAULT_TOKEN)
        self._opened: dict[bytes, MasterKey] = {}  # so that Vault is not asked at each look

    def make(self) -> bytes:
        """Return the ciphertext of a new data key. Raises ``ConfigurationError``, ``Unavailable``."""
        options = self._options
        answer = self._ask(
            lambda vault: vault.secrets.transit.generate_data_key(
                options.key, key_type="wrapped", bits=8 * MASTER_KEY_BYTES, mount_point=options.mount
            )["data"]["ciphertext"]
        )
        return f"{answer}\n".encode()

    def open(self, content: bytes, source: str) -> MasterKey:
        """Return the key that Vault opens the ciphertext to. Raises ``ConfigurationError``, ``Unavailable``."""
        if content not in self._opened:
            options = self._options
            try:
                ciphertext = content.decode("ascii").strip()
            except UnicodeDecodeError:
                ciphertext = ""
            if not ciphertext.startswith("vault:"):
                raise ConfigurationError(f"{source}: is no ciphertext of Vault; put back the file that Ostraka made")
            plaintext = self._ask(
                lambda vault: vault.secrets.transit.decrypt_data(options.key, ciphertext, mount_point=options.mount)[
                    "data"
                ]["plaintext"]
            )
            self._opened[content] = decode_key(plaintext, f"what Vault opened {source} to")
        return self._opened[content]

    def _ask(self, question: Callable[[hvac.Client], Any]) -> str:
        """Log in, ask, and return the answer. Nothing that Vault says is repeated: it may be a secret."""
        options = self._options
        who, key = f"Vault at {options.address}", f"{options.mount}/{options.key}"
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no .netrc: the token is for Vault alone
            session.verify = str(options.ca_file) if options.ca_file else True
            session.mount("https://", HTTPAdapter(max_retries=_RETRIES))
            session.mount("http://", HTTPAdapter(max_retries=_RETRIES))
            try:
                vault = hvac.Client(
                    url=options.address,
                    token="",  # not from hvac's own search of variables and files
                    session=session,
                    timeout=_TIMEOUTS_S,
                    namespace=options.namespace,
                    allow_redirects=False,  # it would take the token along
                )
                self._log_in(vault)
                answer = question(vault)
            except (Forbidden, Unauthorized):
                raise ConfigurationError(f"{who} refuses us: renew the token, and let its policy use {key}") from None
            except InvalidPath:
                raise ConfigurationError(f"{who} has no key {key}: create it, or correct mount and key") from None
            except InvalidRequest:
                raise ConfigurationError(
                    f"{who} refuses the request: the ciphertext is another key's than {key}, its version is no longer "
                    "allowed (min_decryption_version), or the login is wrong"
                ) from None
            except VaultError as error:
                raise Unavailable(
                    f"{who} cannot answer now ({type(error).__name__}): unseal it, or try later"
                ) from None
            except requests.exceptions.SSLError:
                raise ConfigurationError(f"{who} has a certificate that we do not trust: set ca_file") from None
            except (requests.RequestException, OSError) as error:
                raise Unavailable(f"{who} does not answer ({type(error).__name__}): start it, or try later") from None
            except (KeyError, TypeError, ValueError):
                answer = None
        if not isinstance(answer, str):
            raise Unavailable(f"{who} gave no answer that we understand: name the active node of a Vault, no proxy")
        return answer

    def _log_in(self, vault: hvac.Client) -> None:
        options = self._options
        if options.kubernetes_role:
            vault.auth.kubernetes.login(
                options.kubernetes_role,
                _pod_token(options.kubernetes_token_file),
                mount_point=options.auth_mount or "kubernetes",
            )
        elif options.role_id and options.secret_id_file:
            vault.auth.approle.login(
                options.role_id, _secret(options.secret_id_file), mount_point=options.auth_mount or "approle"
            )
        else:
            vault.token = _secret(options.token_file) if options.token_file else self._token


def open_vault(store_id: str, options: Mapping[str, str], environment: Mapping[str, str]) -> KeyFile:
    """Return the key source of a store. Raises ``ConfigurationError`` when the options are not clear."""
    try:
        chosen = _Options.model_validate(options)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        said = "; ".join(f"[storage] key_source_options.{fault['loc'][0]}: {fault['msg']}" for fault in faults)
        raise ConfigurationError(said) from None
    _refuse_open_lines(chosen.address)
    _refuse_unclear_logins(chosen, environment)
    path = chosen.file or keys_folder() / f"{store_id}.vault"
    return KeyFile(
        path, TransitFormat(chosen, environment), f"Vault key {chosen.mount}/{chosen.key} at {chosen.address}, file"
    )


def _refuse_open_lines(address: str) -> None:
    try:
        url = parse_url(address)
    except ValueError:
        url = parse_url("")
    if url.auth or url.query or url.fragment or not url.host or url.scheme not in {"http", "https"}:
        raise ConfigurationError("[storage] key_source_options.address: write https://HOST:PORT")
    if url.scheme == "http" and url.host not in _LOCAL:
        raise ConfigurationError("[storage] key_source_options.address: http would show the key; write https")


def _refuse_unclear_logins(options: _Options, environment: Mapping[str, str]) -> None:
    if bool(options.role_id) != bool(options.secret_id_file):
        raise ConfigurationError("[storage] key_source_options: role_id and secret_id_file go together; set both")
    logins = [options.token_file, options.role_id, options.kubernetes_role, environment.get(ENV_VAULT_TOKEN)]
    if sum(map(bool, logins)) != 1:
        raise ConfigurationError(
            "[storage] key_source_options: log in to Vault in one way: token_file, role_id with secret_id_file, "
            f"kubernetes_role, or {ENV_VAULT_TOKEN}"
        )


def _secret(path: Path) -> str:
    try:
        return read_private(path).decode().strip()
    except FileNotFoundError:
        raise ConfigurationError(f"[storage] key_source_options: there is no file {path}; create it") from None


def _pod_token(path: Path) -> str:
    """Return the token of a pod: no private file, for Kubernetes lets all its programs read it."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            f"[storage] key_source_options.kubernetes_token_file: {path} cannot be read: {error.strerror}; correct it"
        ) from None
