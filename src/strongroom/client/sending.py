"""Sending: one new object, in one request or in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import answers, envelopes, headers, sealed, uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.client import checkpoints, writing


@dataclass(frozen=True, slots=True)
class Writes:
    """How new objects are written.

    Attributes:
        format: a member of `headers.FORMATS`.
        beside: whether wrapped keys go into an instruction file.
        bind_name: whether objects are bound to their bucket and key.
        part_bytes: of a part.
        threads: requests at a time.
    """

    format: str
    beside: bool
    bind_name: bool
    part_bytes: int
    threads: int


class Sender:
    """Encrypts and stores objects.

    Args:
        where: client, keys and instruction files.
        writes: how.
    """

    def __init__(self, where: envelopes.Envelopes, writes: Writes) -> None:
        self._envelopes = where
        self._writes = writes

    def put(
        self, kwargs: dict[str, Any], plain: bytes, context: Mapping[str, str] | str | None
    ) -> dict[str, Any]:
        """Store a plaintext that is in memory, in one request; return S3's answer."""
        answers.check_arguments(kwargs)
        sealing = self._seal(kwargs, context, multipart=False, size=len(plain))
        size = sealing.part_plain
        pieces = [plain[at : at + size] for at in range(0, len(plain) or 1, size)]
        body = b"".join(
            sealing.seal_part(number, piece, last=number == len(pieces))
            for number, piece in enumerate(pieces, 1)
        )
        metadata = {**kwargs.pop("Metadata", {}), **sealing.envelope}
        self._beside_first(kwargs, sealing)
        answer: dict[str, Any] = self._envelopes.client.put_object(
            **kwargs, Metadata=metadata, Body=body
        )
        return answer

    def multipart(
        self,
        target: uploads.Target,
        kwargs: dict[str, Any],
        read: Callable[[int], bytes],
        size: int | None,
        context: Mapping[str, str] | str | None,
        tell: Callable[[int], object] | None,
        *,
        threads: int | None = None,
        journal: checkpoints.Journal | None = None,
        source: dict[str, Any] | None = None,
        unchanged: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Store what `read` gives, in parts; return S3's answer.

        Args:
            target: where to.
            kwargs: arguments of PutObject.
            read: reads up to n bytes of plaintext; fewer only at the end.
            size: plaintext bytes in all, if known.
            context: as for `sealed.seal`.
            tell: called with plaintext bytes that are there.
            threads: requests at a time.
            journal: to continue from and to write to; removed at the end.
            source: names the source in the journal.
            unchanged: whether the source is still what it was.

        Raises:
            SourceChanged: the source changed; nothing of this upload is left.
        """
        answers.check_arguments(kwargs)
        what = {"op": "upload", "bucket": target.bucket, "key": target.key, **(source or {})}
        opened = None
        if journal is not None:
            opened = self._continued(target, journal, what, context)
        if opened is None:
            sealing = self._seal(kwargs, context, multipart=True, size=size)
            self._beside_first(kwargs, sealing)
            opened = uploads.begin(target, sealing, kwargs.get("Metadata", {}))
            if journal is not None:
                journal.begin(
                    **what,
                    upload_id=opened.upload_id,
                    envelope=sealing.envelope,
                    instruction=sealing.instruction,
                    part_plain=sealing.part_plain,
                )
        try:
            answer = uploads.run(
                target,
                opened,
                read,
                threads=threads or self._writes.threads,
                tell=tell,
                journal=journal,
                size=size,
                unchanged=unchanged,
            )
        except errors.SourceChanged:
            # What is there can never become an object: its keystream belongs to other bytes.
            uploads.abort(target, opened.upload_id)
            if journal is not None:
                journal.remove()
            raise
        except BaseException:
            if journal is None:
                uploads.abort(target, opened.upload_id)
            raise
        if journal is not None:
            journal.remove()
        return answer

    def target(self, kwargs: Mapping[str, Any]) -> uploads.Target:
        """Return where an upload goes, and which arguments go with which of its requests."""
        given = {
            name: value
            for name, value in kwargs.items()
            if name not in {"Bucket", "Key", "Metadata", "IfMatch", "IfNoneMatch"}
        }
        client = self._envelopes.client
        return uploads.Target(
            client,
            kwargs["Bucket"],
            kwargs["Key"],
            create=answers.taken(client, "CreateMultipartUpload", given),
            each=answers.taken(client, "UploadPart", given),
            complete={
                **answers.taken(client, "CompleteMultipartUpload", given),
                **{name: kwargs[name] for name in ("IfMatch", "IfNoneMatch") if name in kwargs},
            },
        )

    def _continued(
        self,
        target: uploads.Target,
        journal: checkpoints.Journal,
        what: dict[str, Any],
        context: Mapping[str, str] | str | None,
    ) -> uploads.Opened | None:
        """Return the upload that a journal tells of; None if it has to begin anew."""
        lines = list(journal.lines())
        if not lines or "upload_id" not in lines[0]:
            return None
        first = lines[0]
        upload_id = str(first["upload_id"])
        if {name: first.get(name) for name in what} != what:
            uploads.abort(target, upload_id)
            return None
        there = uploads.parts_there(target, upload_id)
        if there is None:
            return None
        bare = headers.with_instruction(first["envelope"], first["instruction"])
        sealing = sealed.resume(
            first["envelope"],
            first["instruction"],
            self._envelopes.ring.keys,
            int(first["part_plain"]),
            context=self._envelopes.context_of(bare, target.bucket, target.key, context),
            sealed_before={
                int(line["part"]): bytes.fromhex(line["blake2b"])
                for line in lines[1:]
                if "part" in line
            },
        )
        return uploads.Opened(upload_id, sealing, there)

    def _seal(
        self,
        kwargs: Mapping[str, Any],
        context: Mapping[str, str] | str | None,
        *,
        multipart: bool,
        size: int | None,
    ) -> writing.Sealing:
        if self._writes.bind_name:
            place = {
                envelopes.BUCKET_IN_CONTEXT: kwargs["Bucket"],
                envelopes.KEY_IN_CONTEXT: kwargs["Key"],
            }
            if isinstance(context, str):
                raise TypeError("the context of this format is a mapping")
            context = {**place, **(context or {})}
        part_bytes = uploads.part_bytes_for(size, self._writes.part_bytes)
        return sealed.seal(
            list(self._envelopes.ring.keys)
            if self._writes.format == headers.SEALED
            else self._envelopes.ring.keys[0],
            self._writes.format,
            context=context,
            part_bytes=part_bytes,
            data_size=size,
            multipart=multipart,
            instruction=self._writes.beside,
        )

    def _beside_first(self, kwargs: Mapping[str, Any], sealing: writing.Sealing) -> None:
        """Store the instruction file first: an object without its keys is lost, a file is not."""
        if sealing.instruction is not None:
            self._envelopes.put_instruction(kwargs, sealing.instruction)
