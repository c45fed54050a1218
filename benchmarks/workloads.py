"""What is done to each server, one row of the table each."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks import meter, replay, signing, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

BUCKET: Final = "bench"
_PAGE_KEYS: Final = 1000
_PROCESSES: Final = 2
"""Of the client, where one connection alone does not keep it busy."""


class Site:
    """A target with what is needed to use it: a signer, a client, a customer key, bodies.

    Args:
        target: the server.
        noise: random bytes that bodies are cut from, `NOISE_BYTES` of them.
        folder: where files of clients may lie for a while.
        scale: share of the usual amount of requests and bytes; 1.0 is what the table needs.
        encrypted: whether all requests carry a customer key.
    """

    def __init__(
        self, target: targets.Target, noise: bytes, folder: Path, *, scale: float, encrypted: bool
    ) -> None:
        self.target = target
        self.folder = folder
        self.noise = noise
        self.scale = scale
        self.signer = signing.Signer(
            target.endpoint, target.access_key, target.secret_key, targets.REGION
        )
        self.key = os.urandom(32)
        self.encrypted = encrypted
        self.headers = signing.customer_key(self.key) if encrypted else {}

    @functools.cached_property
    def client(self) -> Any:
        """A boto3 client as it comes, but for path style."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.target.endpoint,
            verify=self.target.ca_bundle,
            region_name=targets.REGION,
            aws_access_key_id=self.target.access_key,
            aws_secret_access_key=self.target.secret_key,
            config=Config(s3={"addressing_style": "path"}, read_timeout=replay.TIMEOUT_S),
        )

    @property
    def sse(self) -> dict[str, Any]:
        """boto3's parameters for the customer key."""
        if not self.encrypted:
            return {}
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.key}

    def size(self, full: int) -> int:
        """Return a body's size, scaled in steps of 4 KiB."""
        return max(4 * KIB, int(full * self.scale) // (4 * KIB) * (4 * KIB))

    def count(self, full: int) -> int:
        """Return a number of requests, scaled."""
        return max(1, round(full * self.scale))

    def path(self, row: str, size: int, number: object, bucket: str = BUCKET) -> str:
        """Return where an object lies; its size is in the name, for the null server."""
        return f"/{bucket}/{row}/{size}/{number}"

    def put(self, path: str, size: int) -> signing.Message:
        """Sign a PUT of so many random bytes."""
        return self.signer.message("PUT", path, self.headers, body=self.noise[:size])

    def read(
        self, path: str, method: str = "GET", extra: Mapping[str, str] | None = None
    ) -> signing.Message:
        """Sign a GET or HEAD."""
        return self.signer.message(method, path, {**self.headers, **(extra or {})})

    def replay(self, lanes: Sequence[replay.Lane], processes: int) -> replay.Sample:
        """Send it all."""
        return replay.run(
            lanes,
            self.target.endpoint,
            self.target.ca_bundle,
            self.target.tree,
            processes=processes,
        )

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket and see that it takes writes; a peer refuses the first ones."""
        self.client.create_bucket(Bucket=bucket)
        # boto3 tries again on a 5xx; a replay does not.
        self.client.put_object(Bucket=bucket, Key="first", Body=b"first", **self.sse)
        self.client.delete_object(Bucket=bucket, Key="first")

    def open(self) -> None:
        """Make the bucket, and see that bytes and keys are treated as they should be.

        Raises:
            RuntimeError: the server answers other bytes, or gives an encrypted object to
                somebody who has no key.
        """
        self.make_bucket(BUCKET)
        if not self.target.stores:
            return
        key, body = "check", self.noise[: 5 * MIB + 1]
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body, **self.sse)
        if self.client.get_object(Bucket=BUCKET, Key=key, **self.sse)["Body"].read() != body:
            raise RuntimeError(f"{self.target.name} does not give back what was put")
        if self.encrypted:
            try:
                self.client.get_object(Bucket=BUCKET, Key=key)
            except ClientError:
                return
            raise RuntimeError(f"{self.target.name} needs no key for what was put with one")


@dataclass(frozen=True)
class Workload:
    """A row.

    Attributes:
        name: on the command line.
        title: in the table.
        unit: of the rate: "MiB/s", or something a second.
        amount: what one sample moves, in `unit` without the time.
        measure: takes one sample; the number tells samples apart.
        prepare: puts there what will be read.
        drives: the client works at all; a copy is one request.
    """

    name: str
    title: str
    unit: str
    amount: Callable[[Site], float]
    measure: Callable[[Site, int], replay.Sample]
    prepare: Callable[[Site], None] = field(default=lambda _: None)
    drives: bool = True


def _puts(name: str, clients: int, each: int) -> Workload:
    full = 64 * MIB

    def measure(site: Site, _number: int) -> replay.Sample:
        size = site.size(full)
        lanes = [
            [site.put(site.path(name, size, f"{lane}-{turn}"), size) for turn in range(each)]
            for lane in range(clients)
        ]
        return site.replay(lanes, clients)

    return Workload(
        name,
        f"PUT 64 MiB, {_clients(clients)}",
        "MiB/s",
        lambda site: clients * each * site.size(full) / MIB,
        measure,
    )


def _gets(name: str, clients: int, each: int) -> Workload:
    full = 64 * MIB

    def prepare(site: Site) -> None:
        size = site.size(full)
        paths = [site.path(name, size, lane) for lane in range(clients)]
        site.replay([[site.put(path, size) for path in paths]], 1)

    def measure(site: Site, _number: int) -> replay.Sample:
        size = site.size(full)
        lanes = [[site.read(site.path(name, size, lane))] * each for lane in range(clients)]
        return site.replay(lanes, clients)

    return Workload(
        name,
        f"GET 64 MiB, {_clients(clients)}",
        "MiB/s",
        lambda site: clients * each * site.size(full) / MIB,
        measure,
        prepare,
    )


def _boto3_puts(name: str, each: int) -> Workload:
    full = 64 * MIB

    def measure(site: Site, _number: int) -> replay.Sample:
        size = site.size(full)
        message = signing.as_boto3_sends_it(
            site.client,
            "put_object",
            Bucket=BUCKET,
            Key=site.path(name, size, 0).split("/", 2)[2],
            Body=site.noise[:size],
            **site.sse,
        )
        return site.replay([[message] * each], 1)

    return Workload(
        name,
        "PUT 64 MiB as boto3 frames it (aws-chunked, CRC-32 trailer), 1 client",
        "MiB/s",
        lambda site: each * site.size(full) / MIB,
        measure,
    )


def _ranges(name: str, clients: int, each: int) -> Workload:
    full = 256 * MIB

    def prepare(site: Site) -> None:
        _upload(site, name, site.size(full))

    def measure(site: Site, _number: int) -> replay.Sample:
        size = site.size(full)
        path = site.path(name, size, 0)
        width = min(MIB, size // 4)
        # Spread over the object by a step that meets no border of anything.
        steps = (7_654_321 * turn % (size - width) for turn in range(clients * each))
        lane = [
            site.read(path, extra={"Range": f"bytes={start}-{start + width - 1}"})
            for start in steps
        ]
        return site.replay([lane[number::clients] for number in range(clients)], _PROCESSES)

    return Workload(
        name,
        f"ranges of 1 MiB out of 256 MiB, {_clients(clients)}",
        "ranges/s",
        lambda _site: clients * each,
        measure,
        prepare,
    )


def _small_puts(name: str, clients: int, total: int) -> Workload:
    size = 4 * KIB

    def measure(site: Site, number: int) -> replay.Sample:
        messages = [
            site.put(site.path(name, size, f"{number}-{turn}"), size)
            for turn in range(_rounded(site, total, clients))
        ]
        return site.replay(_dealt(messages, clients), _PROCESSES)

    return Workload(
        name,
        f"PUT 4 KiB, {_clients(clients)}",
        "/s",
        lambda site: _rounded(site, total, clients),
        measure,
    )


def _small_reads(name: str, method: str, clients: int, total: int) -> Workload:
    size, keys = 4 * KIB, 256

    def prepare(site: Site) -> None:
        messages = [site.put(site.path(name, size, turn), size) for turn in range(keys)]
        site.replay(_dealt(messages, clients), _PROCESSES)

    def measure(site: Site, _number: int) -> replay.Sample:
        signed = [site.read(site.path(name, size, turn), method) for turn in range(keys)]
        turns = _rounded(site, total, clients)
        return site.replay(
            _dealt([signed[turn % keys] for turn in range(turns)], clients), _PROCESSES
        )

    return Workload(
        name,
        f"{method} 4 KiB, {_clients(clients)}",
        "/s",
        lambda site: _rounded(site, total, clients),
        measure,
        prepare,
    )


def _lists(name: str, walks: int) -> Workload:
    keys, bucket, clients = 10_000, "bench-list", 16

    def prepare(site: Site) -> None:
        site.make_bucket(bucket)
        messages = [
            site.signer.message(
                "PUT", f"/{bucket}/{turn:06d}", site.headers, body=b"sixteen bytes, so"
            )
            for turn in range(_keys(site))
        ]
        site.replay(_dealt(messages, clients), _PROCESSES)

    def measure(site: Site, _number: int) -> replay.Sample:
        pages = []
        for start in range(0, _keys(site), _PAGE_KEYS):
            query = {"list-type": "2", "max-keys": str(_PAGE_KEYS)}
            if start:
                query["start-after"] = f"{start - 1:06d}"
            pages.append(site.signer.message("GET", f"/{bucket}/", {}, query=query))
        return site.replay([pages * walks], 1)

    def _keys(site: Site) -> int:
        return -(-site.count(keys) // _PAGE_KEYS) * _PAGE_KEYS

    return Workload(
        name,
        "LIST 10,000 keys by pages of 1,000, 1 client",
        "pages/s",
        lambda site: walks * _keys(site) / _PAGE_KEYS,
        measure,
        prepare,
    )


def _copies(name: str) -> Workload:
    full = GIB

    def prepare(site: Site) -> None:
        _upload(site, name, site.size(full))

    def measure(site: Site, number: int) -> replay.Sample:
        size = site.size(full)
        source = {"x-amz-copy-source": site.path(name, size, 0)}
        if site.encrypted:
            source |= signing.customer_key(site.key, source=True)
        path = site.path(name, size, f"copy-{number}")
        copy = site.signer.message("PUT", path, {**site.headers, **source})
        return site.replay([[copy]], 1)

    return Workload(
        name,
        "copy of 1 GiB, key to same key, 1 client",
        "MiB/s",
        lambda site: site.size(full) / MIB,
        measure,
        prepare,
        drives=False,
    )


def _multipart(name: str, title: str, run: Callable[[Site, Path, str], None]) -> Workload:
    full = 256 * MIB

    def measure(site: Site, number: int) -> replay.Sample:
        size = site.size(full)
        with tempfile.NamedTemporaryFile(dir=site.folder) as source:
            for start in range(0, size, len(site.noise)):
                source.write(site.noise[: min(size - start, len(site.noise))])
            source.flush()
            return _in_a_child(
                site.target.tree,
                functools.partial(
                    run, site, Path(source.name), site.path(name, size, number).split("/", 2)[2]
                ),
            )

    return Workload(
        name,
        title,
        "MiB/s",
        lambda site: site.size(full) / MIB,
        measure,
    )


def _by_boto3(site: Site, source: Path, key: str) -> None:
    # Within the child that is measured: threads and connections of its own.
    site.__dict__.pop("client", None)
    site.client.upload_file(str(source), BUCKET, key, ExtraArgs=site.sse, Config=TransferConfig())


def _by_aws(site: Site, source: Path, key: str) -> None:
    with tempfile.NamedTemporaryFile(dir=site.folder) as customer_key:
        customer_key.write(site.key)
        customer_key.flush()
        sse = ("--sse-c", "AES256", "--sse-c-key", f"fileb://{customer_key.name}")
        subprocess.run(  # noqa: S603 - the client that is measured
            [
                str(Path(sys.executable).with_name("aws")),
                *("s3", "cp", str(source), f"s3://{BUCKET}/{key}", "--only-show-errors"),
                *("--endpoint-url", site.target.endpoint, "--ca-bundle", site.target.ca_bundle),
                *(sse if site.encrypted else ()),
            ],
            env={
                "PATH": os.environ.get("PATH", ""),
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_ACCESS_KEY_ID": site.target.access_key,
                "AWS_SECRET_ACCESS_KEY": site.target.secret_key,
                "AWS_DEFAULT_REGION": targets.REGION,
            },
            check=True,
        )


def _in_a_child(tree: meter.Tree, work: Callable[[], None]) -> replay.Sample:
    """Run a client of somebody else in a forked process, and measure it with its children."""
    with meter.Meter(tree) as metered:
        start = time.monotonic()
        child = os.fork()
        if not child:
            status = 1
            try:
                work()
                status = 0
            except Exception:  # noqa: BLE001 - told here, and by the status to the parent
                traceback.print_exc()
            finally:
                # Nothing of the parent's is flushed or cleaned up twice.
                os._exit(status)
        _, status, usage = os.wait4(child, 0)
        wall_s = time.monotonic() - start
        time.sleep(replay.SETTLE_S)
    if status:
        raise replay.AnswerRefused("the client failed; its message is above")
    return replay.Sample(wall_s, 1, usage.ru_utime + usage.ru_stime, [], metered.reading)


def _upload(site: Site, row: str, size: int) -> None:
    """Put an object of any size there, by parts of 64 MiB if it is large."""
    key = site.path(row, size, 0).split("/", 2)[2]
    part = len(site.noise)
    if size <= part:
        site.replay([[site.put(f"/{BUCKET}/{key}", size)]], 1)
        return
    created = site.client.create_multipart_upload(Bucket=BUCKET, Key=key, **site.sse)
    done = []
    for number, start in enumerate(range(0, size, part), 1):
        answer = site.client.upload_part(
            Bucket=BUCKET,
            Key=key,
            UploadId=created["UploadId"],
            PartNumber=number,
            Body=site.noise[: min(part, size - start)],
            **site.sse,
        )
        # The client computes a CRC-32 of each part, and Complete wants to hear it again.
        told = {"ETag": answer["ETag"], "PartNumber": number}
        if "ChecksumCRC32" in answer:
            told["ChecksumCRC32"] = answer["ChecksumCRC32"]
        done.append(told)
    site.client.complete_multipart_upload(
        Bucket=BUCKET, Key=key, UploadId=created["UploadId"], MultipartUpload={"Parts": done}
    )


def _rounded(site: Site, total: int, clients: int) -> int:
    return max(1, site.count(total) // clients) * clients


def _dealt(messages: Sequence[signing.Message], clients: int) -> list[replay.Lane]:
    return [list(messages[number::clients]) for number in range(clients)]


def _clients(number: int) -> str:
    return "1 client" if number == 1 else f"{number} clients"


WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        _puts("put-64m", 1, 4),
        _puts("put-64m-x4", 4, 2),
        _boto3_puts("put-64m-boto3", 4),
        _gets("get-64m", 1, 8),
        _gets("get-64m-x4", 4, 4),
        _ranges("ranges-x4", 4, 60),
        _small_puts("put-4k-x16", 16, 2000),
        _small_reads("get-4k-x16", "GET", 16, 6000),
        _small_reads("head-4k-x16", "HEAD", 16, 8000),
        _multipart("multipart-boto3", "upload of 256 MiB by boto3 (parts of 8 MiB)", _by_boto3),
        _multipart("multipart-aws", "upload of 256 MiB by aws s3 cp", _by_aws),
        _lists("list", 4),
        _copies("copy-1g"),
    )
}
NOISE_BYTES: Final = 64 * MIB
"""What `Site.noise` must hold: the largest body that is sent in one piece."""
