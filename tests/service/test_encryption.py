"""Which key opens what, and what is found out before a byte leaves."""

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import sources
from strongroom.service import facets

LARGE = bytes(range(256)) * 800  # 204,800 bytes: four segments
BODIES = [b"", b"small", LARGE]
RANGES = [None, facets.ByteRange(0, 0, ""), facets.ByteRange(None, 1, "")]


# Promise 3 of the format: a wrong key is refused on every path, before a blob is opened.


@pytest.mark.parametrize("body", BODIES, ids=["empty", "small", "large"])
@pytest.mark.parametrize("extent", RANGES, ids=["whole", "first", "last"])
def test_a_wrong_key_is_refused_before_a_blob_is_opened(
    bench, customer, other_customer, body, extent
):
    async def main():
        await bench.put("sealed", body, customer)
        await bench.put("plain", body)
        for name, key, expected in (
            ("sealed", other_customer, errors.WrongKey),
            ("sealed", None, errors.KeyRequired),
            ("plain", customer, errors.KeyNotApplicable),
        ):
            with pytest.raises(expected):
                await bench.get(name, key, extent=extent)
            with pytest.raises(expected):
                await bench.objects.head("bucket", name, customer=key)

    asyncio.run(main())

    assert bench.blobs.opened == 0
    assert len(bench.pins) == 0


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0" * 32, b"32bytesOfTotallyRandomCharacters\0", b"32bytesOfTotallyRandomCharacter"],
    ids=["none", "zeros", "longer", "shorter"],
)
def test_a_key_of_any_length_that_is_not_the_key_is_a_wrong_key(bench, customer, raw):
    async def main():
        await bench.put("key", b"body", customer)
        with pytest.raises(errors.WrongKey):
            await bench.get("key", sources.CustomerKey(SecretKey(raw)))

    asyncio.run(main())


@pytest.mark.parametrize("body", BODIES, ids=["empty", "small", "large"])
def test_equal_bodies_under_one_key_have_nothing_in_common(bench, customer, body):
    # S001.4 S002.7 S002.8: what is kept of a key is salted anew each time.
    async def main():
        for name in ("one", "two"):
            await bench.put(name, body, customer)
        return [await bench.catalog.current("bucket", name) for name in ("one", "two")]

    one, two = asyncio.run(main())

    assert one.version.etag != two.version.etag
    assert one.version.generation != two.version.generation
    assert one.envelope != two.envelope
    assert one.body != two.body
    blobs = list(bench.blobs.stored.values())
    assert len(set(blobs)) == len(blobs)


# Promise 2: what somebody with the disk changes is detected.


def tampered(bench, key, **changes):
    """Change the stored row of a key behind the store's back."""
    entry = bench.catalog.entry("bucket", key)
    for name, value in changes.items():
        if name == "envelope":
            entry.envelope = value
        elif name == "body":
            entry.body.record = value
        else:
            entry.version = dataclasses.replace(entry.version, **{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 204_799},
        {"size": 204_801},
        {"etag": "0" * 32},
        {"modified_ms": 1},
        {"version_id": "another"},
        {"mode": "SSE-S3"},
        {"mode": "none"},
        {"generation": bytes(16)},
    ],
    ids=lambda changes: "-".join(map(str, *changes.items())),
)
def test_a_row_that_was_changed_is_found_out(bench, customer, changes):
    async def main():
        await bench.put("key", LARGE, customer)
        tampered(bench, "key", **changes)
        with pytest.raises(errors.NotAuthentic):
            await bench.get("key", customer)
        with pytest.raises(errors.NotAuthentic):
            await bench.objects.head("bucket", "key", customer=customer)

    asyncio.run(main())

    assert bench.blobs.opened == 0


@pytest.mark.parametrize("sealed", [True, False], ids=["sse-c", "sse-s3"])
@pytest.mark.parametrize("what", ["envelope", "body"])
def test_any_changed_byte_of_a_record_is_found_out(bench, customer, sealed, what):
    key = customer if sealed else None

    async def main():
        await bench.put("key", b"body", key)
        stored = await bench.catalog.current("bucket", "key")
        record = getattr(stored, what)
        for at in range(0, len(record), 7):
            changed = bytearray(record)
            changed[at] ^= 0x40
            tampered(bench, "key", **{what: bytes(changed)})
            # A changed salt or check cannot be told from a wrong key. Nor need it be.
            with pytest.raises((errors.NotAuthentic, errors.WrongKey, errors.KeyTrouble)):
                await bench.get("key", key)
        for changed in (record[:-1], record + b"\0", b""):
            tampered(bench, "key", **{what: changed})
            with pytest.raises((errors.NotAuthentic, errors.WrongKey)):
                await bench.get("key", key)
        tampered(bench, "key", **{what: record})
        return await bench.get("key", key)

    assert asyncio.run(main()) == b"body"


def test_an_object_put_in_the_place_of_another_is_found_out(bench, customer):
    async def main():
        await bench.put("one", b"one", customer)
        await bench.put("two", b"two", customer)
        one, two = (bench.catalog.entry("bucket", name) for name in ("one", "two"))
        one.envelope, one.body = two.envelope, two.body
        one.version = dataclasses.replace(two.version, key="one")
        with pytest.raises(errors.NotAuthentic):
            await bench.get("one", customer)

    asyncio.run(main())


def test_bodies_that_changed_places_are_found_out(bench, customer):
    async def main():
        for name in ("one", "two"):
            await bench.put(name, LARGE, customer)
        one, two = (bench.catalog.entry("bucket", name) for name in ("one", "two"))
        one.body, two.body = two.body, one.body
        for name in ("one", "two"):
            with pytest.raises(errors.NotAuthentic):
                await bench.get(name, customer)

    asyncio.run(main())

    assert bench.blobs.opened == 0


@pytest.mark.parametrize(
    "bend",
    [
        pytest.param(lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:], id="flipped"),
        pytest.param(lambda b: b[65_536:131_072] + b[:65_536] + b[131_072:], id="swapped"),
        pytest.param(lambda b: b[:65_536] + b[:65_536] + b[131_072:], id="repeated"),
        pytest.param(lambda b: b[:131_072], id="cut-at-a-border"),
        pytest.param(lambda b: b[:-1], id="cut"),
        pytest.param(lambda _: b"", id="emptied"),
    ],
)
def test_a_blob_that_was_changed_is_found_out_before_it_is_served(bench, customer, bend):
    async def main():
        await bench.put("key", LARGE, customer)
        (place,) = bench.blobs.places
        bench.blobs.stored[place] = bend(bench.blobs.stored[place])
        with pytest.raises(errors.NotAuthentic):
            await bench.get("key", customer)

    asyncio.run(main())

    assert len(bench.pins) == 0
    assert bench.blobs.opened == bench.blobs.closed


def test_what_is_good_before_the_damage_may_leave_and_no_more(bench, customer):
    body = LARGE * 10  # 2 MB: several runs

    async def main():
        await bench.put("key", body, customer)
        (place,) = bench.blobs.places
        changed = bytearray(bench.blobs.stored[place])
        changed[-1] ^= 1
        bench.blobs.stored[place] = bytes(changed)
        opened = await bench.objects.get("bucket", "key", customer=customer)
        got = bytearray()

        async def read():
            async for piece in opened.pieces:
                got.extend(piece)

        with pytest.raises(errors.NotAuthentic):
            await read()
        await opened.pieces.aclose()
        return bytes(got)

    got = asyncio.run(main())

    assert 0 < len(got) < len(body)
    assert body.startswith(got)
    assert len(bench.pins) == 0


# Uploads


def test_only_the_uploads_own_key_adds_parts(bench, customer, other_customer):
    async def main():
        sealed, plain = await bench.create("a", customer), await bench.create("b")
        for upload, key, expected in (
            (sealed, None, errors.PartKeyMissing),
            (sealed, other_customer, errors.PartKeyMismatch),
            (plain, customer, errors.PartKeyMissing),
        ):
            with pytest.raises(expected):
                await bench.part(upload, 1, LARGE, key)

    asyncio.run(main())

    assert not bench.blobs.places


@pytest.mark.parametrize("change", [{"key": "other"}, {"mode": "SSE-S3"}, {"sealed": b"x" * 400}])
def test_an_upload_that_was_changed_is_found_out(bench, customer, change):
    async def main():
        upload = await bench.create("key", customer)
        with pytest.raises(errors.NotAuthentic):
            await bench.encryption.unlock_upload(dataclasses.replace(upload, **change), customer)
        with pytest.raises(errors.NotAuthentic):
            bench.encryption.open_escrow(dataclasses.replace(upload, **change))

    asyncio.run(main())


def test_the_escrow_of_one_upload_does_not_open_another(bench, customer):
    async def main():
        one, two = await bench.create("key", customer), await bench.create("key", customer)
        with pytest.raises(errors.NotAuthentic):
            bench.encryption.open_escrow(dataclasses.replace(one, upload_id=two.upload_id))
        with pytest.raises(errors.NotAuthentic):
            bench.encryption.open_escrow(dataclasses.replace(one, sealed=two.sealed))

    asyncio.run(main())


@pytest.mark.parametrize("change", [{"size": 9}, {"digest": bytes(8)}, {"blob_id": b"b" * 16}])
def test_a_part_that_was_changed_is_found_out(bench, customer, change):
    async def main():
        upload = await bench.create("key", customer)
        listed = await bench.part(upload, 1, b"part", customer)
        opened = bench.catalog.open_uploads[upload.upload_id]
        part, ref = opened.parts[1]
        opened.parts[1] = (dataclasses.replace(part, **change), ref)
        with pytest.raises(errors.NotAuthentic):
            await bench.complete(upload, listed)
        with pytest.raises(errors.NotAuthentic):
            await bench.multipart.parts("bucket", "key", upload.upload_id, after=0, limit=9)

    asyncio.run(main())


def test_parts_are_completed_without_the_customers_key(bench, customer, other_customer):
    async def main():
        upload = await bench.create("key", customer)
        one = await bench.part(upload, 1, bytes(5 * 1024**2), customer)
        two = await bench.part(upload, 2, b"end", customer)
        done = await bench.complete(upload, one, two)
        with pytest.raises(errors.WrongKey):
            await bench.get("key", other_customer)
        return done, await bench.get("key", customer)

    done, body = asyncio.run(main())

    assert done.etag.endswith("-2")
    assert body == bytes(5 * 1024**2) + b"end"
