"""A marked customer key goes through everything; afterwards it must be nowhere.

S000.10 S001.1 S001.2 S002.4 S003.9 S003.14: searched are the catalog, the blobs, the
objects that outlive a request, every reply and every report of a failure, for the
key and its MD5 in all the forms in which they might get there.
"""

import base64
import collections
import gc
import hashlib
import traceback
import types
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.dialects import operation
from strongroom.wire import binding, chunked, message

# Its base64 has + and /, so that the forms differ; a beginning of it is enough to be found.
CANARY = b"\xfb\xef\xbe\xff\xff\xffcanary, that must not sing"
assert len(CANARY) == 32
LARGE = bytes(100_000)
ECHO = "x-amz-server-side-encryption-customer-key-md5"
KEY_HEADER = "x-amz-server-side-encryption-customer-key"


def forms(raw):
    """Return how some bytes may be written: themselves, hex, base64, and what becomes of these."""
    plain = base64.b64encode(raw)
    found = {raw, repr(raw)[2:-1].encode(), raw.hex().encode(), raw.hex().upper().encode()}
    found |= {raw.hex(" ").encode(), raw.hex(":").encode(), raw.decode("latin-1").encode()}
    for text in (plain, plain.rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")):
        once = quote(text, safe="").encode()
        found |= {text, once, quote(once, safe="").encode(), text.hex().encode()}
        found |= {text.hex(" ").encode(), base64.b64encode(text).rstrip(b"=")[:-1]}
    return found


NEEDLES = forms(CANARY[:24]) | forms(hashlib.md5(CANARY, usedforsecurity=False).digest())


def sings(data):
    """Return the forms of the key that are in some bytes."""
    return {needle for needle in NEEDLES if needle in data}


def children(item):
    """Return what an object refers to."""
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset | collections.deque):
        return list(item)
    if isinstance(item, types.FunctionType | types.MethodType):
        cells = item.__closure__ or ()
        return [getattr(item, "__self__", None), *(cell.cell_contents for cell in cells)]
    if isinstance(item, BaseException):
        return [item.args, vars(item), item.__cause__, item.__context__]
    if not any(kind.__module__.startswith("strongroom") for kind in type(item).__mro__):
        return []
    slots = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
    return [getattr(item, "__dict__", {}), *(getattr(item, name, None) for name in slots)]


def walk(root):
    """Yield all text and bytes that can be reached from an object."""
    # The objects themselves, not only their ids: what is freed gives its id to another.
    seen, queue = {}, collections.deque([root])
    while queue:
        item = queue.popleft()
        if id(item) in seen or isinstance(item, type | types.ModuleType | binding.Binding):
            continue
        seen[id(item)] = item
        if isinstance(item, bytes | bytearray):
            yield bytes(item)
        elif isinstance(item, str):
            yield item.encode("utf-8", "surrogatepass")
        elif isinstance(item, SecretKey):
            yield item.reveal()
        else:
            queue.extend(children(item))


def heard(store):
    """Return where the key can be heard: (place, form)."""
    found = [("kept", form) for data in walk(store.core) for form in sings(data)]
    for status, headers, body in store.answers:
        shown = b"\n".join(name + b": " + value for name, value in headers if name != ECHO.encode())
        found += [(f"reply {status}", form) for form in sings(shown) | sings(body)]
    for error in store.reported:
        text = "".join(traceback.format_exception(error)) + repr(error)
        found += [("report", form) for form in sings(text.encode())]
        found += [("error", form) for data in walk(error) for form in sings(data)]
    return found


def alive():
    """Return the keys in the process that are the canary."""
    gc.collect()
    return [
        item
        for item in gc.get_objects()
        if isinstance(item, SecretKey) and item.reveal().startswith(CANARY[:24])
    ]


@pytest.fixture
def canary(customer_key):
    return customer_key(CANARY)


SCENARIOS = {}


def scenario(play):
    SCENARIOS[play.__name__] = play
    return play


@scenario
def plain_use(store, canary, _other):
    for name, body in (("empty", b""), ("small", b"small"), ("large", LARGE)):
        put = store.ask("PUT", f"/bucket/{name}", canary.headers() | {"x-amz-meta-a": "b"}, body)
        etag = put.headers["etag"]
        assert put.status == 200
        assert store.ask("GET", f"/bucket/{name}", canary.headers()).body == body
        assert store.ask("HEAD", f"/bucket/{name}", canary.headers()).status == 200
        for extra, status in (
            ({"range": "bytes=999999-"}, 416),
            ({"if-none-match": etag}, 304),
            ({"if-match": '"no"'}, 412),
        ):
            answer = store.ask("GET", f"/bucket/{name}", canary.headers() | extra)
            assert answer.status == status
    ranged = store.ask("GET", "/bucket/large", canary.headers() | {"range": "bytes=5-70000"})
    assert ranged.status == 206
    mode = canary.headers() | {"x-amz-checksum-mode": "ENABLED"}
    assert store.ask("GET", "/bucket/large", mode).status == 200
    assert store.ask("DELETE", "/bucket/large", canary.headers()).status == 204


@scenario
def wrong_keys(store, canary, other):
    store.ask("PUT", "/bucket/k", canary.headers(), LARGE)
    store.ask("PUT", "/bucket/others", other.headers(), LARGE)
    store.ask("PUT", "/bucket/none", {}, LARGE)
    assert store.ask("GET", "/bucket/k", other.headers()).status == 403
    assert store.ask("GET", "/bucket/k").status == 400
    assert store.ask("GET", "/bucket/others", canary.headers()).status == 403
    assert store.ask("HEAD", "/bucket/others", canary.headers()).status == 403
    assert store.ask("GET", "/bucket/none", canary.headers()).status == 400
    assert store.ask("GET", "/bucket/nothing", canary.headers()).status == 404
    assert store.ask("GET", "/nobucket/k", canary.headers()).status == 404


@scenario
def bad_triples(store, canary, other):
    for bent in (
        {"algorithm": None},
        {"algorithm": "AES128"},
        {"md5": None},
        {"md5": other.md5},
        {"md5": canary.md5[:-2]},
        {"md5": canary.md5 + ","},
        {"key": canary.encoded + "!"},
        {"key": canary.encoded[:-1]},
        {"key": " ".join(canary.encoded)},
        {"key": base64.b64encode(CANARY[:-1]).decode()},
        {"key": base64.b64encode(canary.encoded.encode()).decode()},
        {"key": canary.encoded + "," + canary.encoded},
    ):
        for method, target in (
            ("PUT", "/bucket/k"),
            ("POST", "/bucket/k?uploads"),
            ("POST", "/bucket/k?uploadId=u"),
        ):
            answer = store.ask(method, target, canary.headers(**bent), b"<a/>")
            assert 400 <= answer.status < 500
    conflict = canary.headers() | {"x-amz-server-side-encryption": "AES256"}
    assert store.ask("PUT", "/bucket/k", conflict).status == 400
    assert store.ask("GET", "/bucket/k", conflict).status == 400


@scenario
def bad_signatures(store, canary, other):
    headers = canary.headers()
    for method in ("PUT", "GET", "HEAD"):
        wrong = store.ask(method, "/bucket/k", headers, who=("rootaccess", "not the secret"))
        assert wrong.status == 403
        assert store.ask(method, "/bucket/k", headers, who=("nobody", "secret")).status == 403
        assert store.ask(method, "/bucket/k", headers, who=None).status == 403
        assert store.ask(method, "/bucket/k", unsigned=headers).status == 403
        old = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y%m%dT%H%M%SZ")
        assert store.ask(method, "/bucket/k", headers, unsigned={"x-amz-date": old}).status >= 400
        garbled = {"authorization": "AWS4-HMAC-SHA256 Credential=rootaccess"}
        assert store.ask(method, "/bucket/k", headers, unsigned=garbled).status == 400
    shown = store.ask("PUT", "/bucket/k", headers, b"x", who=("rootaccess", "not the secret"))
    assert shown.fault.fields["CanonicalRequest"].count("(redacted)") == 2
    signed = store.ask("PUT", "/bucket/k", headers, unsigned={KEY_HEADER: other.encoded})
    assert signed.status == 403


@scenario
def keys_in_the_query(store, canary, _other):
    value = quote(canary.encoded, safe="")
    for name in (KEY_HEADER, KEY_HEADER.title(), KEY_HEADER.replace("x-amz-", "X-Amz-")):
        target = f"/bucket/k?{name}={value}&{ECHO}={quote(canary.md5, safe='')}"
        for method in ("PUT", "GET", "HEAD"):
            assert store.ask(method, target).status == 400
            assert store.ask(method, target, who=None).status == 403
            assert store.ask(method, target, who=("rootaccess", "wrong")).status == 403
            assert store.ask(method, target, canary.headers(), secure=False).status == 400


@scenario
def plain_http(store, canary, _other):
    for method in ("PUT", "GET", "HEAD", "POST", "DELETE"):
        assert store.ask(method, "/bucket/k", canary.headers(), secure=False).status == 400


@scenario
def bad_bodies(store, canary, _other):
    bad_md5 = {"content-md5": base64.b64encode(bytes(16)).decode()}
    upload_id = store.ask("POST", "/bucket/big?uploads", canary.headers()).text("UploadId")
    for target in ("/bucket/k", f"/bucket/big?partNumber=1&uploadId={upload_id}"):
        for extra, options in (
            (bad_md5, {}),
            ({"content-md5": "no digest"}, {}),
            ({"x-amz-checksum-crc32": "AAAAAA=="}, {}),
            ({"x-amz-checksum-sha256": "short"}, {}),
            ({}, {"payload": "0" * 64}),
            ({"content-length": str(len(LARGE) + 1)}, {}),
            ({"content-length": "many"}, {}),
        ):
            answer = store.ask("PUT", target, canary.headers() | extra, LARGE, **options)
            assert 400 <= answer.status < 500
        for sent in (b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", b"zz"):
            framed = {
                "x-amz-decoded-content-length": "5",
                "x-amz-trailer": "x-amz-checksum-crc32",
                "content-encoding": "aws-chunked",
            }
            kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            answer = store.ask("PUT", target, canary.headers() | framed, sent, payload=kind)
            assert answer.status == 400

        def hang_up():
            yield LARGE[:50_000]
            raise errors.ClientGone

        assert store.ask("PUT", target, canary.headers(), LARGE, pieces=hang_up()).status == 0


@scenario
def multipart(store, canary, other):
    headers = canary.headers()
    upload_id = store.ask("POST", "/bucket/big?uploads", headers).text("UploadId")
    place = f"/bucket/big?partNumber=1&uploadId={upload_id}"
    part = store.ask("PUT", place, headers, LARGE)
    assert part.status == 200
    assert store.ask("PUT", place, other.headers(), LARGE).status == 400
    assert store.ask("PUT", place, {}, LARGE).status == 400
    assert store.ask("PUT", place.replace("partNumber=1", "partNumber=0"), headers).status == 400
    assert store.ask("PUT", place.replace("=1", "=x"), headers).status == 400
    assert store.ask("PUT", "/bucket/big?partNumber=1&uploadId=u", headers).status == 404
    assert store.ask("GET", f"/bucket/big?uploadId={upload_id}", headers).status == 200
    assert store.ask("GET", "/bucket?uploads", headers).status == 200
    bad_size = headers | {"x-amz-mp-object-size": "many"}
    target = f"/bucket/big?uploadId={upload_id}"
    assert store.ask("POST", target, bad_size, b"<CompleteMultipartUpload/>").status == 400
    assert store.ask("POST", target, headers, b"<not closed").status == 400
    document = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    assert store.ask("POST", target, headers, document).status == 200
    assert store.ask("GET", "/bucket/big", headers).body == LARGE
    second = store.ask("POST", "/bucket/big?uploads", headers).text("UploadId")
    store.ask("PUT", f"/bucket/big?partNumber=1&uploadId={second}", headers, LARGE)
    # Left open, so that upload, part and escrow are searched.


@scenario
def internal_errors(store, canary, _other):
    store.ask("PUT", "/bucket/kept", canary.headers(), LARGE)
    upload_id = store.ask("POST", "/bucket/big?uploads", canary.headers()).text("UploadId")
    for failure, status in (
        (RuntimeError("a mistake of ours"), 500),
        (errors.StoreFailed("the disk"), 500),
        (errors.StoreFull("the disk"), 507),
        (KeyError("SSECustomerKey"), 500),
    ):
        store.catalog.failure = failure
        for target in ("/bucket/k", f"/bucket/big?partNumber=1&uploadId={upload_id}"):
            answer = store.ask("PUT", target, canary.headers(), LARGE)
            assert answer.status == status
    store.catalog.failure = None
    (place,) = store.catalog.places("bucket", "kept")
    store.blobs.stored[place] = store.blobs.stored[place][:-1] + b"?"
    assert store.ask("GET", "/bucket/kept", canary.headers() | {"range": "bytes=-1"}).status == 500
    del store.blobs.stored[place]
    assert store.ask("GET", "/bucket/kept", canary.headers()).status == 500
    assert len(store.reported) == 10


@scenario
def where_keys_do_not_belong(store, canary, _other):
    headers = canary.headers()
    for method, target, status in (
        ("PUT", "/second", 200),
        ("HEAD", "/second", 200),
        ("GET", "/second?location", 200),
        ("GET", "/", 200),
        ("GET", "/second", 200),
        ("GET", "/second?list-type=2", 200),
        ("GET", "/second?list-type=2&max-keys=x", 400),
        ("GET", "/second?versions", 200),
        ("POST", "/second?delete", 400),
        ("DELETE", "/second", 204),
        ("GET", "/bucket/k?torrent", 501),
        ("PATCH", "/bucket/k", 405),
        ("PUT", "/bucket/" + "k" * 1025, 400),
        ("PUT", "/bucket/%ff", 400),
    ):
        assert store.ask(method, target, headers).status == status
    too_much = headers | {"x-amz-meta-a": "a" * 9000}
    assert store.ask("PUT", "/bucket/k", too_much).status == 400
    assert store.ask("PUT", "/bucket/k", headers | {"x-amz-meta-a": "a" * 3000}).status == 400


@scenario
def copies(store, canary, other):
    assert store.ask("PUT", "/bucket/source", canary.headers(), LARGE).status == 200
    triple = {
        name.replace("x-amz-", "x-amz-copy-source-"): value
        for name, value in canary.headers().items()
    }
    named = {"x-amz-copy-source": "/bucket/source"}
    for extra in (
        named | triple | canary.headers(),
        named | triple,
        named | canary.headers(),
        named | triple | other.headers(),
        named | triple | {"x-amz-copy-source-range": "bytes=0-1"},
    ):
        assert store.ask("PUT", "/bucket/target", extra).status != 500
        wrong = store.ask("PUT", "/bucket/target", extra, who=("rootaccess", "wrong"))
        assert wrong.status == 403


@pytest.mark.parametrize("play", SCENARIOS.values(), ids=SCENARIOS)
def test_nothing_of_a_customer_key_is_left_or_shown(bucket, canary, other_key, play):
    play(bucket, canary, other_key)

    assert len(bucket.answers) > 1
    assert heard(bucket) == []


def test_no_key_outlives_its_requests(bucket, canary, other_key):
    for play in (plain_use, multipart, wrong_keys, bad_triples, bad_bodies):
        play(bucket, canary, other_key)
    bucket.reported.clear()

    assert alive() == []


def test_a_call_that_is_shown_shows_no_key(canary):
    headers = [(name.lower().encode(), value.encode()) for name, value in canary.headers().items()]
    call = operation.Call(
        request=message.Request("PUT", b"/bucket/k", b"", headers, None, secure=True),
        params={"SSECustomerKey": canary.encoded, "SSECustomerKeyMD5": canary.md5},
        principal=None,
        bucket=None,
        judge=None,
        incoming=None,
        services=None,
        now_ms=0,
    )

    assert sings(repr(call).encode()) == set()


# The search itself can fail:


def test_the_search_finds_a_key_in_the_catalog(bucket, canary):
    assert bucket.ask("PUT", f"/bucket/{quote(canary.encoded)}").status == 200

    assert {place for place, _ in heard(bucket)} == {"kept"}


def test_the_search_finds_a_key_in_a_blob(bucket):
    bucket.blobs.stored["memory/planted"] = b"before" + CANARY + b"after"

    assert {place for place, _ in heard(bucket)} == {"kept"}


def test_the_search_finds_a_key_in_a_reply(bucket, canary):
    bucket.ask("PUT", "/bucket/k", {}, CANARY + b"!")
    bucket.ask("GET", "/bucket/k")
    bucket.ask("GET", f"/bucket/k?response-content-type={quote(canary.md5, safe='')}")

    found = heard(bucket)

    assert {place for place, _ in found} == {"reply 200"}
    assert {CANARY[:24], canary.md5.encode()} <= {form for _, form in found}


def test_the_search_finds_a_key_in_a_report(bucket, canary):
    bucket.catalog.failure = RuntimeError("no good:", canary.raw.hex())
    bucket.ask("PUT", "/bucket/k", canary.headers(), b"body")
    bucket.catalog.failure = None

    assert {place for place, _ in heard(bucket)} == {"report", "error"}


def test_the_search_finds_a_key_that_is_alive():
    held = SecretKey(CANARY)

    assert alive() == [held]


@pytest.mark.parametrize("shown", ["raw", "encoded", "md5"])
def test_the_search_knows_text_forms(canary, shown):
    assert sings(str(getattr(canary, shown)).encode())


def test_the_search_knows_what_becomes_of_a_canonical_request(canary):
    form = f"PUT\n/\n\n{KEY_HEADER}:{canary.encoded}\n".encode()

    assert sings(form)
    assert sings(form.hex(" ").encode())
    assert sings(quote(quote(canary.encoded, safe=""), safe="").encode())


def test_a_decoder_that_refuses_says_nothing_of_the_body(canary):
    decoder = chunked.Decoder(decoded_length=5, verifier=None, trailers=())

    with pytest.raises(errors.BodyMalformed) as caught:
        decoder.feed(canary.encoded.encode() + b"\r\n")

    assert sings("".join(traceback.format_exception(caught.value)).encode()) == set()
