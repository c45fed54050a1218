"""The audit log of a server, in a file and at a webhook: what is told, and that no key is.

S000.7: a refusal for want of TLS is recorded, without the key. S003.14.
"""

import base64
import contextlib
import datetime as dt
import http.server
import json
import secrets
import ssl
import threading

import pytest

from strongroom.server import tls
from strongroom.testing import Strongroom

PATIENCE_S = 30
TOKEN = "a-token-of-the-webhook"
MARK = b"\xfb\xef\xbe\xff"
MASTER_KEY = base64.b64encode(b"m" * 32).decode()


class Webhook:
    """Takes lines over TLS, once it has refused the first `refusals` batches."""

    def __init__(self, folder, refusals=0):
        pair = tls.ensure(folder, None, dt.datetime.now(dt.UTC))
        self.ca = folder / "ca.crt"
        self.batches, self.tokens, self.arrived = [], [], threading.Condition()
        hook = self
        left = [refusals]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                refused = left[0] > 0
                left[0] -= 1
                self.send_response(503 if refused else 204)
                self.end_headers()
                with hook.arrived:
                    hook.tokens.append(self.headers["authorization"])
                    if not refused:
                        hook.batches.append(body)
                    hook.arrived.notify_all()

            def log_message(self, *_args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.server.server_port}/lines"

    @property
    def raw(self):
        return b"".join(self.batches)

    @property
    def lines(self):
        return [json.loads(line) for line in self.raw.splitlines()]

    def wait_for(self, found):
        """Return when a line fits."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: any(map(found, self.lines)), PATIENCE_S)

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def forms(raw):
    encoded = base64.b64encode(raw).decode().rstrip("=")
    texts = (encoded, encoded.replace("/", "\\/"), raw.hex(), raw.hex().upper(), raw[:16].hex())
    return [raw, raw[:16], *(text.encode() for text in texts)]


def use(server, connect, marked):
    """Do what is a decision on keys, and some that is none; the names that keys have in lines."""
    key = marked.headers()

    def ask(method, target, headers, status, **how):
        wire = connect(server, url=how.pop("url", None))
        assert wire.ask(method, target, headers, **how).status == status
        wire.close()

    ask("PUT", "/attic", {}, 200)
    ask("PUT", "/attic/mine", key, 200, body=b"mine")
    ask("GET", "/attic/mine", key, 200)
    ask("GET", "/attic/mine", {}, 400)
    ask("GET", "/attic/mine", type(marked)(secrets.token_bytes(32)).headers(), 403)
    ask("PUT", "/attic/bent", marked.headers(key=marked.encoded[:-1] + "!"), 400)
    ask("PUT", "/attic/plain", {}, 200, body=b"plain")
    ask("PUT", "/attic/kms", {"x-amz-server-side-encryption": "aws:kms"}, 200, body=b"kms")
    ask("GET", "/attic/mine", key, 400, url=server.http_url)
    ask("GET", "/attic/mine", key, 403, keys=(server.access_key, "wrong"))
    kms = server.boto3_client("kms")
    made = kms.create_key()["KeyMetadata"]["Arn"]
    kms.encrypt(KeyId=made, Plaintext=marked.raw)
    with contextlib.suppress(kms.exceptions.NotFoundException):
        kms.encrypt(KeyId="fake", Plaintext=marked.raw)
    kms.close()
    return made


def told(lines):
    """Return what matters of each line of a decision."""
    return [
        (
            *(line.get("operation", ""), line.get("key", ""), line.get("mode", "")),
            *(line["status"], line.get("why", ""), "fingerprint" in line),
        )
        for line in lines
        if line["event"] == "decision"
    ]


EXPECTED = [
    ("PutObject", "mine", "SSE-C", 200, "", True),
    ("GetObject", "mine", "SSE-C", 200, "", True),
    ("GetObject", "mine", "", 400, "KeyRequired", False),
    ("GetObject", "mine", "SSE-C", 403, "WrongKey", True),
    ("PutObject", "bent", "SSE-C", 400, "InvalidArgument", False),
    ("PutObject", "kms", "SSE-KMS", 200, "", False),
    # Refused before anybody asked what it was: only its path is known, and that it had a key.
    ("", "", "SSE-C", 400, "InvalidRequest", True),
    ("GetObject", "mine", "SSE-C", 403, "SignatureDoesNotMatch", True),
    ("CreateKey", "", "", 200, "", False),
    ("Encrypt", "", "", 200, "", False),
    ("Encrypt", "", "", 400, "KmsKeyNotFound", False),
]


@pytest.fixture
def marked(customer):
    return customer(MARK + secrets.token_bytes(28))


def test_a_file_tells_who_did_what_with_which_key_and_never_the_key(connect, marked, tmp_path):
    path = tmp_path / "audit.log"
    with Strongroom(durable=True, http=True, kms=True, args=["--audit-log", str(path)]) as server:
        made = use(server, connect, marked)

        lines = [json.loads(line) for line in path.read_bytes().splitlines()]

        assert told(lines) == EXPECTED
        assert [form for form in forms(marked.raw) if form in path.read_bytes()] == []
        put, get = lines[:2]
        assert put["fingerprint"] == get["fingerprint"]
        assert put["access_key"] == server.access_key
        assert put["who"].endswith(":root")
        assert (put["source"], put["secure"], put["allowed"]) == ("127.0.0.1", True, True)
        assert len(put["request_id"]) == 16
        (plain,) = (line for line in lines if not line["secure"])
        assert (plain["allowed"], plain["fingerprint"]) == (False, put["fingerprint"])
        assert (plain["method"], plain["path"]) == ("GET", "/attic/mine")
        assert "access_key" not in lines[7], "nothing was proven"
        assert [line.get("kms_key") for line in lines[-3:]] == [made, made, "fake"]


def test_alarms_and_commands_are_told_too(connect, marked, customer, run_cli, tmp_path):
    path = tmp_path / "audit.log"
    env = {"STRONGROOM_MASTER_KEY": MASTER_KEY, "STRONGROOM_AUDIT_LOG": str(path)}
    with Strongroom(durable=True, env=env) as server:
        wire = connect(server)
        wire.ask("PUT", "/attic")
        run_cli(server, env, "admin", "bucket", "guard", "attic", "--days", "3")
        wire.ask("PUT", "/attic/mine", marked.headers(), b"mine")
        wire.ask("PUT", "/attic/mine", customer().headers(), b"pay")
        wire.ask("DELETE", "/attic/mine")
        wire.close()

    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    command = lines[0]
    assert (command["event"], command["operation"]) == ("admin", "strongroom admin bucket guard")
    assert command["parameters"] == {"name": "attic", "days": 3}
    foreign, deleted = (line for line in lines if line["event"] == "guard")
    written = [line for line in lines if line["event"] == "decision"]
    assert (foreign["reason"], foreign["foreign"]) == ("overwritten", True)
    assert foreign["fingerprint"] == written[0]["fingerprint"] != foreign["by"]
    assert foreign["request_id"] == written[1]["request_id"]
    assert (deleted["reason"], deleted["foreign"]) == ("deleted", False)


@pytest.mark.parametrize(("mode", "second"), [("open", 200), ("closed", 503)])
def test_a_full_disk_is_counted_or_closes_the_door(connect, marked, mode, second):
    args = ["--audit-log", "/dev/full", "--audit-failure", mode]
    with Strongroom(args=args) as server:
        wire = connect(server)
        wire.ask("PUT", "/attic")

        answers = [wire.ask("PUT", "/attic/a", marked.headers(), b"x").status for _ in range(2)]
        wire.close()

        assert answers == [200, second]
        failures = [each for each in server.log_events() if each["event"] == "audit.failed"]
        assert len(failures) == 1


def test_a_webhook_gets_every_line_though_it_refused_at_first(connect, marked, tmp_path):
    hook = Webhook(tmp_path / "hook", refusals=1)
    env = {"SSL_CERT_FILE": str(hook.ca), "STRONGROOM_AUDIT_TOKEN": TOKEN}
    try:
        with Strongroom(
            durable=True, http=True, kms=True, env=env, args=["--audit-log", hook.url]
        ) as server:
            use(server, connect, marked)
            hook.wait_for(lambda line: line.get("why") == "KmsKeyNotFound")
            left = {
                path: path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()
            }
            log = server.log_text()
    finally:
        hook.close()

    assert told(hook.lines) == EXPECTED
    assert set(hook.tokens) == {f"Bearer {TOKEN}"}
    assert len(hook.tokens) > len(hook.batches)
    places = {"webhook": hook.raw, "log": log.encode(), **left}
    assert [
        place for place, data in places.items() for form in forms(marked.raw) if form in data
    ] == []
    assert "audit.failed" in log
    assert TOKEN not in log
