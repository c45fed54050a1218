"""Masters elsewhere, started for a test: OpenBao, our own KMS, SoftHSM, PyKMIP's server.

Each is a class with `master()`, which makes an adapter, and what can be done to the key
and the server from outside.
"""

# ruff: noqa: PLC0415 - the client packages are extras, and warn when imported

import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.crypto.secret import SecretKey
from strongroom.keyring.connectors import attempts

PATIENCE_S = 60
SOFTHSM = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def quick(name, threads=2):
    """Attempts that do not keep a test waiting."""
    return attempts.Attempts(name, threads=threads, timeout_s=20, pauses_s=(0.01, 0.01))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(answers, process):
    """Return when a server answers; it said so, or we ask until it does."""
    end = time.monotonic() + PATIENCE_S
    while not answers():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server did not get ready"
        time.sleep(0.05)


def kill_whole(process):
    """Kill a server with the processes that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class OpenBao:
    """A server of OpenBao that keeps its data in files, with a Transit key."""

    key = "strongroom"

    def __init__(self, folder):
        self.port = free_port()
        self.folder = folder
        self.token = self.share = ""
        (folder / "data").mkdir()
        (folder / "server.hcl").write_text(
            f'storage "raft" {{\n  path = "{folder}/data"\n  node_id = "one"\n}}\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n  tls_disable = true\n}}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "http://127.0.0.1:{free_port()}"\n'
        )
        self.start()
        self.ask("sys/mounts/transit", {"type": "transit"})
        self.ask(f"transit/keys/{self.key}", {})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def serve(self):
        """What makes our server use it: arguments and environment."""
        url = f"vault://127.0.0.1:{self.port}/transit/{self.key}?tls=off"
        return ["--kms-master", url], {"STRONGROOM_KMS_MASTER_SECRET": self.token}

    def start(self):
        binary = Path(sysconfig.get_path("scripts")) / "bao"
        self.process = subprocess.Popen(  # noqa: S603 - the package's own program
            [binary, "server", f"-config={self.folder}/server.hcl"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )
        wait_until(self._answers, self.process)
        if not self.share:
            made = self.ask("sys/init", {"secret_shares": 1, "secret_threshold": 1}, "PUT")
            self.share, self.token = made["keys"][0], made["root_token"]
        self.ask("sys/unseal", {"key": self.share}, "PUT")
        wait_until(lambda: self._answers("sys/health"), self.process)

    def _answers(self, path="sys/seal-status"):
        # An error of HTTP's is an OSError too: sealed, or not yet the leader.
        with contextlib.suppress(OSError):
            return self.ask(path) is not None
        return False

    def ask(self, path, body=None, method=None):
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"X-Vault-Token": self.token},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
            return json.loads(answer.read() or b"{}")

    def master(self, **changes):
        from strongroom.keyring.connectors import vault

        wanted = {"token": SecretKey(self.token.encode()), "key": self.key, **changes}
        return vault.VaultMaster(
            self.url, random_bytes=secrets.token_bytes, runs=quick("vault"), **wanted
        )

    def denied(self):
        return self.master(token=SecretKey(b"another-token"))

    def missing(self):
        return self.master(key="not-there")

    def other(self):
        self.ask("transit/keys/other", {})
        return self.master(key="other")

    def rotate(self):
        self.ask(f"transit/keys/{self.key}/rotate", {})

    def kill(self):
        kill_whole(self.process)

    stop = kill


class OwnKms:
    """Another strongroom with a KMS, as AWS speaks it."""

    def __init__(self, folder):
        from strongroom.testing import Strongroom

        port = free_port()
        self.server = Strongroom(folder / "data", args=("--kms-listen", f"127.0.0.1:{port}"))
        self.server.start()
        self.ca = self.server.ca_bundle
        self.client = self.server.boto3_client("kms")
        self.key = self.client.create_key()["KeyMetadata"]["KeyId"]

    def master(self, **changes):
        from strongroom.keyring.connectors import aws

        wanted = {
            "key": self.key,
            "credentials": (
                self.server.access_key,
                SecretKey(self.server.secret_key.encode()),
            ),
            **changes,
        }
        return aws.AwsMaster(
            region="us-east-1",
            endpoint_url=self.server.kms_url,
            ca_bundle=str(self.server.ca_bundle),
            runs=quick("aws"),
            **wanted,
        )

    @property
    def serve(self):
        """What makes our server use it: arguments and environment."""
        url = (
            f"aws:{self.key}?region=us-east-1&endpoint={quote(self.server.kms_url)}"
            f"&ca={quote(str(self.ca))}"
        )
        return ["--kms-master", url], {
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
        }

    def start(self):
        self.server.start()

    def denied(self):
        return self.master(credentials=("unknown", SecretKey(b"secret")))

    def missing(self):
        return self.master(key="00000000-0000-4000-8000-000000000000")

    def other(self):
        return self.master(key=self.client.create_key()["KeyMetadata"]["KeyId"])

    def rotate(self):
        self.client.rotate_key_on_demand(KeyId=self.key)

    def disable(self):
        self.client.disable_key(KeyId=self.key)

    def enable(self):
        self.client.enable_key(KeyId=self.key)

    def kill(self):
        self.server.kill()

    def stop(self):
        self.client.close()
        self.server.stop()


def softhsm():
    """Return the path of SoftHSM's library; None where it is not installed."""
    return next((path for path in SOFTHSM if Path(path).exists()), None)


class SoftHsm:
    """A token of SoftHSM with an AES key. A process has one configuration at a time."""

    token, pin, key = "strongroom", "1234", "master"

    def __init__(self, folder):
        self.folder = folder
        (folder / "tokens").mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        tool = shutil.which("softhsm2-util")
        assert tool is not None, "Debian's package has it"
        subprocess.run(  # noqa: S603 - Debian's tool
            [
                tool, "--init-token", "--free", "--label", self.token, "--pin", self.pin,
                "--so-pin", "5678",
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
        import pkcs11

        library = pkcs11.lib(softhsm())
        # It read its configuration when it was begun: maybe that of an earlier token, of this name.
        library.reinitialize()
        token = library.get_token(token_label=self.token)
        with token.open(rw=True, user_pin=self.pin) as session:
            for label in (self.key, "other"):
                session.generate_key(
                    pkcs11.KeyType.AES,
                    256,
                    label=label,
                    store=True,
                    capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
                )

    def master(self, **changes):
        from strongroom.keyring.connectors import pkcs11

        wanted = {"pin": SecretKey(self.pin.encode()), "key": self.key, **changes}
        return pkcs11.Pkcs11Master(softhsm(), self.token, runs=quick("pkcs11", 1), **wanted)

    def denied(self):
        return self.master(pin=SecretKey(b"9999"))

    def missing(self):
        return self.master(key="not-there")

    def other(self):
        return self.master(key="other")

    @property
    def serve(self):
        """What makes our server use it: arguments and environment."""
        url = f"pkcs11:token={self.token};object={self.key}?module-path={softhsm()}"
        return ["--kms-master", url], {
            "STRONGROOM_KMS_MASTER_SECRET": self.pin,
            "SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"],
        }

    def kill(self):
        """Pull the token out: its files are not there."""
        (self.folder / "tokens").rename(self.folder / "pulled-out")

    def start(self):
        """Put it back."""
        (self.folder / "pulled-out").rename(self.folder / "tokens")

    def stop(self):
        os.environ.pop("SOFTHSM2_CONF", None)


class PyKmip:
    """PyKMIP's own server, with an active AES key."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        _certificates(folder)
        (folder / "policies").mkdir()
        (folder / "server.conf").write_text(
            "[server]\nhostname=127.0.0.1\n"
            f"port={self.port}\ncertificate_path={folder}/server.crt\nkey_path={folder}/server.key\n"
            f"ca_path={folder}/ca.crt\nauth_suite=TLS1.2\npolicy_path={folder}/policies\n"
            f"enable_tls_client_auth=True\ndatabase_path={folder}/pykmip.db\n"
        )
        self.start()
        self.key = self._make()

    def start(self):
        program = Path(sysconfig.get_path("scripts")) / "pykmip-server"
        self.process = subprocess.Popen(  # noqa: S603 - the package's own program
            [sys.executable, "-W", "ignore", program, "-f", self.folder / "server.conf",
             "-l", self.folder / "server.log"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        wait_until(self._answers, self.process)

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @property
    def serve(self):
        """What makes our server use it: arguments and environment."""
        folder = quote(str(self.folder))
        url = (
            f"kmip://127.0.0.1:{self.port}/{self.key}?cert={folder}/client.crt"
            f"&key={folder}/client.key&ca={folder}/ca.crt"
        )
        return ["--kms-master", url], {}

    def client(self):
        from kmip.pie import client

        return client.ProxyKmipClient(
            hostname="127.0.0.1",
            port=self.port,
            cert=str(self.folder / "client.crt"),
            key=str(self.folder / "client.key"),
            ca=str(self.folder / "ca.crt"),
            config_file="/dev/null",
        )

    def _make(self):
        from kmip.core import enums

        with self.client() as client:
            made = client.create(
                enums.CryptographicAlgorithm.AES,
                256,
                cryptographic_usage_mask=[
                    enums.CryptographicUsageMask.ENCRYPT,
                    enums.CryptographicUsageMask.DECRYPT,
                ],
            )
            client.activate(made)
            return made

    def master(self, **changes):
        from strongroom.keyring.connectors import kmip

        wanted = {"key_id": self.key, **changes}
        return kmip.KmipMaster(
            "127.0.0.1",
            self.port,
            cert=str(self.folder / "client.crt"),
            key=str(self.folder / "client.key"),
            ca_bundle=str(self.folder / "ca.crt"),
            random_bytes=secrets.token_bytes,
            runs=quick("kmip"),
            **wanted,
        )

    def missing(self):
        return self.master(key_id="999999")

    def other(self):
        return self.master(key_id=self._make())

    def kill(self):
        kill_whole(self.process)

    stop = kill


def _certificates(folder):
    """Write a CA, and certificates of a server and of a client under it."""
    now = dt.datetime.now(dt.UTC)

    def named(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    ca_key = ec.generate_private_key(ec.SECP256R1())
    for name, usage in (
        ("ca", None),
        ("server", ExtendedKeyUsageOID.SERVER_AUTH),
        ("client", ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        own = ca_key if usage is None else ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("ca"))
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = builder.sign(ca_key, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
