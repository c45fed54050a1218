"""A marked customer key goes over the wire through everything; afterwards no file has it.

Searched are all files of the data directory, the log, the metrics and all that was answered.
`tests/dialects` searches the memory of the process likewise.
"""

import base64
import hashlib
import json
import secrets
import signal
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from strongroom.crypto import body as bodies
from strongroom.crypto import envelope, geometry
from strongroom.dialects.s3 import protocol, replica_manifest, settings
from strongroom.service import replicas
from strongroom.store import records

MIB = 1024 * 1024
LARGE = bytes(range(256)) * 400
PART = bytes(range(256)) * 20_480
COPY = "x-amz-copy-source-server-side-encryption"
PROXY_SAYS = {"X-Forwarded-Proto": "https"}
ELSEWHERE = "127.0.0.2"
"""An address of this machine that is no trusted proxy."""
MARK = b"\xfb\xef\xbe\xff"
"""Begins the key, so that its base64 has + and / and its forms differ."""


def forms(secret):
    """Return how a secret may be written, by name: as it is, in hex, in base64, escaped."""
    encoded = base64.b64encode(secret).decode()
    url_safe = base64.urlsafe_b64encode(secret).decode()
    texts = {
        "hex": secret.hex(),
        "HEX": secret.hex().upper(),
        "base64": encoded.rstrip("="),
        "base64url": url_safe.rstrip("="),
        "quoted": quote(encoded.rstrip("="), safe=""),
        "quoted, lower": quote(encoded.rstrip("="), safe="").replace("%2B", "%2b"),
        "quoted twice": quote(quote(encoded.rstrip("="), safe=""), safe=""),
        "hex of base64": encoded.rstrip("=").encode().hex(),
        "repr": repr(secret)[2:-1],
        "json": encoded.rstrip("=").replace("/", "\\/"),
    }
    named = {name: text.encode() for name, text in texts.items()} | {"raw": secret}
    return {name: form for name, form in named.items() if len(form) >= 16}


def needles(key):
    """Return every form of the key, its halves, its MD5, and of the key that was encoded twice."""
    named = {
        "key": key.raw,
        "first half": key.raw[: len(key.raw) // 2],
        "second half": key.raw[len(key.raw) // 2 :],
        "MD5": base64.b64decode(key.md5),
        "encoded": key.encoded.encode(),
        "MD5 of encoded": base64.b64decode(md5(key.encoded.encode())),
    }
    return {
        f"{name}, {form}": needle
        for name, secret in named.items()
        for form, needle in forms(secret).items()
    }


def search(key, places):
    """Return (place, form) for each form of the key in `places`, a mapping of name to bytes."""
    wanted = needles(key)
    return sorted(
        (place, form)
        for place, data in places.items()
        for form, needle in wanted.items()
        if needle in data
    )


def md5(data):
    """Return the base64 of an MD5, as headers have it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


class Play:
    """Sends requests, each on a connection of its own, and keeps what was answered."""

    def __init__(self, connect, running, key, other):
        self.connect, self.running, self.key, self.other = connect, running, key, other
        self.shown = {}

    def keep(self, name, answer):
        headers = dict(answer.headers)
        if answer.status < 400:
            # Answers echo the request's own MD5, as S3's do.
            headers.pop("x-amz-server-side-encryption-customer-key-md5", None)
        self.shown[f"answer {len(self.shown)}: {name}"] = repr(headers).encode() + answer.body

    def ask(self, method, target, headers=None, body=b"", *, status, url=None, source=None, **how):
        headers = self.key.headers() if headers is None else headers
        wire = self.connect(self.running, url=url, source=source)
        answer = wire.ask(method, target, headers, body, **how)
        wire.close()
        self.keep(f"{method} {target} {answer.status}", answer)
        assert answer.status == status, answer.body
        return answer

    def plain_use(self):
        self.ask("PUT", "/attic", status=200)
        self.ask("HEAD", "/attic", status=200)
        self.ask("GET", "/attic?location", status=200)
        self.ask("GET", "/", status=200)
        for name, body in (("empty", b""), ("small", b"small"), ("large", LARGE)):
            headers = self.key.headers() | {"x-amz-meta-kind": "film"}
            self.ask("PUT", f"/attic/{name}", headers, body, status=200)
            assert self.ask("GET", f"/attic/{name}", status=200).body == body
            self.ask("HEAD", f"/attic/{name}", status=200)
        ranged = self.key.headers() | {"Range": "bytes=70000-70009"}
        assert self.ask("GET", "/attic/large", ranged, status=206).body == LARGE[70000:70010]
        attributes = self.key.headers() | {"x-amz-object-attributes": "ETag,Checksum,ObjectSize"}
        self.ask("GET", "/attic/small?attributes", attributes, status=200)
        for target in ("/attic", "/attic?list-type=2", "/attic?versions", "/attic?uploads"):
            self.ask("GET", target, status=200)
        self.ask("PUT", "/attic/gone", body=LARGE, status=200)
        self.ask("DELETE", "/attic/gone", status=204)
        document = b"<Delete><Object><Key>empty</Key></Object></Delete>"
        headers = self.key.headers() | {"Content-MD5": md5(document)}
        self.ask("POST", "/attic?delete", headers, document, status=200)
        self.ask("PUT", "/cellar", status=200)
        self.ask("DELETE", "/cellar", status=204)

    def tags(self):
        document = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
        headers = self.key.headers() | {"Content-MD5": md5(document)}
        self.ask("PUT", "/attic/small?tagging", headers, document, status=200)
        self.ask("GET", "/attic/small?tagging", status=200)
        self.ask("DELETE", "/attic/small?tagging", status=204)

    def documents(self):
        document = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
        payer = (
            b"<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"
        )
        pages = (
            b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>"
            b"<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
        )
        for resource, body in (
            ("tagging", document),
            ("requestPayment", payer),
            ("cors", pages),
        ):
            headers = self.key.headers() | {"Content-MD5": md5(body)}
            self.ask("PUT", f"/attic?{resource}", headers, body, status=200)
            self.ask("GET", f"/attic?{resource}", status=200)
        self.ask("OPTIONS", "/attic/small", signed=False, status=400)
        self.ask("DELETE", "/attic?tagging", status=204)
        self.ask("DELETE", "/attic?cors", status=204)
        for kind in ("analytics", "intelligent-tiering", "inventory", "metrics"):
            self.ask("GET", f"/attic?{kind}&id=a", status=404)
            self.ask("GET", f"/attic?{kind}", status=200)
        rules = (
            b"<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status>"
            b"<Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>"
        )
        headers = self.key.headers() | {"Content-MD5": md5(rules)}
        self.ask("PUT", "/attic?lifecycle", headers, rules, status=200)
        self.ask("GET", "/attic?lifecycle", status=200)
        assert "x-amz-expiration" in self.ask("HEAD", "/attic/small", status=200).headers
        self.ask("DELETE", "/attic?lifecycle", status=204)
        for resource in ("lifecycle", "object-lock", "replication", "website"):
            self.ask("GET", f"/attic?{resource}", status=404)
        permit = json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "logging.s3.amazonaws.com"},
                        "Action": "s3:PutObject",
                        "Resource": "arn:aws:s3:::logs/*",
                    }
                ],
            }
        ).encode()
        log = (
            b"<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket>"
            b"<TargetPrefix>a/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>"
        )
        self.ask("PUT", "/logs", status=200)
        headers = self.key.headers() | {"Content-MD5": md5(log)}
        self.ask("PUT", "/attic?logging", headers, log, status=400)
        permitted = self.key.headers() | {"Content-MD5": md5(permit)}
        self.ask("PUT", "/logs?policy", permitted, permit, status=204)
        # From here on all requests are recorded, and delivered when the server ends.
        self.ask("PUT", "/attic?logging", headers, log, status=200)
        for resource in ("abac", "accelerate", "logging", "notification"):
            self.ask("GET", f"/attic?{resource}", status=200)

    def bucket_encryption(self):
        rule = b"<Rule><BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType>"
        document = (
            b"<ServerSideEncryptionConfiguration>%s</BlockedEncryptionTypes></Rule>"
            b"</ServerSideEncryptionConfiguration>" % rule
        )
        headers = self.key.headers() | {"Content-MD5": md5(document)}
        self.ask("PUT", "/attic?encryption", headers, document, status=200)
        self.ask("GET", "/attic?encryption", status=200)
        self.ask("DELETE", "/attic?encryption", status=204)
        self.ask("PUT", "/attic/kms", {"x-amz-server-side-encryption": "aws:kms"}, status=200)
        arn = "x-amz-server-side-encryption-aws-kms-key-id"
        arn = self.ask("HEAD", "/attic/kms", {}, status=200).headers[arn]
        document = (
            "<ObjectEncryption><SSE-KMS><BucketKeyEnabled>true</BucketKeyEnabled>"
            f"<KMSKeyArn>{arn}</KMSKeyArn></SSE-KMS></ObjectEncryption>"
        ).encode()
        headers = self.key.headers() | {"Content-MD5": md5(document)}
        self.ask("PUT", "/attic/kms?encryption", headers, document, status=200)
        self.ask("PUT", "/attic/small?encryption", headers, document, status=400)

    def versions(self):
        document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        headers = self.key.headers() | {"Content-MD5": md5(document)}
        self.ask("PUT", "/vault", status=200)
        self.ask("PUT", "/vault?versioning", headers, document, status=200)
        self.ask("GET", "/vault?versioning", status=200)
        first, second = (
            self.ask("PUT", "/vault/small", body=body, status=200).headers["x-amz-version-id"]
            for body in (b"first", b"second")
        )
        gone = self.ask("DELETE", "/vault/small", status=204).headers["x-amz-version-id"]
        place = "/vault/small?versionId="
        assert self.ask("GET", place + first, status=200).body == b"first"
        self.ask("GET", place + first, self.other.headers(), status=403)
        self.ask("GET", place + gone, status=405)
        self.ask("GET", "/vault/small", status=404)
        self.ask("GET", "/vault?versions", status=200)
        source = {"x-amz-copy-source": place + first} | self.key.headers(COPY)
        self.ask("PUT", "/vault/small", source | self.key.headers(), status=200)
        self.ask("DELETE", place + second, status=204)

    def locks(self):
        own = self.key.headers()

        def put(target, document, status=200, **more):
            headers = own | {"Content-MD5": md5(document)} | more
            self.ask("PUT", target, headers, document, status=status)

        made = self.key.headers() | {"x-amz-bucket-object-lock-enabled": "true"}
        self.ask("PUT", "/archive", made, status=200)
        held = self.key.headers() | {"x-amz-object-lock-legal-hold": "ON", "Content-MD5": md5(b"x")}
        version_id = self.ask("PUT", "/archive/deed", held, b"x", status=200).headers[
            "x-amz-version-id"
        ]
        place = f"/archive/deed?versionId={version_id}"
        self.ask("GET", "/archive/deed?retention", status=404)
        until = b"<RetainUntilDate>2126-01-01T00:00:00Z</RetainUntilDate>"
        put(
            "/archive/deed?retention",
            b"<Retention><Mode>GOVERNANCE</Mode>%s</Retention>" % until,
        )
        self.ask("GET", "/archive/deed?retention", status=200)
        self.ask("GET", "/archive/deed?legal-hold", status=200)
        self.ask("HEAD", "/archive/deed", status=200)
        self.ask("DELETE", place, status=403)
        put("/archive/deed?legal-hold", b"<LegalHold><Status>OFF</Status></LegalHold>")
        bypass = {"x-amz-bypass-governance-retention": "true"}
        put("/archive/deed?retention", b"<Retention/>", 403)
        put("/archive/deed?retention", b"<Retention/>", **bypass)
        self.ask("DELETE", place, status=204)
        rule = (
            b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>"
            b"<DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>"
            b"</ObjectLockConfiguration>"
        )
        put("/archive?object-lock", rule)
        put("/attic?object-lock", rule, 409)
        self.ask("GET", "/archive?object-lock", status=200)

    def acls(self):
        own = self.key.headers() | {"x-amz-acl": "bucket-owner-full-control"}
        public = self.key.headers() | {"x-amz-acl": "public-read"}
        for target in ("/attic?acl", "/attic/small?acl"):
            self.ask("GET", target, status=200)
            self.ask("PUT", target, own, status=200)
            self.ask("PUT", target, public, status=400)
        writer = {"x-amz-object-ownership": "ObjectWriter"}
        self.ask("PUT", "/porch", self.key.headers() | writer, status=200)
        self.ask("DELETE", "/porch?publicAccessBlock", status=204)
        self.ask("PUT", "/porch/step", public, b"open", status=200)
        for target in ("/porch?acl", "/porch/step?acl"):
            self.ask("PUT", target, public, status=200)
            self.ask("GET", target, status=200)

    def policies(self):
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::attic/*",
            "Condition": {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "true"}},
        }
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
        checked = self.key.headers() | {"Content-MD5": md5(text)}
        self.ask("PUT", "/attic?policy", checked, text, status=204)
        self.ask("PUT", "/attic/small", {}, b"refused", status=403)
        broken = self.key.headers() | {"Content-MD5": md5(b"{")}
        self.ask("PUT", "/attic?policy", broken, b"{", status=400)
        self.ask("GET", "/attic?policy", status=200)
        self.ask("GET", "/attic?policyStatus", status=200)
        self.ask("DELETE", "/attic?policy", status=204)
        self.ask("GET", "/attic?policy", status=404)
        block = (
            b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>"
            b"</PublicAccessBlockConfiguration>"
        )
        owner = (
            b"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>"
            b"</Rule></OwnershipControls>"
        )
        for resource, body in (("publicAccessBlock", block), ("ownershipControls", owner)):
            headers = self.key.headers() | {"Content-MD5": md5(body)}
            self.ask("PUT", f"/attic?{resource}", headers, body, status=200)
            self.ask("GET", f"/attic?{resource}", status=200)
            self.ask("DELETE", f"/attic?{resource}", status=204)
            self.ask("GET", f"/attic?{resource}", status=404)

    def replication(self):
        for bucket in ("origin", "twin"):
            self.ask("PUT", f"/{bucket}", status=200)
            state = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            self.ask(
                "PUT",
                f"/{bucket}?versioning",
                self.key.headers() | {"Content-MD5": md5(state)},
                state,
                status=200,
            )
        rules = (
            b"<ReplicationConfiguration><Role>arn:aws:iam::000000000000:role/r</Role><Rule><Prefix/>"
            b"<Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::twin</Bucket></Destination>"
            b"</Rule></ReplicationConfiguration>"
        )
        checked = self.key.headers() | {"Content-MD5": md5(rules)}
        self.ask("PUT", "/origin?replication", checked, rules, status=200)
        self.ask("GET", "/origin?replication", status=200)
        self.ask("PUT", "/origin/large", body=LARGE, status=200)
        self.ask("DELETE", "/origin?replication", status=204)
        blob = f"/twin/k?x-strongroom-replica-blob&blob-id={secrets.token_hex(16)}"
        self.ask("PUT", blob, body=b"sealed", status=200)
        marker = f"version-id={'A' * 32}&modified-ms=1"
        self.ask("PUT", f"/twin/k?x-strongroom-replica-marker&{marker}", status=200)
        part = bodies.BodyPart(1, secrets.token_bytes(16), 0, bytes(8))
        record = bodies.encode(
            bodies.BodyRecord(geometry.SEGMENT_BYTES, 1, (part,)),
            envelope.BodyKey(bytes(32)),
            secrets.token_bytes,
        )
        version = records.Version("origin", "k", "B" * 32, 0, "0" * 32, 1, "", "SSE-C", b"")
        manifest = replica_manifest.encode(replicas.Manifest(version, record, {}), "")
        answer = self.ask("PUT", "/twin/k?x-strongroom-replica", {}, manifest, status=200)
        assert json.loads(answer.body) == {"missing": [part.blob_id.hex()]}
        self.ask("PUT", "/twin/k?x-strongroom-replica", {}, b"{}", status=400)

    def forms(self):
        boundary = "boundary"
        s3 = self.running.boto3_client()
        fields = {name.lower(): text for name, text in self.key.headers().items()}
        made = s3.generate_presigned_post(
            "attic",
            "form",
            Fields=fields,
            Conditions=[{name: text} for name, text in fields.items()],
        )["fields"]
        s3.close()
        bent = [made | {"key": "no"}, made | {"x-amz-meta-a": "b"}, made | {"signature": "no"}]
        lacking = {name: text for name, text in made.items() if name != "key"}
        for form, status in ((made, 204), (lacking, 400), *((form, 403) for form in bent)):
            parts = "".join(
                f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
                for name, text in (*form.items(), ("file", "content"))
            )
            self.ask(
                "POST",
                "/attic",
                {"Content-Type": f"multipart/form-data; boundary={boundary}"},
                f"{parts}--{boundary}--\r\n".encode(),
                status=status,
                signed=False,
            )
        assert self.ask("GET", "/attic/form", status=200).body == b"content"

    def copies(self):
        from_large = {"x-amz-copy-source": "/attic/large"} | self.key.headers(COPY)
        self.ask("PUT", "/attic/copy", from_large | self.key.headers(), status=200)
        self.ask("PUT", "/attic/plain", from_large, status=200)
        self.ask("PUT", "/attic/moved", from_large | self.other.headers(), status=200)
        wrong = {"x-amz-copy-source": "/attic/moved"} | self.key.headers(COPY)
        self.ask("PUT", "/attic/no", wrong | self.key.headers(), status=403)
        bent = {"x-amz-copy-source": "/attic/large"} | self.key.headers(COPY, md5=self.other.md5)
        self.ask("PUT", "/attic/no", bent, status=400)

    def parts(self):
        begun = self.ask("POST", "/attic/film?uploads", status=200).field("UploadId")
        place = f"/attic/film?uploadId={begun}"
        etags = [
            self.ask("PUT", f"{place}&partNumber=1", body=PART, status=200).headers["etag"],
            self.ask(
                "PUT",
                f"{place}&partNumber=2",
                {"x-amz-copy-source": "/attic/large"} | self.key.headers(COPY) | self.key.headers(),
                status=200,
            ).field("ETag"),
        ]
        self.ask("PUT", f"{place}&partNumber=3", self.other.headers(), PART, status=400)
        self.ask("PUT", f"{place}&partNumber=3", {}, PART, status=400)
        self.ask("GET", place, status=200)
        self.ask("POST", place, body=b"<CompleteMultipartUpload>", status=400)
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        self.ask("POST", place, body=document, status=200)
        assert self.ask("GET", "/attic/film", status=200).body == PART + LARGE
        self.ask("GET", "/attic/film?partNumber=2", status=206)
        aborted = self.ask("POST", "/attic/no?uploads", status=200).field("UploadId")
        self.ask("PUT", f"/attic/no?uploadId={aborted}&partNumber=1", body=PART, status=200)
        self.ask("DELETE", f"/attic/no?uploadId={aborted}", status=204)
        # Left open, so that draft, escrow and part are searched as well.
        left = self.ask("POST", "/attic/open?uploads", status=200).field("UploadId")
        self.ask("PUT", f"/attic/open?uploadId={left}&partNumber=1", body=PART, status=200)

    def mistakes(self):
        twice = base64.b64encode(self.key.encoded.encode()).decode()
        of_twice = md5(self.key.encoded.encode())
        for bent in (
            {"md5": self.other.md5},
            {"md5": None},
            {"md5": self.key.md5 + "!"},
            {"algorithm": None},
            {"algorithm": "AES128"},
            {"key": None},
            {"key": twice, "md5": of_twice},
            {"key": self.key.encoded + "!"},
            {"key": self.key.raw.hex()},
        ):
            for method in ("PUT", "GET", "HEAD"):
                # On a read, a key that does not fit may be told before what is wrong with it.
                status = 403 if "md5" in bent and "key" in bent and method != "PUT" else 400
                self.ask(method, "/attic/small", self.key.headers(**bent), status=status)
        self.ask("GET", "/attic/small", self.other.headers(), status=403)
        self.ask("GET", "/attic/moved", status=403)
        self.ask("GET", "/attic/nothing", status=404)
        self.ask("GET", "/nobody/nothing", status=404)
        self.ask("GET", "/attic/small?torrent", status=501)
        self.ask("PATCH", "/attic/small", status=405)
        self.ask("PUT", "/attic/%ff", status=400)
        both = self.key.headers() | {"x-amz-server-side-encryption": "AES256"}
        self.ask("PUT", "/attic/no", both, b"x", status=400)
        large = self.key.headers() | {"x-amz-meta-a": "a" * 9000}
        self.ask("PUT", "/attic/no", large, b"x", status=400)
        wrong = self.key.headers() | {"Content-MD5": base64.b64encode(bytes(16)).decode()}
        self.ask("PUT", "/attic/no", wrong, LARGE, status=400)
        self.ask("PUT", "/attic/no", body=LARGE, payload="0" * 64, status=400)
        self.ask("PUT", "/attic/no", body=b"", length=False, status=411)

    def signatures(self):
        root, nobody = (self.running.access_key, "wrong"), ("NOBODY", "wrong")
        for method in ("PUT", "GET", "HEAD", "DELETE"):
            self.ask(method, "/attic/small", keys=root, status=403)
            self.ask(method, "/attic/small", keys=nobody, status=403)
            self.ask(method, "/attic/small", signed=False, status=403)
        garbled = self.key.headers() | {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}
        self.ask("GET", "/attic/small", garbled, signed=False, status=400)
        self.ask("GET", "/-/metrics", signed=False, status=403)
        self.ask("GET", "/-/metrics", status=200)
        self.ask("GET", "/-/health/live", status=200)

    def queries(self):
        quoted = quote(self.key.encoded, safe="")
        name = "x-amz-server-side-encryption-customer-key"
        target = f"/attic/small?{name}={quoted}&{name}-MD5={quote(self.key.md5, safe='')}"
        self.ask("GET", target, {}, status=400)
        self.ask("GET", target, {}, keys=(self.running.access_key, "wrong"), status=403)
        self.ask("GET", target, {}, signed=False, status=403)
        self.ask("GET", target, {}, url=self.running.http_url, status=400)
        endpoint = urlsplit(self.running.endpoint_url)
        request = AWSRequest("GET", f"{endpoint.geturl()}/attic/large", headers=self.key.headers())
        credentials = Credentials(self.running.access_key, self.running.secret_key)
        S3SigV4QueryAuth(credentials, "s3", "us-east-1", 600).add_auth(request)
        parts = urlsplit(request.url)
        presigned = f"{parts.path}?{parts.query}"
        answer = self.ask("GET", presigned, signed=False, status=200)
        assert answer.body == LARGE
        self.ask("GET", presigned, {}, signed=False, status=403)
        self.ask("GET", f"{presigned}0", signed=False, status=403)
        self.ask("GET", presigned, self.other.headers(), signed=False, status=403)

    def plain_http(self):
        plain = {"url": self.running.http_url}
        for method in ("PUT", "GET", "HEAD", "POST", "DELETE"):
            self.ask(method, "/attic/small", status=400, **plain)
            forged = self.key.headers() | PROXY_SAYS
            self.ask(method, "/attic/small", forged, source=ELSEWHERE, status=400, **plain)
        source = {"x-amz-copy-source": "/attic/large"} | self.key.headers(COPY)
        self.ask("PUT", "/attic/no", source, status=400, **plain)
        believed = self.key.headers() | PROXY_SAYS
        self.ask("PUT", "/attic/proxied", believed, b"private", status=200, **plain)
        assert self.ask("GET", "/attic/proxied", believed, status=200, **plain).body == b"private"
        metrics = {"url": self.running.metrics_url, "signed": False}
        self.ask("GET", "/-/metrics", status=200, **metrics)
        self.ask("GET", "/attic/small", status=404, **metrics)

    def breaks(self):
        """Hang up in the middle of an upload, a download and a head."""
        wire = self.connect(self.running)
        headers = self.key.headers() | {"Content-Length": str(10 * MIB)}
        signed = wire.signed("PUT", "/attic/no", headers, payload="UNSIGNED-PAYLOAD")
        wire.send_head("PUT", "/attic/no", signed)
        wire.send(PART)
        wire.close()
        wire = self.connect(self.running)
        wire.send_head("GET", "/attic/film", wire.signed("GET", "/attic/film", self.key.headers()))
        wire.sock.recv(1000)
        wire.close()
        wire = self.connect(self.running)
        triple = "".join(f"{name}: {value}\r\n" for name, value in self.key.headers().items())
        wire.send(f"GET /attic/film HTTP/1.1\r\nHost: {wire.host}\r\n{triple}".encode())
        wire.close()
        wire = self.connect(self.running)
        wire.send(f"GET /attic/film HTTP/9.9\r\nno header {triple}\r\n\r\n".encode())
        self.shown["garbled head"] = wire.rest()
        wire.close()

    def run(self):
        for act in (
            *(self.plain_use, self.tags, self.documents, self.bucket_encryption, self.acls),
            *(self.versions, self.locks, self.policies, self.copies, self.parts),
            *(self.mistakes, self.signatures, self.queries, self.plain_http, self.breaks),
            *(self.forms, self.replication),
        ):
            act()


@pytest.fixture
def marked(customer):
    return customer(MARK + secrets.token_bytes(28))


@pytest.fixture
def audit_log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def running(make_server, audit_log):
    args = ["--trusted-proxy", "127.0.0.1/32", "--audit-log", str(audit_log)]
    return make_server(http=True, metrics=True, args=args)


def left_behind(running):
    """Read every file of the data directory, and the log."""
    files = {
        f"file {path.relative_to(running.data_dir)}": path.read_bytes()
        for path in running.data_dir.rglob("*")
        if path.is_file()
    }
    return files | {"log": running.log_path.read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_customer_key_is_left_nowhere(connect, running, audit_log, marked, customer, number):
    """S000.7, S000.10, S001.1, S001.2, S003.9, S003.14."""
    play = Play(connect, running, marked, customer())
    play.run()
    running.process.send_signal(number)
    running.process.wait(60)

    places = left_behind(running) | play.shown | {"audit log": audit_log.read_bytes()}

    assert search(marked, places) == []
    asked = [(e.get("operation"), e.get("status", 0)) for e in running.log_events()]
    served = {name for name, status in asked if 200 <= status < 300}
    # What no bucket has here is answered with 404, as by a bucket without it.
    served |= {name for name, status in asked if status == 404 and name in settings.NEVER_HAD}
    assert set(protocol.HANDLERS) - served == set(), "every operation that is served took part"
    told = [json.loads(line) for line in places["audit log"].splitlines()]
    refused = [one for one in told if not one["allowed"]]
    assert {one["secure"] for one in refused} == {True, False}
    assert sum(one.get("why") == "WrongKey" for one in refused) > 3
    wal = "file catalog.sqlite-wal"
    assert (wal in places and len(places[wal]) > 0) == (number == signal.SIGKILL)
    assert sum(name.startswith("file blobs/") for name in places) > 5


@pytest.mark.slow
def test_the_search_finds_what_is_on_the_disk(connect, running, marked):
    wire = connect(running)
    assert wire.ask("PUT", "/attic").status == 200
    name = marked.raw.hex()
    wire.ask("PUT", f"/attic/{name}", {}, b"x")
    missing = wire.ask("GET", f"/attic/{name}-gone")
    (running.data_dir / "blobs" / "planted").write_bytes(b"before" + marked.raw + b"after")
    running.process.kill()
    running.process.wait(60)

    found = search(marked, left_behind(running) | {"answer": missing.body})

    places = {place for place, _ in found}
    assert {"log", "answer", "file blobs/planted"} <= places
    assert places & {"file catalog.sqlite", "file catalog.sqlite-wal"}


def test_the_search_finds_every_form(marked):
    for name, form in needles(marked).items():
        assert (name, name) in search(marked, {name: b"before" + form + b"after"})
