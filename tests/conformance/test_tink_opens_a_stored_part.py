"""What lies in a data directory opens with the customer's key, the format's paper and Google's Tink.

The server is stopped; its opener is not used, nor is anything of it that knows of its catalog.
"""

import hashlib

import pytest

from strongroom.crypto import body, envelope, secret, segments

PART_BYTES = 5 * 1024 * 1024


@pytest.fixture
def open_stored(read_catalog, stored_parts, tink_opens):
    """Open an object of a data directory with its key; return the plaintext of each part."""

    def opened(data_dir, bucket, name, key):
        ((sealed, record),) = read_catalog(
            data_dir,
            "SELECT envelope, record FROM buckets JOIN versions USING (bucket_id)"
            " JOIN envelopes USING (envelope_id) JOIN bodies USING (body_id)"
            " WHERE buckets.name = ? AND versions.key = ?",
            bucket,
            name.encode(),
        )
        found = envelope.Envelope.parse(sealed)
        assert found.mode == "SSE-C"
        data_key, _ = envelope.unwrap(secret.SecretKey(key.raw), found.wrapped, found.binding)
        assert hashlib.sha256(record).digest() == found.body_digest
        parsed = body.parse(record)
        lying = {part.blob_id: part for part in stored_parts(data_dir, bucket, name)}
        assert list(lying) == [part.blob_id for part in parsed.parts]
        return [
            tink_opens(
                data_key.stream_key(),
                segments.stream_aad(part.blob_id, part.number),
                lying[part.blob_id].sealed,
                parsed.segment_bytes,
            )
            for part in parsed.parts
        ], list(lying.values())

    return opened


@pytest.fixture
def stopped(make_server, tmp_path, key, content):
    """Store three objects, stop the server, and return the data directory and what was stored."""
    small, large = content(1000), content(200_000, seed=1)
    pieces = {
        3: content(PART_BYTES, seed=2),
        5: content(PART_BYTES + 1, seed=3),
        9: content(100_000, seed=4),
    }
    running = make_server(data_dir=tmp_path / "data")
    client = running.boto3_client()
    client.create_bucket(Bucket="attic")
    client.put_object(Bucket="attic", Key="inline", Body=small, **key.options)
    client.put_object(Bucket="attic", Key="file", Body=large, **key.options)
    begun = client.create_multipart_upload(Bucket="attic", Key="parts", **key.options)
    place = {"Bucket": "attic", "Key": "parts", "UploadId": begun["UploadId"]}
    etags = {
        number: client.upload_part(**place, PartNumber=number, Body=piece, **key.options)["ETag"]
        for number, piece in pieces.items()
    }
    client.complete_multipart_upload(
        **place,
        MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in sorted(etags)]},
    )
    client.close()
    assert running.stop() == 0
    return tmp_path / "data", {
        "inline": [small],
        "file": [large],
        "parts": list(pieces.values()),
    }


@pytest.mark.slow
def test_tink_opens_every_stored_part(stopped, open_stored, key):
    data_dir, stored = stopped

    for name, pieces in stored.items():
        opened, lying = open_stored(data_dir, "attic", name, key)

        assert opened == pieces
        assert all((part.file is None) == (name == "inline") for part in lying)
