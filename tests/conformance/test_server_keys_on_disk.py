"""What opens objects that the server or the KMS holds the keys of lies nowhere in the clear.

A server takes objects in every mode, is killed, and its keys are then found with the master
key, which came by its environment, on a copy. None of them stands in a file of the data directory,
in the log or an answer. S003.11; the counterpart of `test_canary_on_disk` for keys
that nobody sends.
"""

import asyncio
import base64
import contextlib
import io
import secrets
import shutil

import pytest

from strongroom.crypto import envelope as envelopes
from strongroom.crypto import secret
from strongroom.keyring import kms, kms_sources, master, sources
from strongroom.server import build
from strongroom.service import encryption
from strongroom.store import disk
from strongroom.store.sqlite import catalog as sqlite_catalog

KMS, DUAL = "aws:kms", "aws:kms:dsse"
LARGE = bytes(range(256)) * 400
PART = bytes(range(256)) * 40_960
ROOT = kms.Caller(user_id="r" * 64, is_root=True)
MODES = {
    "stores": {"ServerSideEncryption": "AES256"},
    "kms": {"ServerSideEncryption": KMS, "SSEKMSEncryptionContext": "eyJhIjoiYiJ9"},
    "shared": {"ServerSideEncryption": KMS, "BucketKeyEnabled": True},
    "dual": {"ServerSideEncryption": DUAL},
}


def forms(key):
    """Return how a secret may be written: as it is, in hex, in base64 at every offset."""
    texts = [key, key.hex().encode(), key.hex().upper().encode()]
    for offset in range(3):
        # The first characters depend on what stands before, the last on what follows.
        encoded = base64.b64encode(bytes(offset) + key + b"\0")[4:-4]
        texts += [encoded, encoded.replace(b"+", b"-").replace(b"/", b"_")]
    return texts


def play(client):
    """Store objects in all modes, small, large, in parts and copied; return all answers."""
    answers = [client.create_bucket(Bucket="attic")]
    for name, options in MODES.items():
        for size, body in (("small", b"x"), ("large", LARGE)):
            place = {"Bucket": "attic", "Key": f"{name}-{size}"}
            answers.append(client.put_object(**place, Body=body, **options))
            answers.append(client.head_object(**place))
        # boto3 knows all of these for an upload but the last.
        known = {key: value for key, value in options.items() if key != "BucketKeyEnabled"}
        client.upload_fileobj(io.BytesIO(PART), "attic", f"{name}-parts", ExtraArgs=known)
        answers.append(
            client.create_multipart_upload(Bucket="attic", Key=f"{name}-open", **options)
        )
        for target, wanted in MODES.items():
            copied = f"{name}-to-{target}"
            source = f"attic/{name}-large"
            answers.append(
                client.copy_object(Bucket="attic", Key=copied, CopySource=source, **wanted)
            )
            found = client.get_object(Bucket="attic", Key=copied)
            assert found.pop("Body").read() == LARGE
            answers.append(found)
    return answers


async def keys_of(data_dir, master_key):
    """Open a data directory and return every key that the server had, by name."""
    raw = master.parse(master_key)
    opened = sqlite_catalog.open_catalog(data_dir / build.CATALOG_NAME)
    core = await build.assemble(
        opened,
        disk.DiskBlobs(data_dir / build.BLOBS_NAME),
        master_key=raw,
        root_access_key="root",
        root_secret_key=secret.SecretKey(b"secret"),
        region="us-east-1",
        domains=(),
        report=lambda *_: None,
    )
    found = {"master key": raw}
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(core.close)
        store_keys = await sources.open_store_keys(
            opened, master.Master(raw), random_bytes=secrets.token_bytes, now_ms=0
        )
        found["store key"] = store_keys.current.secret
        for key in await core.kms.store.keys(limit=10):
            for material in await core.kms.store.materials(key.key_id):
                found[f"material {key.key_id}"] = await core.kms.materials.open(key, material)
        guard = encryption.Encryption(
            store_keys,
            kms_sources.KmsKeys(core.kms, clock_ms=lambda: 0),
            random_bytes=secrets.token_bytes,
        )
        page = await opened.list_objects("attic", limit=1000)
        for version in page.versions:
            stored = await opened.current("attic", version.key)
            fields = envelopes.Envelope.parse(stored.envelope).key_fields
            if version.mode in sources.KMS_MODES:
                context = kms_sources._parse_context(fields[2])  # noqa: SLF001 - as stored
                for at in (1, 4) if len(fields) > 4 else (1,):
                    made = await core.kms.decrypt(fields[at], context, ROOT)
                    found[f"{version.key}: KMS plaintext {at}"] = made.plaintext
            unlocked = await guard.unlock(stored, None, ROOT)
            for layer, key in enumerate(unlocked.keys, 1):
                found[f"{version.key}: data key {layer}"] = key
                found[f"{version.key}: stream key {layer}"] = key.stream_key()
    return {name: key.reveal() for name, key in found.items()}


@pytest.mark.slow
def test_no_key_of_the_servers_lies_in_the_clear(make_server, tmp_path):
    running = make_server(data_dir=tmp_path / "data")
    answers = play(running.boto3_client())
    running.process.kill()
    running.process.wait(60)
    shutil.copytree(running.data_dir, tmp_path / "copy")

    master_key = running._master_key  # noqa: SLF001 - it is in no file, which is the point
    keys = asyncio.run(keys_of(tmp_path / "copy", master_key))

    places = {
        str(path.relative_to(running.data_dir)): path.read_bytes()
        for path in running.data_dir.rglob("*")
        if path.is_file()
    } | {"log": running.log_path.read_bytes(), "answers": repr(answers).encode()}
    planted = b"before" + base64.b64encode(b"?" + keys["master key"]) + b"after"
    assert any(form in planted for form in forms(keys["master key"])), "the search finds it"
    assert sum(name.startswith("blobs/") for name in places) > len(MODES)
    assert sum("KMS plaintext" in name for name in keys) > 4 * len(MODES)
    found = [
        (place, name)
        for place, data in places.items()
        for name, key in keys.items()
        for form in forms(key)
        if form in data
    ]
    assert found == []
