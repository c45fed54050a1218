"""Envelopes where they lie: in the metadata of an object, or in a file beside it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from strongroom import errors
from strongroom.client import answers, content, downloads, headers, rules, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.client.keys import KeyRing

MOST_INSTRUCTION_BYTES = 1024 * 1024
BUCKET_IN_CONTEXT, KEY_IN_CONTEXT = "bucket", "key"
"""Names in the context of sealed objects that are bound to where they are."""


class Envelopes:
    """Finds, opens and stores envelopes.

    Args:
        client: a boto3 client of S3.
        ring: the keys.
        allowed: what may be read.
        suffix: of instruction files.
        allow_plaintext: whether objects without envelope are dealt with.
    """

    def __init__(
        self,
        client: Any,
        ring: KeyRing,
        allowed: rules.Rules,
        *,
        suffix: str,
        allow_plaintext: bool,
    ) -> None:
        self.client = client
        self.ring = ring
        self.allow_plaintext = allow_plaintext
        self._allowed = allowed
        self._suffix = suffix

    def envelope_of(self, answer: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, str]:
        """Return an object's whole envelope, instruction file included.

        Raises:
            NotSealed: it has none.
        """
        bare = answers.bare(answer)
        instruction = self.instruction_of(bare, named)
        whole = headers.with_instruction(bare, instruction)
        if not headers.is_sealed(whole):
            raise errors.NotSealed("the object has no envelope: it is plain, or was stripped")
        return whole

    def envelope_if_any(
        self, answer: Mapping[str, Any], named: Mapping[str, Any]
    ) -> dict[str, str] | None:
        """Return the envelope; None for a plain object, if those are allowed."""
        try:
            return self.envelope_of(answer, named)
        except errors.NotSealed:
            if self.allow_plaintext:
                return None
            raise

    def instruction_of(self, bare: Mapping[str, str], named: Mapping[str, Any]) -> str | None:
        """Return the text of the instruction file, if the object needs one and it is there."""
        if headers.is_sealed(bare) and not headers.awaits_instruction(bare):
            return None
        wanted = {name: named[name] for name in answers.READ_ARGUMENTS if name in named}
        wanted.pop("VersionId", None)
        try:
            answer = self.client.get_object(
                Bucket=named["Bucket"], Key=self.beside_key(named), **wanted
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in answers.ABSENT:
                return None
            raise
        with contextlib.closing(answer["Body"]) as body:
            if answer["ContentLength"] > MOST_INSTRUCTION_BYTES:
                raise errors.MalformedEnvelope("an instruction file is too long to be one")
            data: bytes = body.read()
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise errors.MalformedEnvelope("an instruction file is no UTF-8") from None

    def is_instruction(self, named: Mapping[str, Any]) -> bool:
        """Whether what lies beside an object is an instruction file."""
        try:
            text = self.instruction_of({}, named)
            return text is not None and headers.is_sealed(headers.with_instruction({}, text))
        except errors.MalformedEnvelope:
            return False

    def put_instruction(self, named: Mapping[str, Any], text: str) -> None:
        """Store the instruction file of an object, under the object's server-side encryption."""
        given = answers.taken(self.client, "PutObject", named)
        self.client.put_object(
            **{name: value for name, value in given.items() if name.startswith("SSE")},
            Bucket=named["Bucket"],
            Key=self.beside_key(named),
            Body=text.encode(),
            Metadata={headers.INSTRUCTION_MARK: ""},
            ContentType="application/json",
        )

    def beside_key(self, named: Mapping[str, Any]) -> str:
        """Return the key of an object's instruction file."""
        return f"{named['Key']}{self._suffix}"

    def context_of(
        self,
        bare: Mapping[str, str],
        bucket: str,
        key: str,
        context: Mapping[str, str] | str | None,
    ) -> Mapping[str, str] | str | None:
        """Return the context to open with: what is given, and the name if that is bound."""
        if headers.format_of(bare) != headers.SEALED or isinstance(context, str):
            return context
        bound = sealed.bound_names(bare)
        place = {BUCKET_IN_CONTEXT: bucket, KEY_IN_CONTEXT: key}
        return {name: place[name] for name in bound & place.keys()} | dict(context or {})

    def unlock(
        self,
        bare: Mapping[str, str],
        bucket: str,
        key: str,
        context: Mapping[str, str] | str | None,
    ) -> content.Content:
        """Return what reads an object.

        Raises:
            WrongKey, NotAuthentic, UnsupportedFormat, MalformedEnvelope: as `open_sealed`.
        """
        whole = self.context_of(bare, bucket, key, context)
        return sealed.unlock(bare, self.ring, whole, self._allowed)

    def find(
        self, kwargs: dict[str, Any], context: Mapping[str, str] | str | None
    ) -> tuple[dict[str, Any], downloads.Found | None]:
        """Look an object up and unlock it; None beside the answer if it is plain and may be."""
        named = {
            name: kwargs[name]
            for name in ("Bucket", "Key", *answers.READ_ARGUMENTS)
            if name in kwargs
        }
        head: dict[str, Any] = self.client.head_object(**named)
        bare = self.envelope_if_any(head, named)
        if bare is None:
            return head, None
        opened = self.unlock(bare, kwargs["Bucket"], kwargs["Key"], context)
        etag: str = head["ETag"]

        def fetch(start: int, end: int) -> bytes:
            if end <= start:
                return b""
            # IfMatch: all ranges are of one version, or the read fails.
            answer = self.client.get_object(**named, Range=f"bytes={start}-{end - 1}", IfMatch=etag)
            with contextlib.closing(answer["Body"]) as body:
                if not str(answer.get("ContentRange", "")).startswith(f"bytes {start}-"):
                    raise errors.NotAuthentic("the store sent another range than was asked for")
                data: bytes = body.read()
            return data

        window = sealed.best_window(bare, downloads.WINDOW_BYTES)
        return head, downloads.Found(fetch, head["ContentLength"], etag, opened, window)
