"""EncryptedClient: a boto3 client of S3 that encrypts what leaves and decrypts what comes.

It has the calls of a boto3 client under their names and with their arguments, and hides
the envelope: sizes, ranges and metadata are those of the plaintext. Everything else of the
boto3 client stays in reach as `EncryptedClient.plain_client`, and is not encrypted.

Source: the calls are those of boto3's S3 client and of its transfers; policies are named as
in the Amazon S3 Encryption Client.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from strongroom import errors
from strongroom.client import (
    answers,
    bodies,
    checkpoints,
    content,
    copies,
    downloads,
    envelopes,
    headers,
    rules,
    sealed,
    sending,
    stored,
    uploads,
)
from strongroom.client.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from strongroom.client.keys import Key

DEFAULT_PART_BYTES = 8 * uploads.MIB
THRESHOLD_BYTES = 8 * uploads.MIB
"""From here on files are uploaded in parts; below, in one request."""

DEFAULT_THREADS = 4
INSTRUCTION_SUFFIX = ".instruction"


class EncryptedClient:
    """Encrypts and decrypts around a boto3 client of S3.

    Args:
        client: the boto3 client. It is not changed, and encrypts nothing by itself.
        keys: a key or several. The first writes; `sealed` objects are under all of them.
        format: what is written: `s3-v3` (Amazon's, with key commitment), `sealed` (ours),
            `s3-v2`, `oss-v2`.
        commitment_policy: whether contents must commit to one key.
        formats: what is read, by name, instead of what the policy makes of it.
        enable_legacy_unauthenticated_modes: read CBC, and ranges that nothing vouches for.
        enable_legacy_wrapping_algorithms: unwrap what Amazon's first client wrapped.
        enable_delayed_authentication: release plaintext of S3 V2 and V3 before the tag at
            the end has been checked.
        allow_plaintext: give out objects that have no envelope. Without this, somebody who
            may write to the bucket can strip an envelope and put other data in.
        instruction_file: write the wrapped key beside the object.
        bind_name: `sealed` only: bind objects to their bucket and key. A copy under another
            name is bound anew by `copy_object`, and by nothing else.
        part_bytes: of a part; stored bytes for `sealed`, plaintext else.
        threads: requests at a time, per transfer.
        checkpoint_dir: where transfers of files leave what is needed to continue them.
        try_all: try keys whose description is another one.

    Raises:
        ValueError: format and policy contradict each other, or a size is out of range.
    """

    def __init__(
        self,
        client: Any,
        keys: Key | Iterable[Key],
        *,
        format: str = headers.S3_V3,  # noqa: A002 - the word for it
        commitment_policy: rules.CommitmentPolicy | str = (
            rules.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
        ),
        formats: Iterable[str] | None = None,
        enable_legacy_unauthenticated_modes: bool = False,
        enable_legacy_wrapping_algorithms: bool = False,
        enable_delayed_authentication: bool = False,
        allow_plaintext: bool = False,
        instruction_file: bool = False,
        instruction_suffix: str = INSTRUCTION_SUFFIX,
        bind_name: bool = False,
        part_bytes: int = DEFAULT_PART_BYTES,
        threads: int = DEFAULT_THREADS,
        checkpoint_dir: Path | str | None = None,
        try_all: bool = False,
    ) -> None:
        policy = rules.CommitmentPolicy(commitment_policy)
        if policy.committing_writes != (format in rules.COMMITTING):
            raise ValueError(f"the policy {policy.value} does not write the format {format}")
        if bind_name and format != headers.SEALED:
            raise ValueError("only sealed objects can be bound to their name")
        if part_bytes < uploads.LEAST_PART_BYTES:
            raise ValueError("S3 takes no parts below 5 MiB")
        if threads < 1:
            raise ValueError("a transfer needs a thread")
        self.plain_client = client
        self.envelopes = envelopes.Envelopes(
            client,
            KeyRing(keys, try_all=try_all),
            rules.allowed(
                policy,
                formats,
                legacy_content=enable_legacy_unauthenticated_modes,
                legacy_wraps=enable_legacy_wrapping_algorithms,
            ),
            suffix=instruction_suffix,
            allow_plaintext=allow_plaintext,
        )
        self._sender = sending.Sender(
            self.envelopes,
            sending.Writes(format, instruction_file, bind_name, part_bytes, threads),
        )
        self._unverified_ranges = enable_legacy_unauthenticated_modes
        self._delayed = enable_delayed_authentication
        self._threads = threads
        self._checkpoint_dir = checkpoint_dir

    # Writing

    def put_object(self, **kwargs: Any) -> dict[str, Any]:
        """Encrypt and store one object; arguments and answer as of boto3's `put_object`.

        `Body` may be bytes, text or a binary stream; from 8 MiB on it is sent in parts. A
        `ContentMD5` is compared with the plaintext. `EncryptionContext` goes to the KMS.

        Raises:
            ValueError: an argument describes the plaintext and would be stored as if it
                described what is stored, or metadata have a name of an envelope.
            DigestMismatch: the plaintext has another MD5.
        """
        context = kwargs.pop("EncryptionContext", None)
        announced = kwargs.pop("ContentMD5", None)
        kwargs.pop("ContentLength", None)
        body = kwargs.pop("Body", b"")
        if isinstance(body, str):
            body = body.encode()
        stream: IO[bytes] = io.BytesIO(body) if isinstance(body, bytes | bytearray) else body
        read = uploads.reader(stream)
        first = read(THRESHOLD_BYTES + 1)
        if announced is not None:
            if len(first) > THRESHOLD_BYTES:
                raise ValueError("ContentMD5 is compared with bodies up to 8 MiB only")
            answers.check_md5(first, announced)
        if len(first) <= THRESHOLD_BYTES:
            return self._sender.put(kwargs, first, context)
        size = uploads.size_of(stream)
        joined = uploads.reader(answers.Joined(first, stream))
        target = self._sender.target(kwargs)
        whole = None if size is None else len(first) + size
        return self._sender.multipart(target, kwargs, joined, whole, context, None)

    def upload_fileobj(
        self,
        Fileobj: IO[bytes],  # noqa: N803 - boto3's names
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803
        Callback: Callable[[int], object] | None = None,  # noqa: N803
        Config: Any = None,  # noqa: N803
    ) -> None:
        """Encrypt and upload a binary stream; memory is bounded, whatever its length.

        Of `Config` (boto3's `TransferConfig`) only `max_concurrency` is taken.
        """
        kwargs, context = self._arguments(Bucket, Key, ExtraArgs)
        read = uploads.reader(Fileobj)
        left = uploads.size_of(Fileobj)
        first = read(THRESHOLD_BYTES + 1)
        if len(first) <= THRESHOLD_BYTES:
            self._sender.put(kwargs, first, context)
            if Callback is not None:
                Callback(len(first))
            return
        joined = uploads.reader(answers.Joined(first, Fileobj))
        threads = answers.threads_of(Config, self._threads)
        self._sender.multipart(
            self._sender.target(kwargs), kwargs, joined, left, context, Callback, threads=threads
        )

    def upload_file(
        self,
        Filename: str | os.PathLike[str],  # noqa: N803
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803
        Callback: Callable[[int], object] | None = None,  # noqa: N803
        Config: Any = None,  # noqa: N803
        *,
        checkpoint: Path | str | None = None,
    ) -> None:
        """Encrypt and upload a file; with a checkpoint, continue what a kill interrupted.

        Args:
            Filename: of the file.
            Bucket: where to.
            Key: likewise.
            ExtraArgs: arguments of PutObject, and `EncryptionContext`.
            Callback: called with plaintext bytes, by several threads.
            Config: boto3's `TransferConfig`, of which `max_concurrency` is taken.
            checkpoint: a file to continue from, made if it is not there and removed at the
                end. It holds no key. Its place follows from `checkpoint_dir` if that is set.

        Raises:
            SourceChanged: the file changes while it is read.
            LostTrack: another transfer uses the checkpoint.
        """
        kwargs, context = self._arguments(Bucket, Key, ExtraArgs)
        path = Path(Filename)
        journal = self._journal(checkpoint, "upload", Bucket, Key, path)
        with path.open("rb") as file, journal or contextlib.nullcontext():
            status = os.fstat(file.fileno())
            if status.st_size <= THRESHOLD_BYTES:
                plain = uploads.reader(file)(status.st_size + 1)
                self._sender.put(kwargs, plain, context)
                if Callback is not None:
                    Callback(len(plain))
                if journal is not None:
                    journal.remove()
                return
            self._sender.multipart(
                self._sender.target(kwargs),
                kwargs,
                uploads.reader(file),
                status.st_size,
                context,
                Callback,
                threads=answers.threads_of(Config, self._threads),
                journal=journal,
                source={"path": str(path.resolve()), "file": checkpoints.identity(status)},
                unchanged=lambda: (
                    checkpoints.identity(os.fstat(file.fileno())) == checkpoints.identity(status)
                ),
            )

    # Reading

    def get_object(self, **kwargs: Any) -> dict[str, Any]:
        """Read one object; arguments and answer as of boto3's `get_object`.

        `Body` reads like botocore's. What only vouches for a whole object is read and
        verified before this returns, unless delayed authentication is on. A `Range` is one
        of the plaintext: verified for `sealed`, cut out of a verified whole for S3 V2 and
        V3, and read bare if unauthenticated modes are on.

        Raises:
            WrongKey, NotAuthentic, UnsupportedFormat, MalformedEnvelope: as `open_sealed`.
            NotSealed: it has no envelope, and plain objects are not allowed.
            RangeNotSatisfiable: the range begins after the end.
            ValueError: a part number, which the plaintext does not have.
        """
        if "PartNumber" in kwargs:
            raise ValueError("the plaintext has no parts; ask for a Range")
        context = kwargs.pop("EncryptionContext", None)
        asked = kwargs.pop("Range", None)
        if asked is not None:
            return self._get_range(kwargs, asked, context)
        answer: dict[str, Any] = self.plain_client.get_object(**kwargs)
        try:
            bare = self.envelopes.envelope_if_any(answer, kwargs)
            if bare is None:
                return answer
            size = answer["ContentLength"]
            opened = self.envelopes.unlock(bare, kwargs["Bucket"], kwargs["Key"], context)
            raw = answer["Body"]
            if opened.vouches is content.Vouches.WHOLE and not self._delayed:
                pieces, close = bodies.verified(raw, size, lambda: opened.opener(size))
                raw.close()
            else:
                pieces, close = bodies.streamed(raw, opened.opener(size), size), raw.close
        except BaseException:
            answer["Body"].close()
            raise
        answer["Body"] = bodies.PlainBody(pieces, close)
        return answers.plain(answer, sealed.plain_size(bare, size))

    def head_object(self, **kwargs: Any) -> dict[str, Any]:
        """Ask about one object; `ContentLength` is the plaintext's, the envelope is hidden.

        No key is needed, so nothing is verified here.

        Raises:
            NotSealed: it has no envelope, and plain objects are not allowed.
        """
        answer: dict[str, Any] = self.plain_client.head_object(**kwargs)
        bare = self.envelopes.envelope_if_any(answer, kwargs)
        if bare is None:
            return answer
        return answers.plain(answer, sealed.plain_size(bare, answer["ContentLength"]))

    def download_fileobj(
        self,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Fileobj: IO[bytes],  # noqa: N803
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803
        Callback: Callable[[int], object] | None = None,  # noqa: N803
        Config: Any = None,  # noqa: N803
    ) -> None:
        """Write an object's plaintext to a stream.

        What vouches only for a whole object is verified before the first byte is written,
        unless delayed authentication is on.
        """
        kwargs, context = self._arguments(Bucket, Key, ExtraArgs)
        _, found = self.envelopes.find(kwargs, context)
        if found is None or (found.opened.vouches is content.Vouches.WHOLE and not self._delayed):
            named = kwargs if context is None else {**kwargs, "EncryptionContext": context}
            with self.get_object(**named)["Body"] as body:
                pieces: Iterable[bytes] = body.iter_chunks(bodies.CHUNK_BYTES)
                answers.write_all(pieces, Fileobj, Callback)
            return
        threads = answers.threads_of(Config, self._threads)
        answers.write_all(downloads.pieces(found, threads), Fileobj, Callback)

    def download_file(
        self,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Filename: str | os.PathLike[str],  # noqa: N803
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803
        Callback: Callable[[int], object] | None = None,  # noqa: N803
        Config: Any = None,  # noqa: N803
        *,
        checkpoint: Path | str | None = None,
    ) -> None:
        """Write an object's plaintext to a file, which appears only when it is complete.

        Arguments as of `upload_file`. Until then the plaintext is beside it, under its name
        and `.strongroom-part`, and with a checkpoint stays there after a kill.
        """
        kwargs, context = self._arguments(Bucket, Key, ExtraArgs)
        path = Path(Filename)
        _, found = self.envelopes.find(kwargs, context)
        if found is None:
            self.plain_client.download_file(
                Bucket, Key, str(path), ExtraArgs=dict(ExtraArgs or {}), Callback=Callback
            )
            return
        journal = self._journal(checkpoint, "download", Bucket, Key, path)
        with journal or contextlib.nullcontext():
            downloads.to_file(
                found,
                path,
                threads=answers.threads_of(Config, self._threads),
                tell=Callback,
                journal=journal,
                what={"bucket": Bucket, "key": Key, "path": str(path.resolve())},
            )
            if journal is not None:
                journal.remove()

    def list_objects_v2(self, *, plain_sizes: bool = False, **kwargs: Any) -> dict[str, Any]:
        """List objects; with `plain_sizes`, `Size` is the plaintext's, by a HEAD for each."""
        answer: dict[str, Any] = self.plain_client.list_objects_v2(**kwargs)
        if plain_sizes:
            for entry in answer.get("Contents", ()):
                named = {"Bucket": kwargs["Bucket"], "Key": entry["Key"]}
                head = self.plain_client.head_object(**named)
                bare = answers.bare(head)
                if headers.is_sealed(bare) or headers.PLAIN_LENGTH in bare:
                    whole = self.envelopes.envelope_if_any(head, named)
                    size = None if whole is None else sealed.plain_size(whole, entry["Size"])
                    entry["Size"] = entry["Size"] if size is None else size
        return answer

    # Moving and removing

    def copy_object(self, **kwargs: Any) -> dict[str, Any]:
        """Copy on the server; the envelope goes along, whatever happens to other metadata.

        With `MetadataDirective='REPLACE'` boto3's own call loses the envelope, and with it
        the data. A bound object is bound to its new name.
        """
        return copies.copy(self.envelopes, kwargs)

    def delete_object(self, **kwargs: Any) -> dict[str, Any]:
        """Delete an object, and its instruction file if it has one.

        Only a file that belongs to an object that needs it is deleted: another object that
        is merely named like one stays.
        """
        named = {name: kwargs[name] for name in ("Bucket", "Key")}
        beside = False
        if "VersionId" not in kwargs:
            with contextlib.suppress(ClientError):
                bare = answers.bare(self.plain_client.head_object(**named))
                beside = headers.awaits_instruction(bare) or (
                    not headers.is_sealed(bare) and self.envelopes.is_instruction(named)
                )
        answer: dict[str, Any] = self.plain_client.delete_object(**kwargs)
        if beside:
            self.plain_client.delete_object(
                Bucket=named["Bucket"], Key=self.envelopes.beside_key(named)
            )
        return answer

    # Within

    def _get_range(
        self, kwargs: dict[str, Any], asked: str, context: Mapping[str, str] | str | None
    ) -> dict[str, Any]:
        for name in ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince"):
            if name in kwargs:
                raise ValueError(f"{name} cannot be combined with a Range here")
        head, found = self.envelopes.find(kwargs, context)
        if found is None:
            plain: dict[str, Any] = self.plain_client.get_object(**kwargs, Range=asked)
            return plain
        size = found.opened.plain_size(found.size)
        if size is None:
            raise errors.UnsupportedFormat("this object does not tell its length; read it whole")
        start, end = answers.span(asked, size)
        body = stored.Stored(found.fetch, found.size)

        def pieces() -> Iterator[bytes]:
            if found.opened.vouches is content.Vouches.WHOLE and not self._unverified_ranges:
                yield found.opened.read(body, start, end, unverified=False)
                return
            for low in range(start, end, found.window):
                high = min(end, low + found.window)
                yield found.opened.read(body, low, high, unverified=True)

        whole = pieces()
        # The first piece now, so that what cannot be opened is an error of this call.
        first = next(whole)
        answer = answers.plain(head, end - start)
        answer["ContentRange"] = f"bytes {start}-{end - 1}/{size}"
        answer["Body"] = bodies.PlainBody(answers.chained(first, whole), lambda: None)
        return answer

    def _arguments(
        self, bucket: str, key: str, extra: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], Mapping[str, str] | str | None]:
        kwargs = {**(extra or {}), "Bucket": bucket, "Key": key}
        return kwargs, kwargs.pop("EncryptionContext", None)

    def _journal(
        self, given: Path | str | None, way: str, bucket: str, key: str, path: Path
    ) -> checkpoints.Journal | None:
        if given is not None:
            return checkpoints.Journal(given)
        if self._checkpoint_dir is None:
            return None
        Path(self._checkpoint_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        endpoint = str(self.plain_client.meta.endpoint_url)
        names = (way, endpoint, bucket, key, str(path.resolve()))
        return checkpoints.Journal(checkpoints.place(self._checkpoint_dir, *names))
