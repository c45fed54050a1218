"""For tests of several rooms: any sequence of a client's calls against a model, and Google's Tink."""

import dataclasses
import functools
import io
import itertools
import sys
from operator import itemgetter

import jwt
import jwt.algorithms
import pytest
from botocore import exceptions
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

# Names that are prefixes of each other, that delimit, and whose order is that of UTF-8.
NAMES = ["a", "a-", "a/", "a/b", "a/b/c", "b c+%", "é/ü", "\uffef", "\U0001f511"]
KEYS = st.sampled_from(NAMES)
PICKS = st.integers(0, 99)
"""Which object, of those that are there; a small one, whether it is there or not."""
PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "é", "none"])
DELIMITERS = st.sampled_from(["", "/", "b", "/b/"])
PAGES = st.sampled_from([1, 2, 3, 1000])
HOLDERS = st.sampled_from([None, 1, 2])
"""Whose key it is: the server's, or a customer's first or second."""
# Around the borders of inline bodies and of segments.
SIZES = st.sampled_from([0, 1, 16 * 1024, 16 * 1024 + 1, 65_480, 65_481, 140_000])
TAGS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["", "1", "é"]), max_size=3)
NUMBERS = st.integers(1, 3)

RAW_KEYS = {1: b"1" * 32, 2: b"2" * 32}
PATTERN = b"".join(n.to_bytes(3) for n in range(50_000))


def own_key(holder):
    if holder is None:
        return {}
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": RAW_KEYS[holder]}


def source_key(holder):
    return {f"CopySource{name}": value for name, value in own_key(holder).items()}


def header(tags):
    return "&".join(f"{name}={value}" for name, value in tags.items()).replace("é", "%C3%A9")


def refusal(holder, brought):
    """Return the code of an answer to `brought`'s key, None if it opens what is `holder`'s."""
    if holder == brought:
        return None
    return "InvalidRequest" if None in (holder, brought) else "AccessDenied"


def in_order(names):
    return sorted(names, key=str.encode)


@dataclasses.dataclass
class Kept:
    """What an object should be."""

    body: bytes
    holder: int | None
    tags: dict[str, str]
    note: str
    etag: str


@dataclasses.dataclass
class Opened:
    """What an upload should be, and what was made of it: parts are number → (ETag, body)."""

    upload_id: str
    key: str
    holder: int | None
    tags: dict[str, str]
    parts: dict[int, tuple[str, bytes]]
    is_open: bool = True
    made: Kept | None = None
    made_of: str = ""


class AnySequence(RuleBasedStateMachine):
    """Does what a client may do, and expects what a few dicts say.

    Attributes:
        client: boto3's; set in a subclass.
    """

    client = None
    numbers = itertools.count()
    uploads = Bundle("uploads")

    def __init__(self):
        super().__init__()
        self.objects = {}
        self.opened = []
        self.writes = 0
        self.bucket = f"any-sequence-{next(self.numbers)}"
        self.client.create_bucket(Bucket=self.bucket)

    def teardown(self):
        # After a failure the dicts say nothing, and a second failure would hide the first.
        if sys.exc_info()[0] is None:
            self.read_everything()
        for row in self.call("list_multipart_uploads").get("Uploads", []):
            self.call("abort_multipart_upload", Key=row["Key"], UploadId=row["UploadId"])
        for row in self.call("list_objects_v2").get("Contents", []):
            self.call("delete_object", Key=row["Key"])
        self.call("delete_bucket")

    def call(self, method, expected=None, **options):
        """Call a method of the client; return the answer, or None if `expected` is its refusal."""
        try:
            answer = getattr(self.client, method)(Bucket=self.bucket, **options)
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] != expected:
                raise
            return None
        assert expected is None, f"{method} is to be refused with {expected}"
        return answer

    def pick(self, number):
        """Return the key that a number of `PICKS` stands for."""
        there = in_order(self.objects)
        if number < len(NAMES) or not there:
            return NAMES[number % len(NAMES)]
        return there[number % len(there)]

    def new_body(self, size):
        """Return bytes that no other body has."""
        self.writes += 1
        return (self.writes.to_bytes(8) + PATTERN)[:size]

    # Objects

    @initialize(target=uploads, sizes=st.lists(SIZES, min_size=4, max_size=4), holder=HOLDERS)
    def begin(self, sizes, holder):
        for key, size in zip(NAMES[::2], sizes, strict=False):
            self.put(key, size, holder, {})
        found = self.create("a/b", holder, {}), self.create("a/", None, {"x": "1"})
        for upload, size in zip(found, sizes, strict=False):
            self.put_part(upload, 1, size, upload.holder, right=True)
        return multiple(*found)

    @rule(key=KEYS, size=SIZES, holder=HOLDERS, tags=TAGS)
    def put(self, key, size, holder, tags):
        body = self.new_body(size)
        note = f"note {self.writes}"

        answer = self.call(
            "put_object",
            Key=key,
            Body=body,
            Tagging=header(tags),
            Metadata={"note": note},
            **own_key(holder),
        )

        self.objects[key] = Kept(body, holder, tags, note, answer["ETag"])

    @rule(key=KEYS, size=SIZES)
    def put_where_nothing_is(self, key, size):
        body = self.new_body(size)
        refused = "PreconditionFailed" if key in self.objects else None

        answer = self.call("put_object", refused, Key=key, Body=body, IfNoneMatch="*")

        if refused is None:
            self.objects[key] = Kept(body, None, {}, "", answer["ETag"])

    @rule(pick=PICKS, holder=HOLDERS)
    def get_under_any_key(self, pick, holder):
        self.get(self.pick(pick), holder)

    def get(self, key, holder):
        kept = self.objects.get(key)
        refused = "NoSuchKey" if kept is None else refusal(kept.holder, holder)

        answer = self.call("get_object", refused, Key=key, **own_key(holder))

        if answer is not None:
            assert answer["Body"].read() == kept.body
            assert answer["ETag"] == kept.etag
            assert answer["Metadata"].get("note", "") == kept.note
            assert answer.get("TagCount", 0) == len(kept.tags)

    @rule(pick=PICKS, first=st.integers(0, 150_000), count=st.integers(1, 150_000))
    def get_range(self, pick, first, count):
        key = self.pick(pick)
        kept = self.objects.get(key)
        if kept is None:
            return
        refused = None if first < len(kept.body) else "InvalidRange"

        answer = self.call(
            "get_object",
            refused,
            Key=key,
            Range=f"bytes={first}-{first + count - 1}",
            **own_key(kept.holder),
        )

        if answer is not None:
            assert answer["Body"].read() == kept.body[first : first + count]

    def read_everything(self):
        for key, kept in self.objects.items():
            self.get(key, kept.holder)
            self.get_tags(key)

    @rule(pick=PICKS)
    def delete(self, pick):
        key = self.pick(pick)
        self.call("delete_object", Key=key)
        self.objects.pop(key, None)

    @rule(keys=st.sets(KEYS, min_size=1, max_size=4))
    def delete_many(self, keys):
        if not keys:
            return
        answer = self.call(
            "delete_objects", Delete={"Objects": [{"Key": key} for key in in_order(keys)]}
        )
        assert {row["Key"] for row in answer["Deleted"]} == keys
        assert "Errors" not in answer
        for key in keys:
            self.objects.pop(key, None)

    # Copies

    @rule(pick=PICKS, to=KEYS, holder=HOLDERS, tags=st.none() | TAGS)
    def copy_with_the_right_key(self, pick, to, holder, tags):
        source = self.pick(pick)
        kept = self.objects.get(source)
        self.copy(source, to, kept.holder if kept else None, holder, tags)

    @rule(pick=PICKS, to=KEYS, brought=HOLDERS, holder=HOLDERS)
    def copy_with_any_key(self, pick, to, brought, holder):
        self.copy(self.pick(pick), to, brought, holder, None)

    def copy(self, source, to, brought, holder, tags):
        kept = self.objects.get(source)
        refused = "NoSuchKey" if kept is None else refusal(kept.holder, brought)
        if source == to and brought is holder is None:
            refused = "InvalidRequest"
        options = {} if tags is None else {"TaggingDirective": "REPLACE", "Tagging": header(tags)}

        answer = self.call(
            "copy_object",
            refused,
            Key=to,
            CopySource={"Bucket": self.bucket, "Key": source},
            **source_key(brought),
            **own_key(holder),
            **options,
        )

        if answer is not None:
            self.objects[to] = Kept(
                kept.body,
                holder,
                dict(kept.tags) if tags is None else tags,
                kept.note,
                answer["CopyObjectResult"]["ETag"],
            )

    @rule(pick=PICKS, holder=HOLDERS)
    def take_another_key(self, pick, holder):
        key = self.pick(pick)
        kept = self.objects.get(key)
        if kept is not None:
            self.copy(key, key, kept.holder, holder, None)

    @rule(pick=PICKS)
    def note_something_else(self, pick):
        key = self.pick(pick)
        kept = self.objects.get(key)
        if kept is None:
            return
        self.writes += 1
        note = f"note {self.writes}"

        answer = self.call(
            "copy_object",
            Key=key,
            CopySource={"Bucket": self.bucket, "Key": key},
            MetadataDirective="REPLACE",
            Metadata={"note": note},
            **source_key(kept.holder),
            **own_key(kept.holder),
        )

        etag = answer["CopyObjectResult"]["ETag"]
        self.objects[key] = dataclasses.replace(kept, note=note, etag=etag)

    # Tags

    def get_tags(self, key):
        kept = self.objects.get(key)

        answer = self.call("get_object_tagging", None if kept else "NoSuchKey", Key=key)

        if kept is not None:
            assert {tag["Key"]: tag["Value"] for tag in answer["TagSet"]} == kept.tags

    @rule(pick=PICKS, tags=TAGS)
    def set_tags(self, pick, tags):
        key = self.pick(pick)
        kept = self.objects.get(key)
        rows = [{"Key": name, "Value": value} for name, value in tags.items()]

        self.call(
            "put_object_tagging",
            None if kept else "NoSuchKey",
            Key=key,
            Tagging={"TagSet": rows},
        )

        if kept is not None:
            kept.tags = tags

    @rule(pick=PICKS)
    def delete_tags(self, pick):
        key = self.pick(pick)
        kept = self.objects.get(key)

        self.call("delete_object_tagging", None if kept else "NoSuchKey", Key=key)

        if kept is not None:
            kept.tags = {}

    # Listings

    @rule(
        method=st.sampled_from(["list_objects", "list_objects_v2"]),
        prefix=PREFIXES,
        delimiter=DELIMITERS,
        size=PAGES,
    )
    def list_objects(self, method, prefix, delimiter, size):
        pages = self.client.get_paginator(method).paginate(
            Bucket=self.bucket,
            Prefix=prefix,
            Delimiter=delimiter,
            PaginationConfig={"PageSize": size},
        )
        rows, prefixes = [], []
        for page in pages:
            here = page.get("Contents", []), page.get("CommonPrefixes", [])
            assert sum(map(len, here)) <= size
            rows += here[0]
            prefixes += [row["Prefix"] for row in here[1]]

        expected, rolled = [], set()
        for key in in_order(key for key in self.objects if key.startswith(prefix)):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            if at < 0:
                expected.append((key, len(self.objects[key].body), self.objects[key].etag))
            else:
                rolled.add(key[: at + len(delimiter)])
        assert list(map(itemgetter("Key", "Size", "ETag"), rows)) == expected
        assert prefixes == in_order(rolled)

    @rule(prefix=PREFIXES, size=PAGES)
    def list_uploads(self, prefix, size):
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": size}
        )
        rows = [row for page in pages for row in page.get("Uploads", [])]

        found = [row["Key"] for row in rows]
        there = [one for one in self.opened if one.is_open and one.key.startswith(prefix)]
        assert found == in_order(found)
        assert {row["UploadId"]: row["Key"] for row in rows} == {
            one.upload_id: one.key for one in there
        }
        assert len(rows) == len(there)

    # Uploads

    @rule(target=uploads, key=KEYS, holder=HOLDERS, tags=TAGS)
    def create(self, key, holder, tags):
        answer = self.call(
            "create_multipart_upload", Key=key, Tagging=header(tags), **own_key(holder)
        )
        self.opened.append(Opened(answer["UploadId"], key, holder, tags, {}))
        return self.opened[-1]

    def of_upload(self, upload):
        return {"Key": upload.key, "UploadId": upload.upload_id}

    def part_refusal(self, upload, holder):
        if not upload.is_open:
            return "NoSuchUpload"
        return None if upload.holder == holder else "InvalidRequest"

    @rule(upload=uploads, number=NUMBERS, size=SIZES, holder=HOLDERS, right=st.booleans())
    def put_part(self, upload, number, size, holder, right):
        holder = upload.holder if right else holder
        body = self.new_body(size)

        answer = self.call(
            "upload_part",
            self.part_refusal(upload, holder),
            **self.of_upload(upload),
            PartNumber=number,
            Body=body,
            **own_key(holder),
        )

        if answer is not None:
            upload.parts[number] = (answer["ETag"], body)

    @rule(upload=uploads, number=NUMBERS, pick=PICKS, cut=st.booleans())
    def copy_part(self, upload, number, pick, cut):
        source = self.pick(pick)
        kept = self.objects.get(source)
        refused = "NoSuchKey" if kept is None else self.part_refusal(upload, upload.holder)
        body = kept.body if kept else b""
        cut = cut and len(body) > 1
        options = {"CopySourceRange": f"bytes=1-{len(body) - 1}"} if cut else {}

        answer = self.call(
            "upload_part_copy",
            refused,
            **self.of_upload(upload),
            PartNumber=number,
            CopySource={"Bucket": self.bucket, "Key": source},
            **source_key(kept.holder if kept else None),
            **own_key(upload.holder),
            **options,
        )

        if answer is not None:
            etag = answer["CopyPartResult"]["ETag"]
            upload.parts[number] = (etag, body[1:] if cut else body)

    @rule(upload=uploads, size=PAGES)
    def list_parts(self, upload, size):
        if not upload.is_open:
            self.call("list_parts", "NoSuchUpload", **self.of_upload(upload))
            return
        pages = self.client.get_paginator("list_parts").paginate(
            Bucket=self.bucket, **self.of_upload(upload), PaginationConfig={"PageSize": size}
        )
        rows = [row for page in pages for row in page.get("Parts", [])]

        expected = [(n, etag, len(body)) for n, (etag, body) in sorted(upload.parts.items())]
        assert list(map(itemgetter("PartNumber", "ETag", "Size"), rows)) == expected

    @rule(upload=uploads, number=NUMBERS)
    def complete(self, upload, number):
        """Make an object of one part: of several, all but the last would have to be large."""
        etag, body = upload.parts.get(number, ('"none"', b""))
        refused = None
        if upload.is_open:
            refused = None if number in upload.parts else "InvalidPart"
        elif (
            upload.made is None
            or self.objects.get(upload.key) is not upload.made
            or etag != upload.made_of
        ):
            refused = "NoSuchUpload"

        answer = self.call(
            "complete_multipart_upload",
            refused,
            **self.of_upload(upload),
            MultipartUpload={"Parts": [{"PartNumber": number, "ETag": etag}]},
        )

        if answer is not None and upload.is_open:
            upload.is_open = False
            upload.made = Kept(body, upload.holder, dict(upload.tags), "", answer["ETag"])
            upload.made_of = etag
            self.objects[upload.key] = upload.made
        elif answer is not None:
            assert answer["ETag"] == upload.made.etag

    @rule(target=uploads, key=KEYS, size=SIZES, holder=HOLDERS, tags=TAGS, pick=PICKS)
    def upload_at_once(self, key, size, holder, tags, pick):
        upload = self.create(key, holder, tags)
        self.put_part(upload, 1, size, holder, right=True)
        self.copy_part(upload, 2, pick, cut=True)
        self.complete_with_small_parts(upload)
        self.complete(upload, 2 if 2 in upload.parts else 1)
        return upload

    @rule(upload=uploads)
    def complete_with_small_parts(self, upload):
        if not upload.is_open or len(upload.parts) == 1:
            return
        named = [{"PartNumber": n, "ETag": etag} for n, (etag, _) in sorted(upload.parts.items())]

        self.call(
            "complete_multipart_upload",
            "EntityTooSmall" if named else "MalformedXML",
            **self.of_upload(upload),
            MultipartUpload={"Parts": named},
        )

    @rule(upload=uploads)
    def abort(self, upload):
        self.call(
            "abort_multipart_upload",
            None if upload.is_open else "NoSuchUpload",
            **self.of_upload(upload),
        )
        upload.is_open = False


@pytest.fixture(scope="session")
def run_machine():
    """Run sequences of calls through a boto3 client; a machine's model must agree."""

    def run(machine, client, *, examples, steps):
        run_state_machine_as_test(
            type("Machine", (machine,), {"client": client}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                # Making a failure shorter takes minutes; forty calls can be read as they are.
                phases=[Phase.explicit, Phase.reuse, Phase.generate],
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )

    return run


@pytest.fixture(scope="session")
def run_any_sequence(run_machine):
    """Run sequences of calls through a boto3 client; they must agree with a dict model."""
    return functools.partial(run_machine, AnySequence)


@pytest.fixture(scope="session")
def tink_of():
    """Return Tink's streaming AEAD of a stream key, in the profile that is stored."""
    # Here, because most test processes have nothing to do with it.
    import tink  # noqa: PLC0415
    from tink import secret_key_access, streaming_aead  # noqa: PLC0415
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2  # noqa: PLC0415

    streaming_aead.register()

    def made(stream_key, segment_bytes=65536):
        value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
            version=0,
            key_value=stream_key.reveal(),
            params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
                ciphertext_segment_size=segment_bytes,
                derived_key_size=32,
                hkdf_hash_type=common_pb2.SHA256,
            ),
        )
        data = tink_pb2.KeyData(
            type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
            value=value.SerializeToString(),
            key_material_type=tink_pb2.KeyData.SYMMETRIC,
        )
        only = tink_pb2.Keyset.Key(
            key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW, key_data=data
        )
        keyset = tink_pb2.Keyset(primary_key_id=1, key=[only])
        text = keyset.SerializeToString()
        handle = tink.proto_keyset_format.parse(text, secret_key_access.TOKEN)
        return handle.primitive(streaming_aead.StreamingAead)

    return made


@pytest.fixture(scope="session")
def tink_opens(tink_of):
    """Let Tink open a stored stream, given its stream key and the AAD."""

    def opened(stream_key, aad, sealed, segment_bytes=65536):
        opener = tink_of(stream_key, segment_bytes)
        with opener.new_decrypting_stream(io.BytesIO(sealed), aad) as stream:
            return stream.read()

    return opened


class Issuer:
    """An issuer of identity tokens: its keys, its documents, its tokens."""

    def __init__(self, url="https://issuer.example/realm", *, base=None):
        self.url = url
        self.base = url if base is None else base
        self.keys = {}
        self.rotate("first")

    def rotate(self, key_id, key=None):
        """Sign with a new key from now on, and show no other."""
        self.key_id = key_id
        self.keys = {key_id: key or ec.generate_private_key(ec.SECP256R1())}

    @property
    def documents(self):
        """What lies at which path below the issuer's URL."""
        about = {"issuer": self.url, "jwks_uri": f"{self.base}/keys"}
        return {"/.well-known/openid-configuration": about, "/keys": self.key_set}

    @property
    def key_set(self):
        return {"keys": [public_jwk(key, key_id) for key_id, key in self.keys.items()]}

    def token(self, now_s, *, headers=None, algorithm="ES256", key=None, **claims):
        """Return a token; a claim or header that is None is left out."""
        payload = {
            "iss": self.url,
            "sub": "ann",
            "aud": "strongroom",
            "iat": now_s,
            "exp": now_s + 300,
        } | claims
        head = {"kid": self.key_id} | (headers or {})
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None},
            self.keys[self.key_id] if key is None else key,
            algorithm,
            {name: value for name, value in head.items() if value is not None},
        )


def public_jwk(key, key_id, **more):
    """Return the public half of a key as a JSON Web Key."""
    family = jwt.algorithms.RSAAlgorithm if hasattr(key, "decrypt") else jwt.algorithms.ECAlgorithm
    return {**family.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"} | more


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def make_issuer():
    return Issuer
