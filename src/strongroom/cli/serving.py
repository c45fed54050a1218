"""`strongroom serve`, and the hidden command of its worker processes.

Options are declared without `envvar` and `default`: `server.settings` puts
options, environment, TOML and defaults together, for every command alike.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from strongroom.cli import failures
from strongroom.server import settings

_WORK = "serve-worker"

data_dir_option = click.option(
    "--data-dir",
    metavar="DIR",
    help="Everything that lasts; created with mode 0700."
    " [env: STRONGROOM_DATA_DIR; default: ./strongroom-data]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
config_option = click.option(
    "--config",
    metavar="FILE",
    help="TOML with the same names. [env: STRONGROOM_CONFIG; default: none]",
)


@click.command()
@data_dir_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="S3 over HTTPS. Port 0 picks a free one. [env: STRONGROOM_LISTEN; default: 127.0.0.1:9000]",
)
@click.option(
    "--http-listen",
    metavar="HOST:PORT",
    help="Plain HTTP for S3; requests that carry a customer key are refused here, unless a"
    " trusted proxy says that they came by HTTPS. [env: STRONGROOM_HTTP_LISTEN; default: off]",
)
@click.option(
    "--kms-listen",
    metavar="HOST:PORT",
    help="The key management service over HTTPS, as AWS and Alibaba Cloud speak it."
    " [env: STRONGROOM_KMS_LISTEN; default: off]",
)
@click.option(
    "--kms-master",
    metavar="URL",
    help="Where the master of the KMS is: vault://HOST:PORT/MOUNT/KEY, aws:KEY, pkcs11:… or"
    " kmip://HOST:PORT/KEY-ID. Its token or PIN comes by STRONGROOM_KMS_MASTER_SECRET."
    " [env: STRONGROOM_KMS_MASTER; default: master.key]",
)
@click.option(
    "--kms-cache-s",
    metavar="SECONDS",
    help="How long an opened KMS key is used before its master is asked again; 0 asks each time."
    " [env: STRONGROOM_KMS_CACHE_S; default: 300]",
)
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT",
    help="Plain HTTP, metrics and health only. [env: STRONGROOM_METRICS_LISTEN; default: off]",
)
@click.option("--oss-listen", metavar="HOST:PORT", hidden=True)
@click.option(
    "--console-listen",
    metavar="HOST:PORT",
    help="A web console over HTTPS, for people with an access key."
    " [env: STRONGROOM_CONSOLE_LISTEN; default: off]",
)
@click.option(
    "--trusted-proxy",
    metavar="CIDR",
    multiple=True,
    help="Peers whose X-Forwarded-Proto: https is believed; may be repeated."
    " [env: STRONGROOM_TRUSTED_PROXIES, separated by commas; default: none]",
)
@click.option(
    "--tls-cert",
    metavar="FILE",
    help="Certificate chain in PEM, reloaded on SIGHUP."
    " [env: STRONGROOM_TLS_CERT; default: generated under DATA_DIR/tls]",
)
@click.option(
    "--tls-key",
    metavar="FILE",
    help="Its private key in PEM. [env: STRONGROOM_TLS_KEY; default: generated]",
)
@click.option(
    "--workers",
    metavar="N",
    help="Worker processes. [env: STRONGROOM_WORKERS; default: 1]",
)
@click.option(
    "--ephemeral",
    is_flag=True,
    help="Objects and catalog in memory, gone at exit; certificates and credentials in a temporary"
    " directory unless --data-dir is given. [env: STRONGROOM_EPHEMERAL; default: off]",
)
@click.option(
    "--domain",
    metavar="NAME",
    help="Virtual-host style under this name, besides localhost."
    " [env: STRONGROOM_DOMAIN; default: none]",
)
@click.option(
    "--region",
    metavar="NAME",
    help="The region that this store says it is in. [env: STRONGROOM_REGION; default: us-east-1]",
)
@click.option("--database-url", metavar="URL", hidden=True)
@click.option("--blob-url", metavar="URL", hidden=True)
@click.option(
    "--sse-c-default",
    metavar="allow|block",
    help="Whether new buckets take customer keys. [env: STRONGROOM_SSE_C_DEFAULT; default: allow]",
)
@click.option(
    "--acl-default",
    metavar="allow|block",
    help="Whether new buckets have access lists enabled. [env: STRONGROOM_ACL_DEFAULT; default: block]",
)
@click.option(
    "--public-access-default",
    metavar="allow|block",
    help="Whether new buckets may be made public at once."
    " [env: STRONGROOM_PUBLIC_ACCESS_DEFAULT; default: block]",
)
@click.option(
    "--signature-v2",
    metavar="allow|block",
    help="Whether forms and presigned URLs may be signed by Signature Version 2."
    " [env: STRONGROOM_SIGNATURE_V2; default: allow]",
)
@click.option(
    "--oidc-ca",
    metavar="FILE",
    help="Authorities of identity providers' certificates in PEM, besides the machine's."
    " [env: STRONGROOM_OIDC_CA; default: none]",
)
@click.option(
    "--oidc-private-networks",
    is_flag=True,
    help="Identity providers may be on this machine and in private networks."
    " [env: STRONGROOM_OIDC_PRIVATE_NETWORKS; default: off]",
)
@click.option(
    "--audit-log",
    metavar="FILE|URL",
    help="A file, or an https:// webhook, for one JSON line per decision on keys. A webhook's token"
    " comes by STRONGROOM_AUDIT_TOKEN. [env: STRONGROOM_AUDIT_LOG; default: off]",
)
@click.option(
    "--audit-failure",
    metavar="open|closed",
    help="While the audit log cannot be written: serve, and count what is lost; or refuse."
    " [env: STRONGROOM_AUDIT_FAILURE; default: open]",
)
@click.option(
    "--audit-rotate-mib",
    metavar="MIB",
    help="How large its file gets before another is begun. [env: STRONGROOM_AUDIT_ROTATE_MIB;"
    " default: 100]",
)
@click.option(
    "--guard-default",
    metavar="DAYS",
    help="For how long new buckets keep what a foreign key overwrites, and whatever is deleted."
    " [env: STRONGROOM_GUARD_DEFAULT; default: off]",
)
@click.option(
    "--fingerprints",
    metavar="on|off",
    help="off keeps no fingerprints of customer keys beside what they guard."
    " [env: STRONGROOM_FINGERPRINTS; default: on]",
)
@config_option
def serve(**options: Any) -> None:
    """Start the server in the foreground; it logs to standard error.

    When it serves, it prints one line on standard output: "strongroom ready"
    and where. SIGTERM and SIGINT let requests finish and exit 0; SIGHUP reloads
    the certificate.

    Secrets come from the environment or the configuration file only:
    STRONGROOM_ROOT_ACCESS_KEY and STRONGROOM_ROOT_SECRET_KEY (generated into
    DATA_DIR/root-credentials.json at the first start), STRONGROOM_MASTER_KEY
    (base64 of 32 bytes; generated into DATA_DIR/master.key).
    """
    with failures.told():
        chosen = settings.load(options, os.environ)
        # Late, so that a slip in the options is told without loading the server.
        from strongroom.server import build, process, workers  # noqa: PLC0415

        command = [sys.executable, "-m", "strongroom.cli", _WORK]
        status = process.serve(
            chosen, build.prepare, build.build, workers.Supervisor(command).serve
        )
    sys.exit(status)


@click.command(_WORK, hidden=True)
def serve_worker() -> None:
    """Serve as one of several processes; settings come by standard input."""
    with failures.told():
        from strongroom.server import build, workers  # noqa: PLC0415

        status = workers.work(build.build)
    sys.exit(status)
