"""One frozen `Settings`, from options, environment and TOML, in this order, then defaults.

This is the only module that reads the environment. Every setting is one row of
`_ROWS`: its name in TOML (the option's name), its variable, how its text is read.

Source: the table "Command line" of the contract (README, Settings).
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import ipaddress
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from strongroom import errors
from strongroom.crypto import secret
from strongroom.keyring import master

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MASTER_KEY_BYTES = master.MASTER_KEY_BYTES
MAX_KMS_CACHE_S = 3600
"""Longer than this, a key that was disabled at its master would go on for too long."""
MAX_GUARD_DAYS = 3650
"""Ten years: what is longer was meant in other units."""
MAX_ROTATE_MIB = 1024 * 1024
MAX_WORKERS = 256
"""More processes than this on one machine is a slip of the finger."""
ACCESS_KEY_CHARACTERS = re.compile(r"[A-Za-z0-9._-]{3,128}")
"""What stands in a credential scope without escaping; S3's own have 16 to 128 characters."""
SECRET_KEY_MIN_CHARACTERS = 8
_REGION = re.compile(r"[a-z0-9-]{1,63}")
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_MAX_PORT = 65535
DAY_S = 24 * 3600
MAX_ACCESS_LOG_S = 3600
"""Records that wait longer are too many to be lost with a process."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(ValueError):
    """A setting cannot be used; the text is a sentence that names it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: `host` is an IP address or a name, port 0 picks a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an operator may choose. Secrets in it do not print.

    Attributes:
        data_dir: everything that lasts.
        data_dir_given: somebody chose it; with `ephemeral` it is then kept.
        root_access_key: None until it was generated or read from the data directory,
            with `root_secret_key` (its UTF-8 bytes).
        master_key: `MASTER_KEY_BYTES`; None as above.
        kms_master: where the master of the KMS is (`key_masters`); None for our own.
        kms_master_secret: its token or PIN.
        kms_cache_s: how long a key of the KMS is used before its master is asked again.
        sse_c_default: "allow" or "block".
        signature_v2: likewise, for forms and presigned URLs.
        acl_default: whether access lists count in new buckets: "allow" or "block".
        public_access_default: whether new buckets may be made public, likewise.
        lifecycle_day_s: seconds that rules of buckets take for a day; less than `DAY_S` for
            tests of rules alone.
        fingerprints: whether those of customer keys are kept with what they guard.
        audit_log: a file or an https:// URL; None for none.
        audit_token: what a webhook is shown as bearer.
        audit_failure: "closed" refuses requests while lines of the audit log cannot be kept.
        audit_rotate_mib: how large the file gets before another one is begun.
        guard_default: for how many days new buckets keep what foreign keys displace; 0 for none.
        oidc_ca: authorities of identity providers' certificates, besides the machine's.
        oidc_private_networks: whether identity providers may be at private addresses.
        access_log_s: how long records of buckets' access logs wait for others, in seconds.
    """

    data_dir: Path = Path("strongroom-data")
    data_dir_given: bool = False
    listen: Address = Address("127.0.0.1", 9000)
    http_listen: Address | None = None
    kms_listen: Address | None = None
    console_listen: Address | None = None
    metrics_listen: Address | None = None
    trusted_proxies: tuple[Network, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    workers: int = 1
    ephemeral: bool = False
    domain: str | None = None
    region: str = "us-east-1"
    sse_c_default: str = "allow"
    signature_v2: str = "allow"
    acl_default: str = "block"
    public_access_default: str = "block"
    fingerprints: bool = True
    guard_default: int = 0
    oidc_ca: Path | None = None
    oidc_private_networks: bool = False
    root_access_key: str | None = None
    root_secret_key: secret.SecretKey | None = None
    master_key: secret.SecretKey | None = None
    kms_master: str | None = None
    kms_master_secret: secret.SecretKey | None = None
    kms_cache_s: int = 300
    audit_log: str | None = None
    audit_token: secret.SecretKey | None = None
    audit_failure: str = "open"
    audit_rotate_mib: int = 100
    lifecycle_day_s: int = DAY_S
    access_log_s: int = 300


def load(options: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Put settings together.

    Args:
        options: what the command line gave, by option name with `_` for `-`;
            None, False and empty sequences count as not given.
        environ: the environment.

    Raises:
        SettingsError: a value cannot be used, or this release does not serve it.
    """
    given = {name: value for name, value in options.items() if value not in (None, (), [], False)}
    table = _read_table(given.pop("config", None) or environ.get("STRONGROOM_CONFIG") or None)
    values: dict[str, Any] = {}
    for row in _ROWS:
        found = _find(row, given, environ, table)
        if found is None:
            continue
        source, value = found
        if row.unserved:
            raise SettingsError(
                f"This release does not serve {row.unserved} yet: remove {source} (it must be off)."
            )
        try:
            values[row.field] = row.parse(value)
        except SettingsError as error:
            raise SettingsError(f"{source}: {error}") from None
    if table:
        unknown = ", ".join(sorted(table))
        raise SettingsError(f"The configuration file has names that are no settings: {unknown}.")
    return _checked(Settings(data_dir_given="data_dir" in values, **values))


def _checked(settings: Settings) -> Settings:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("--tls-cert and --tls-key belong together: give both or neither.")
    if (settings.root_access_key is None) != (settings.root_secret_key is None):
        raise SettingsError(
            "STRONGROOM_ROOT_ACCESS_KEY and STRONGROOM_ROOT_SECRET_KEY belong together:"
            " set both or neither."
        )
    if settings.ephemeral and settings.workers > 1:
        raise SettingsError(
            "--ephemeral keeps everything in the memory of one process:"
            " it cannot be used with more than one worker."
        )
    return settings


# Reading the sources


def _read_table(path: str | Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"The configuration file {path} cannot be read: {error.strerror}."
        ) from None
    try:
        table = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        # The parser's message quotes the line, which may hold a secret.
        raise SettingsError(f"The configuration file {path} is not valid TOML.") from None
    return {name.replace("-", "_"): value for name, value in table.items()}


def _find(
    row: _Row, options: Mapping[str, Any], environ: Mapping[str, str], table: dict[str, Any]
) -> tuple[str, Any] | None:
    """Return (what to call the source, value), or None; takes the row's names out of `table`."""
    in_table = None
    for name in row.names:
        found = table.pop(name, None)
        in_table = found if in_table is None else in_table
    option = row.names[0]
    value: Any
    if option in options:
        source, value = f"--{option.replace('_', '-')}", options[option]
    elif row.variable in environ:
        source, value = row.variable, environ[row.variable]
    elif in_table is not None:
        source, value = f"{option.replace('_', '-')} in the configuration file", in_table
    else:
        return None
    if isinstance(value, str) and not row.keeps_empty and value.strip() in ("", "off"):
        # Compose files and unit files set variables to nothing to mean "not set".
        return None if row.may_be_off else (source, value)
    return source, value


# Reading values


def parse_address(value: Any) -> Address:
    """Read `host:port`, `[::1]:port` or `:port` (all interfaces of IPv4).

    Raises:
        SettingsError: it is none of these.
    """
    text = _text(value)
    host, colon, port_text = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or (":" in host and not bracketed) or (bracketed and ":" not in host):
        raise SettingsError("not host:port (an IPv6 address stands in brackets: [::1]:9000).")
    if not (port_text.isascii() and port_text.isdigit()) or int(port_text) > _MAX_PORT:
        raise SettingsError(f"the port must be a number from 0 to {_MAX_PORT}.")
    return Address(host or "0.0.0.0", int(port_text))  # noqa: S104 - `:9000` asks for it


def parse_networks(value: Any) -> tuple[Network, ...]:
    """Read CIDR blocks: a sequence, or one text with commas or blanks between.

    Raises:
        SettingsError: one of them is no network, or has bits after its mask.
    """
    items = re.split(r"[,\s]+", value) if isinstance(value, str) else list(value)
    networks = []
    for item in filter(None, items):
        try:
            networks.append(ipaddress.ip_network(_text(item)))
        except ValueError:
            raise SettingsError(
                f"{item!r} is no network; write it like 10.0.0.0/8 or 192.0.2.7."
            ) from None
    return tuple(networks)


def parse_master_key(value: Any) -> secret.SecretKey:
    """Read the base64 of a master key; nothing of the value is in the error.

    Raises:
        SettingsError: it is not that.
    """
    try:
        return master.parse(_text(value))
    except errors.MasterKeyTrouble as error:
        raise SettingsError(str(error)) from None


def parse_access_key(value: Any) -> str:
    """Read an access key.

    Raises:
        SettingsError: it has other characters than `ACCESS_KEY_CHARACTERS` allows.
    """
    text = _text(value)
    if not ACCESS_KEY_CHARACTERS.fullmatch(text):
        raise SettingsError(
            "an access key has 3 to 128 letters, digits, dots, dashes, underscores."
        )
    return text


def parse_secret_key(value: Any) -> secret.SecretKey:
    """Read a secret access key; nothing of the value is in the error.

    Raises:
        SettingsError: it is too short.
    """
    text = _text(value)
    if len(text) < SECRET_KEY_MIN_CHARACTERS:
        raise SettingsError(f"a secret key has at least {SECRET_KEY_MIN_CHARACTERS} characters.")
    return secret.SecretKey(text.encode())


def _cache_seconds(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_KMS_CACHE_S:
        raise SettingsError(f"must be a number of seconds from 0 to {MAX_KMS_CACHE_S}.")
    return value


def _seconds(value: Any, most: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise SettingsError(f"must be a number of seconds from 1 to {most}.")
    return value


def _secret(value: Any) -> secret.SecretKey:
    return secret.SecretKey(_text(value).encode())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError("must be a text.")
    return value


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    text = _text(value)
    if not text or "\0" in text:
        raise SettingsError("must be a path.")
    return Path(text)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = _text(value).strip().lower()
    if text in ("1", "on", "true", "yes"):
        return True
    if text in ("0", "off", "false", "no", ""):
        return False
    raise SettingsError("must be on or off.")


def _workers(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_WORKERS:
        raise SettingsError(f"must be a number from 1 to {MAX_WORKERS}.")
    return value


def _days(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_GUARD_DAYS:
        raise SettingsError(f"must be a number of days from 0 to {MAX_GUARD_DAYS}.")
    return value


def _mebibytes(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_ROTATE_MIB:
        raise SettingsError(f"must be a number of MiB from 1 to {MAX_ROTATE_MIB}.")
    return value


def _audit_log(value: Any) -> str:
    text = _text(value)
    if "://" not in text:
        return str(_path(text))
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise SettingsError(
            "must be a file or an https:// URL without a user in it (a token comes by"
            " STRONGROOM_AUDIT_TOKEN)."
        )
    return text


def _open_or_closed(value: Any) -> str:
    text = _text(value)
    if text not in ("open", "closed"):
        raise SettingsError("must be open or closed.")
    return text


def _domain(value: Any) -> str:
    text = _text(value).lower().removesuffix(".")
    if not _DOMAIN.fullmatch(text):
        raise SettingsError("must be a domain name.")
    return text


def _region(value: Any) -> str:
    text = _text(value)
    if not _REGION.fullmatch(text):
        raise SettingsError("must be lower-case letters, digits and dashes.")
    return text


def _allow_or_block(value: Any) -> str:
    text = _text(value)
    if text not in ("allow", "block"):
        raise SettingsError("must be allow or block.")
    return text


@dataclass(frozen=True, slots=True)
class _Row:
    """A setting: `names` in TOML (the first is the option), its variable, its reader.

    `may_be_off`: an empty text or `off` means that nothing was chosen.
    `keeps_empty`: a secret set to nothing is an error, not a wish for a new one.
    `unserved`: what this release lacks; any value but off is refused.
    """

    field: str
    names: tuple[str, ...]
    variable: str
    parse: Callable[[Any], Any]
    may_be_off: bool = True
    keeps_empty: bool = False
    unserved: str = ""


def _row(field: str, parse: Callable[[Any], Any], **more: Any) -> _Row:
    return _Row(field, (field,), f"STRONGROOM_{field.upper()}", parse, **more)


_ROWS: Sequence[_Row] = (
    _row("data_dir", _path),
    _row("listen", parse_address, may_be_off=False),
    _row("http_listen", parse_address),
    _row("kms_listen", parse_address),
    _row("console_listen", parse_address),
    _row("metrics_listen", parse_address),
    _Row(
        "trusted_proxies",
        ("trusted_proxy", "trusted_proxies"),
        "STRONGROOM_TRUSTED_PROXIES",
        parse_networks,
    ),
    _row("tls_cert", _path),
    _row("tls_key", _path),
    _row("workers", _workers),
    _row("ephemeral", _switch),
    _row("domain", _domain),
    _row("region", _region),
    _row("sse_c_default", _allow_or_block),
    _row("signature_v2", _allow_or_block),
    _row("acl_default", _allow_or_block),
    _row("public_access_default", _allow_or_block),
    _row("fingerprints", _switch, may_be_off=False),
    _row("guard_default", _days),
    _row("oidc_ca", _path),
    _row("oidc_private_networks", _switch),
    _row("audit_log", _audit_log),
    _row("audit_token", _secret, keeps_empty=True),
    _row("audit_failure", _open_or_closed),
    _row("audit_rotate_mib", _mebibytes),
    _row("root_access_key", parse_access_key, keeps_empty=True),
    _row("root_secret_key", parse_secret_key, keeps_empty=True),
    _row("master_key", parse_master_key, keeps_empty=True),
    _row("kms_master", _text),
    _row("kms_master_secret", _secret, keeps_empty=True),
    _row("kms_cache_s", _cache_seconds),
    _row("lifecycle_day_s", functools.partial(_seconds, most=DAY_S)),
    _row("access_log_s", functools.partial(_seconds, most=MAX_ACCESS_LOG_S)),
    _row("oss_listen", _text, unserved="the OSS dialect"),
    _row("database_url", _text, unserved="databases other than its own SQLite file"),
    _row("blob_url", _text, unserved="blobs outside the data directory"),
)


# From the parent to its worker processes


def dump(settings: Settings) -> bytes:
    """Write settings with their secrets, for the pipe to a worker process and nothing else."""
    # Not `asdict`: it copies deeply, and a SecretKey refuses to be copied.
    table = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return json.dumps(table, default=_plain).encode()


def undump(raw: bytes) -> Settings:
    """Read what `dump` wrote."""
    table = json.loads(raw)
    for name in ("listen", "http_listen", "kms_listen", "console_listen", "metrics_listen"):
        if table[name] is not None:
            table[name] = parse_address(table[name])
    for name in ("data_dir", "tls_cert", "tls_key", "oidc_ca"):
        if table[name] is not None:
            table[name] = Path(table[name])
    for name in ("root_secret_key", "master_key", "kms_master_secret", "audit_token"):
        if table[name] is not None:
            table[name] = secret.SecretKey(base64.b64decode(table[name]))
    table["trusted_proxies"] = parse_networks(table["trusted_proxies"])
    return Settings(**table)


def _plain(value: object) -> str:
    if isinstance(value, secret.SecretKey):
        return base64.b64encode(value.reveal()).decode()
    return str(value)
