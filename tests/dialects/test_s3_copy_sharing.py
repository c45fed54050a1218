"""When a copy shares its source's stored bytes and when it must not; and races for the source.

A data key is never wrapped both for a customer and for the server.
"""

import asyncio
import base64
import hashlib

import pytest

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import envelope as envelopes
from strongroom.crypto import geometry, segments
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import sources
from strongroom.service import copying, objects
from strongroom.store import records

SSE = "x-amz-server-side-encryption"
SOURCE_SSE = "x-amz-copy-source-server-side-encryption"
SMALL, LARGE = b"123456789", b"".join(n.to_bytes(4) for n in range(50_000))
PART = b"".join(n.to_bytes(4) for n in range(5 * 1024 * 256))
BODIES = [
    pytest.param(b"", id="0-bytes"),
    pytest.param(SMALL, id="inline"),
    pytest.param(LARGE, id="200000-bytes"),
]
WITHIN_A_SIDE = pytest.mark.parametrize(("source", "target"), [(None, None), (1, 1), (1, 2)])
ACROSS = pytest.mark.parametrize(("source", "target"), [(None, 1), (1, None)])
EITHER = pytest.mark.parametrize(("source", "target"), [(None, None), (1, 2), (None, 1), (1, None)])
"""Who holds the key: the server, or a customer with the first or the second key."""


def triple(held):
    return {} if held is None else held.headers()


def both(source, target):
    """Return the triples of a copy."""
    of_source = {name.replace(SSE, SOURCE_SSE): text for name, text in triple(source).items()}
    return of_source | triple(target)


def copy(store, headers=None, *, source="bucket/a", target="/bucket/b"):
    return store.ask("PUT", target, {"x-amz-copy-source": source} | (headers or {}))


def stored(store, key):
    return store.run(store.catalog.current("bucket", key))


def wrapped(store, key):
    return envelopes.Envelope.parse(stored(store, key).envelope).wrapped


def blobs(store, key):
    """Return (id, place, sealed bytes) of an object's blobs, in order."""
    version = stored(store, key).version
    return [
        (ref.blob_id, ref.place, store.blobs.stored[ref.place])
        if ref.place
        else (ref.blob_id, "", store.run(store.catalog.inline(ref.blob_id)))
        for ref in store.run(store.catalog.blob_refs(version))
    ]


def collect(store):
    store.run(store.core.collector.collect())


def upload(store, key, held, *parts, headers=None):
    """Upload an object in parts."""
    opened = store.ask("POST", f"/bucket/{key}?uploads", triple(held) | (headers or {}))
    target = f"/bucket/{key}?uploadId={opened.text('UploadId')}"
    named = ""
    for number, part in enumerate(parts, 1):
        sent = store.ask("PUT", f"{target}&partNumber={number}", triple(held), part)
        checksums = "".join(
            f"<Checksum{algorithm}>{sent.headers[header]}</Checksum{algorithm}>"
            for algorithm in ("SHA256", "CRC32")
            if (header := f"x-amz-checksum-{algorithm.lower()}") in sent.headers
        )
        etag = sent.headers["etag"]
        named += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{checksums}</Part>"
    document = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    done = store.ask("POST", target, {}, document)
    assert done.status == 200
    return done


def md5(body):
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def interfere(port, method, deed):
    """Let `deed` happen once, right before the next call of a port's method."""
    original = getattr(port, method)

    if asyncio.iscoroutinefunction(original):

        async def called(*args, **kwargs):
            setattr(port, method, original)
            await asyncio.to_thread(deed)
            return await original(*args, **kwargs)

    else:

        def called(*args, **kwargs):
            setattr(port, method, original)
            deed()
            return original(*args, **kwargs)

    setattr(port, method, called)


# Sharing


@WITHIN_A_SIDE
@pytest.mark.parametrize("body", BODIES)
def test_within_a_side_a_copy_shares_what_is_stored(bucket, keys, source, target, body):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), body)
    places, inline, _ = bucket.remains

    assert copy(bucket, both(keys[source], keys[target])).status == 200

    assert bucket.remains[:2] == (places, inline)
    assert blobs(bucket, "b") == blobs(bucket, "a")
    assert stored(bucket, "b").body == stored(bucket, "a").body
    assert wrapped(bucket, "b").commitment == wrapped(bucket, "a").commitment
    assert wrapped(bucket, "b").salt != wrapped(bucket, "a").salt
    assert stored(bucket, "b").version.generation != stored(bucket, "a").version.generation


@ACROSS
@pytest.mark.parametrize("body", BODIES)
def test_across_the_border_a_copy_is_sealed_anew(bucket, keys, source, target, body):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), body)

    assert copy(bucket, both(keys[source], keys[target])).status == 200

    ((id_a, place_a, sealed_a),) = blobs(bucket, "a")
    ((id_b, place_b, sealed_b),) = blobs(bucket, "b")
    assert id_a != id_b
    assert sealed_a[geometry.HEADER_BYTES :] != sealed_b[geometry.HEADER_BYTES :]
    assert bool(place_a) == bool(place_b) == (body is LARGE)
    assert place_a != place_b or not place_a
    assert stored(bucket, "b").body != stored(bucket, "a").body
    assert wrapped(bucket, "b").commitment != wrapped(bucket, "a").commitment


@ACROSS
def test_the_customers_data_key_opens_nothing_of_the_servers(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    copy(bucket, both(keys[source], keys[target]))
    theirs, servers = ("a", "b") if source else ("b", "a")
    envelope = envelopes.Envelope.parse(stored(bucket, theirs).envelope)
    data_key, _ = envelopes.unwrap(SecretKey(keys[1].raw), envelope.wrapped, envelope.binding)

    def opened(name):
        ((blob_id, _, sealed),) = blobs(bucket, name)
        return segments.open_all(data_key.stream_key(), segments.stream_aad(blob_id, 1), sealed)

    assert opened(theirs) == LARGE
    with pytest.raises(errors.NotAuthentic):
        opened(servers)


@pytest.mark.parametrize("body", BODIES)
def test_a_new_key_replaces_the_envelope_and_leaves_the_data(bucket, key, other_key, body):
    bucket.ask("PUT", "/bucket/a", key.headers(), body)
    old, lying = stored(bucket, "a"), blobs(bucket, "a")
    places = bucket.remains

    assert copy(bucket, both(key, other_key), target="/bucket/a").status == 200
    collect(bucket)

    new = stored(bucket, "a")
    assert blobs(bucket, "a") == lying
    assert bucket.remains == places
    assert new.body == old.body
    assert new.envelope != old.envelope
    assert new.version.etag != old.version.etag
    with pytest.raises(errors.WrongKey):
        envelopes.verify(SecretKey(key.raw), wrapped(bucket, "a"))


@WITHIN_A_SIDE
def test_sharing_reads_nothing_where_nothing_is_to_be_hashed(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    hidden = dict(bucket.blobs.stored)
    bucket.blobs.stored.clear()

    assert copy(bucket, both(keys[source], keys[target])).status == 200

    bucket.blobs.stored.update(hidden)
    assert bucket.ask("GET", "/bucket/b", triple(keys[target])).body == LARGE


@pytest.mark.parametrize("first", ["a", "b"])
@WITHIN_A_SIDE
@pytest.mark.parametrize("body", BODIES)
def test_shared_data_goes_with_its_last_object(bucket, keys, source, target, body, first):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), body)
    copy(bucket, both(keys[source], keys[target]))
    last, held = ("b", keys[target]) if first == "a" else ("a", keys[source])

    bucket.ask("DELETE", f"/bucket/{first}")
    doomed = bucket.run(bucket.catalog.usage()).doomed_blobs
    collect(bucket)
    between = bucket.ask("GET", f"/bucket/{last}", triple(held)).body
    bucket.ask("DELETE", f"/bucket/{last}")
    after = bucket.run(bucket.catalog.usage()).doomed_blobs
    collect(bucket)

    assert (doomed, after) == (0, 1 if body is LARGE else 0)
    assert between == body
    assert bucket.remains == (set(), set(), set())
    assert bucket.run(bucket.catalog.usage()).doomed_blobs == 0


@EITHER
def test_a_copy_outlives_its_sources_change(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    copy(bucket, both(keys[source], keys[target]))

    bucket.ask("PUT", "/bucket/a", triple(keys[source]), b"new")
    collect(bucket)

    assert bucket.ask("GET", "/bucket/b", triple(keys[target])).body == LARGE
    assert bucket.ask("GET", "/bucket/a", triple(keys[source])).body == b"new"


@EITHER
def test_what_a_copy_replaces_is_collected(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    bucket.ask("PUT", "/bucket/b", {}, LARGE)

    copy(bucket, both(keys[source], keys[target]))
    bucket.ask("DELETE", "/bucket/a")
    collect(bucket)

    assert len(bucket.blobs.stored) == 1
    assert bucket.ask("GET", "/bucket/b", triple(keys[target])).body == LARGE


# Objects that came in parts


@EITHER
def test_a_copy_of_an_object_in_parts_is_in_one_piece(bucket, keys, source, target):
    whole = PART + b"tail"
    upload(bucket, "a", keys[source], PART, b"tail")

    copied = copy(bucket, both(keys[source], keys[target]))
    part = bucket.ask("GET", "/bucket/b?partNumber=1", triple(keys[target]))

    etag = copied.text("ETag")
    assert copied.status == 200
    assert part.body == whole
    assert "x-amz-mp-parts-count" not in part.headers
    assert bucket.ask("HEAD", "/bucket/b?partNumber=2", triple(keys[target])).status == 416
    if target is None:
        assert etag == md5(whole)
    else:
        assert len(etag) == 34
        assert etag != md5(whole)
    shared = (source is None) == (target is None)
    assert len(blobs(bucket, "b")) == (2 if shared else 1)
    assert (blobs(bucket, "b") == blobs(bucket, "a")) == shared


@EITHER
def test_a_composite_checksum_becomes_that_of_the_whole(bucket, keys, source, target):
    whole = PART + b"tail"
    done = upload(
        bucket, "a", keys[source], PART, b"tail", headers={"x-amz-checksum-algorithm": "SHA256"}
    )
    assert done.text("ChecksumSHA256").endswith("-2")

    copied = copy(bucket, both(keys[source], keys[target]))

    expected = hashlib.sha256(whole).digest()
    shown = bucket.ask(
        "HEAD", "/bucket/b", triple(keys[target]) | {"x-amz-checksum-mode": "ENABLED"}
    ).headers["x-amz-checksum-sha256"]
    assert copied.text("ChecksumSHA256") == shown == base64.b64encode(expected).decode()
    assert copied.text("ChecksumType") == "FULL_OBJECT"


@EITHER
def test_a_full_checksum_of_parts_is_kept(bucket, keys, source, target):
    done = upload(bucket, "a", keys[source], PART, b"tail")

    copied = copy(bucket, both(keys[source], keys[target]))

    assert copied.text("ChecksumCRC64NVME") == done.text("ChecksumCRC64NVME")


def test_shared_parts_go_with_their_last_object(bucket, key, other_key):
    upload(bucket, "a", key, PART, LARGE)
    copy(bucket, both(key, other_key))
    copy(bucket, both(other_key, key), source="bucket/b", target="/bucket/c")

    for gone, left in (("b", 2), ("a", 2), ("c", 0)):
        bucket.ask("DELETE", f"/bucket/{gone}")
        collect(bucket)
        assert len(bucket.blobs.stored) == left

    assert bucket.remains == (set(), set(), set())


# Whoever is faster


def overwrite(store, held, body):
    def deed():
        assert store.ask("PUT", "/bucket/a", triple(held), body).status == 200
        collect(store)

    return deed


def remove(store):
    def deed():
        assert store.ask("DELETE", "/bucket/a").status == 204
        collect(store)

    return deed


@WITHIN_A_SIDE
def test_a_source_that_changes_before_it_is_shared_is_looked_up_again(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | {"x-amz-meta-a": "old"}, LARGE)
    interfere(bucket.catalog, "put_version", overwrite(bucket, keys[source], b"new"))

    copied = copy(bucket, both(keys[source], keys[target]))
    got = bucket.ask("GET", "/bucket/b", triple(keys[target]))

    assert (copied.status, got.body) == (200, b"new")
    assert "x-amz-meta-a" not in got.headers
    assert bucket.reported == []


@ACROSS
def test_a_source_that_changes_before_it_is_read_is_looked_up_again(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | {"x-amz-meta-a": "old"}, LARGE)
    interfere(bucket.catalog, "blob_refs", overwrite(bucket, keys[source], b"new"))

    copied = copy(bucket, both(keys[source], keys[target]))
    got = bucket.ask("GET", "/bucket/b", triple(keys[target]))
    collect(bucket)

    assert (copied.status, got.body) == (200, b"new")
    assert "x-amz-meta-a" not in got.headers
    assert bucket.blobs.stored == {}


@pytest.mark.parametrize(
    ("source", "target", "method"),
    [(None, None, "put_version"), (1, 2, "put_version"), (None, 1, "blob_refs"), (1, None, "blob_refs")],
)  # fmt: skip
def test_a_source_that_is_deleted_meanwhile_is_not_there(bucket, keys, source, target, method):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    interfere(bucket.catalog, method, remove(bucket))

    found = copy(bucket, both(keys[source], keys[target])).fault
    collect(bucket)

    assert (found.status, found.code, found.fields) == (404, "NoSuchKey", {"Key": "a"})
    assert bucket.remains == (set(), set(), set())


@pytest.mark.parametrize("method", ["put_version", "blob_refs"])
def test_a_source_that_takes_another_key_meanwhile_is_refused(bucket, key, other_key, method):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    target = other_key if method == "put_version" else None
    interfere(bucket.catalog, method, overwrite(bucket, other_key, LARGE))

    assert copy(bucket, both(key, target)).fault.code == "AccessDenied"
    collect(bucket)
    assert bucket.remains[2] == {("bucket", b"a")}
    assert len(bucket.blobs.stored) == 1


@ACROSS
@pytest.mark.parametrize("deed", ["overwrite", "remove"])
def test_a_source_that_is_being_read_stays_until_it_is_copied(bucket, keys, source, target, deed):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    act = remove(bucket) if deed == "remove" else overwrite(bucket, keys[source], b"new")
    interfere(bucket.blobs, "open", act)

    copied = copy(bucket, both(keys[source], keys[target]))
    got = bucket.ask("GET", "/bucket/b", triple(keys[target]))
    collect(bucket)

    assert (copied.status, got.body) == (200, LARGE)
    assert len(bucket.blobs.stored) == 1


def test_a_source_that_always_changes_is_given_up(bucket):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)

    def deed():
        overwrite(bucket, None, LARGE)()
        interfere(bucket.catalog, "put_version", deed)

    interfere(bucket.catalog, "put_version", deed)

    answer = copy(bucket)

    # There is such a key, so this is not said; and clients try again by themselves.
    assert (answer.status, answer.fault.code) == (503, "SlowDown")
    assert bucket.remains[2] == {("bucket", b"a")}


# Trouble


@ACROSS
@pytest.mark.parametrize("at", [100, 70_000, -1])
def test_a_damaged_source_is_not_sealed_anew(bucket, keys, source, target, at):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    ((_, place, sealed),) = blobs(bucket, "a")
    changed = bytearray(sealed)
    changed[at] ^= 1
    bucket.blobs.stored[place] = bytes(changed)
    before = bucket.remains

    answer = copy(bucket, both(keys[source], keys[target]))

    assert (answer.status, answer.fault.code) == (500, "InternalError")
    assert [type(error) for error in bucket.reported] == [errors.NotAuthentic]
    assert bucket.remains == before


@ACROSS
def test_a_source_whose_bytes_are_lost_is_told_as_our_trouble(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    bucket.blobs.stored.clear()

    answer = copy(bucket, both(keys[source], keys[target]))

    assert (answer.status, answer.fault.code) == (500, "InternalError")
    assert [type(error) for error in bucket.reported] == [errors.BlobMissing]
    assert bucket.remains == (set(), set(), {("bucket", b"a")})


def test_a_damaged_source_is_not_hashed(bucket):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)
    ((_, place, sealed),) = blobs(bucket, "a")
    bucket.blobs.stored[place] = sealed[:-1] + bytes([sealed[-1] ^ 1])

    answer = copy(bucket, {"x-amz-checksum-algorithm": "SHA256"})

    assert (answer.status, answer.fault.code) == (500, "InternalError")
    assert bucket.remains[2] == {("bucket", b"a")}


@EITHER
def test_a_copy_that_fails_at_its_commit_leaves_nothing(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    bucket.ask("PUT", "/bucket/b", {}, b"before")
    before = bucket.remains
    bucket.catalog.failure = errors.StoreFull("no space")

    answer = copy(bucket, both(keys[source], keys[target]))

    assert (answer.status, answer.fault.code) == (507, "StoreFull")
    assert bucket.remains == before
    assert bucket.ask("GET", "/bucket/b").body == b"before"


TOO_LARGE = (
    "The specified copy source is larger than the maximum allowable size for a copy source:"
    " 5368709120"
)


def pretend(store, key, size):
    """Put an object of any size into the catalog; its bytes are nowhere."""
    random_bytes = hashlib.sha256(b"seed").digest
    customer = sources.CustomerKey(SecretKey(key.raw))

    def fill(count):
        return random_bytes()[:count].ljust(count, b"\0")

    blob_id, data_key = fill(records.BLOB_ID_BYTES), envelopes.DataKey(fill(32))
    binding = envelopes.Binding(customer.mode, "bucket", "huge", fill(records.GENERATION_BYTES))
    sealing, head_key = envelopes.wrap(customer.secret, data_key, binding, fill)
    part = bodies.BodyPart(1, blob_id, size, fill(8), {"CRC32": bytes(4)})
    draft = objects.seal_version(
        binding,
        customer.key_fields,
        sealing,
        head_key,
        body=bodies.encode(
            bodies.BodyRecord(geometry.SEGMENT_BYTES, 1, (part,)), data_key.body_key(), fill
        ),
        head=envelopes.Head(checksums={"CRC32": bytes(4)}, checksum_type="FULL_OBJECT"),
        etag="0" * 32,
        size=size,
        modified_ms=1_700_000_000_000,
        owner="0" * 64,
        encoded_marks=b"",
        blobs=(records.NewBlob(blob_id, geometry.sealed_size(size), "nowhere"),),
        version_id="null",
        random_bytes=fill,
    )
    store.run(store.catalog.put_version(draft))


@pytest.mark.parametrize("target", [None, 1, 2])
def test_more_than_5_gib_are_not_copied_at_once(bucket, keys, target):
    pretend(bucket, keys[1], copying.MAX_COPY_BYTES + 1)

    # Nobody has tagged it, so no tags can be copied.
    headers = both(keys[1], keys[target]) | {"x-amz-tagging-directive": "REPLACE"}

    found = copy(bucket, headers, source="bucket/huge").fault

    assert (found.status, found.code, found.message) == (400, "InvalidRequest", TOO_LARGE)


def test_5_gib_are(bucket, key, other_key):
    pretend(bucket, key, copying.MAX_COPY_BYTES)
    # Nobody has tagged it, so no tags can be copied.
    headers = both(key, other_key) | {"x-amz-tagging-directive": "REPLACE"}

    assert copy(bucket, headers, source="bucket/huge").status == 200

    head = bucket.ask("HEAD", "/bucket/b", other_key.headers()).headers
    assert head["content-length"] == str(copying.MAX_COPY_BYTES)


@pytest.mark.parametrize(
    ("size", "headers"),
    [
        (copying.MAX_COPY_BYTES + 1, {}),
        (2 * copying.MAX_COPY_BYTES, {"x-amz-copy-source-range": f"bytes=5-{copying.MAX_COPY_BYTES + 5}"}),
    ],
    ids=["whole", "range"],
)  # fmt: skip
def test_more_than_5_gib_are_not_copied_into_a_part(bucket, key, size, headers):
    pretend(bucket, key, size)
    upload_id = bucket.ask("POST", "/bucket/b?uploads", key.headers()).text("UploadId")
    target = f"/bucket/b?uploadId={upload_id}&partNumber=1"

    found = copy(bucket, both(key, key) | headers, source="bucket/huge", target=target).fault

    assert (found.status, found.code, found.message) == (400, "InvalidRequest", TOO_LARGE)
