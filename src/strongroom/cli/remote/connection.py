"""Where the store is, who asks, and which key goes with a request.

In this order: an option, then (where `--data-dir` is given) the data directory of a
store on this machine, then AWS's variables and profiles, then the data directory that
is there by default. A store that nobody named is never Amazon's: keys and data would
go to a stranger for want of an option.
"""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli import failures
from strongroom.server import home, metrics, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.crypto import secret

MISSING_EXTRA = (
    "This command needs boto3 and rich, which the extra `client` brings:"
    " pip install 'strongroom[client]'."
)
CONNECT_S = 10
READ_S = 300
"""A copy of some gigabytes that is sealed anew answers only when it is done."""
TRIES = 5
_LOOPBACK = ("127.0.0.1", "0.0.0.0", "::1", "::", "localhost")  # noqa: S104 - a name for it is sought
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say; None where they say nothing."""

    endpoint_url: str | None = None
    ca_bundle: str | None = None
    region: str | None = None
    profile: str | None = None
    data_dir: str | None = None
    config: str | None = None


@dataclass(frozen=True, slots=True)
class _Local:
    """What a data directory on this machine tells."""

    endpoint_url: str
    ca_bundle: str | None
    region: str
    access_key: str | None
    secret_key: secret.SecretKey | None

    def credentials(self) -> dict[str, str]:
        """Return what makes a boto3 client root; nothing if that is not known."""
        if self.access_key is None or self.secret_key is None:
            return {}
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key.reveal().decode(),
        }


def connect(asked: Asked, connections: int, environ: Mapping[str, str] = os.environ) -> Any:
    """Return a boto3 client of S3.

    Args:
        asked: the options.
        connections: how many requests may be under way at once.
        environ: the environment.

    Raises:
        Failed: boto3 is not installed, nothing says where the store is, or who asks.
        SettingsError: a setting of the data directory cannot be used.
    """
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore import config, configprovider, exceptions  # noqa: PLC0415
    except ImportError:
        raise failures.Failed(MISSING_EXTRA) from None
    try:
        session = boto3.session.Session(profile_name=asked.profile, region_name=asked.region)
        core = session._session  # noqa: SLF001 - the only way to what a profile configures
        configured = configprovider.ConfiguredEndpointProvider(
            core.full_config, core.get_scoped_config(), "s3"
        ).provide()
        credentials = session.get_credentials()
    except exceptions.BotoCoreError as error:
        raise failures.Failed(f"{error}.") from None
    here = _local(asked, environ, needed=not (asked.endpoint_url or configured))
    local_first = asked.data_dir is not None
    known: list[str | None] = [asked.endpoint_url, configured]
    bundles = [asked.ca_bundle, core.get_config_variable("ca_bundle")]
    regions = [asked.region, session.region_name]
    if here is not None:
        place = 1 if local_first else 2
        known.insert(place, here.endpoint_url)
        bundles.insert(place, here.ca_bundle)
        regions.insert(place, here.region)
    endpoint = next(filter(None, known), None)
    if endpoint is None:
        raise failures.Failed(
            "Nothing says where the store is: give --endpoint-url, or set AWS_ENDPOINT_URL, or give"
            " --data-dir for a store on this machine."
        )
    keys = {}
    if here is not None and (local_first or (credentials is None and asked.profile is None)):
        keys = here.credentials()
    if not keys and credentials is None:
        raise failures.Failed(
            "Nothing says who asks: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give"
            " --profile, or --data-dir for root of a store on this machine."
        )
    bundle = next(filter(None, bundles), None)
    if bundle is not None and not Path(bundle).is_file():
        raise failures.Failed(f"The CA bundle {bundle} is no file.")
    amazon = (urllib.parse.urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")
    try:
        return session.client(
            "s3",
            endpoint_url=endpoint,
            # None would be "as the environment says", and that was asked above.
            verify=bundle if bundle is not None else True,
            region_name=next(filter(None, regions), _DEFAULT_REGION),
            config=config.Config(
                signature_version="s3v4",
                s3={"addressing_style": "auto" if amazon else "path"},
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                retries={"mode": "standard", "total_max_attempts": TRIES},
                max_pool_connections=connections,
                user_agent_extra=f"strongroom/{metrics.version()}",
            ),
            **keys,
        )
    except (ValueError, exceptions.BotoCoreError) as error:
        raise failures.Failed(f"{error}") from None


def customer_key(
    client: Any, key: secret.SecretKey | None, *, source: bool = False
) -> dict[str, Any]:
    """Return the members that carry a customer key; the MD5 is botocore's to add.

    Args:
        client: where it will be sent.
        key: None for none.
        source: the key of what a copy reads.

    Raises:
        Failed: it would go in the clear.
    """
    if key is None:
        return {}
    if not client.meta.endpoint_url.startswith("https://"):
        raise failures.Failed(
            f"{client.meta.endpoint_url} is not HTTPS: a key sent there could be read on the way."
        )
    prefix = "CopySource" if source else ""
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key.reveal()}


def _local(asked: Asked, environ: Mapping[str, str], *, needed: bool) -> _Local | None:
    """Read the data directory: if one was named, or if it is needed and there."""
    options = {"data_dir": asked.data_dir, "config": asked.config}
    chosen = settings.load(options, environ)
    if not chosen.data_dir_given and not (needed and chosen.data_dir.is_dir()):
        return None
    if asked.data_dir is not None and not chosen.data_dir.is_dir():
        raise failures.Failed(f"There is no data directory {chosen.data_dir}.")
    host = chosen.listen.host
    address = settings.Address("localhost" if host in _LOOPBACK else host, chosen.listen.port)
    authority = chosen.data_dir / home.TLS / "ca.crt"
    access_key, secret_key = home.root_credentials(chosen) or (None, None)
    return _Local(
        endpoint_url=f"https://{address}",
        ca_bundle=str(authority) if chosen.tls_cert is None and authority.is_file() else None,
        region=chosen.region,
        access_key=access_key,
        secret_key=secret_key,
    )
