"""What a reader accepts: formats, old ciphers, old wraps.

The headers of an object are in the hands of whoever may write to the bucket. An attacker
who may choose the format chooses the weakest, so a program should allow what it needs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.client import headers

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be read.

    Attributes:
        formats: members of `headers.FORMATS`.
        legacy_content: contents under CBC, and under the formats that authenticate nothing
            but are read by range.
        legacy_wraps: data keys wrapped as the first version of AWS's client did.
    """

    formats: frozenset[str] = frozenset(headers.FORMATS)
    legacy_content: bool = True
    legacy_wraps: bool = True


class CommitmentPolicy(enum.Enum):
    """Whether contents must be bound to one key, under the names of AWS's clients.

    Without commitment two keys can be found that open one GCM ciphertext to two texts.
    """

    FORBID_ENCRYPT_ALLOW_DECRYPT = "FORBID_ENCRYPT_ALLOW_DECRYPT"
    REQUIRE_ENCRYPT_ALLOW_DECRYPT = "REQUIRE_ENCRYPT_ALLOW_DECRYPT"
    REQUIRE_ENCRYPT_REQUIRE_DECRYPT = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"

    @property
    def committing_writes(self) -> bool:
        """Whether what is written must commit."""
        return self is not CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT

    @property
    def committing_reads(self) -> bool:
        """Whether what is read must commit."""
        return self is CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT


COMMITTING = frozenset({headers.S3_V3, headers.SEALED})
"""Formats whose envelope fits one data key only."""


def allowed(
    policy: CommitmentPolicy,
    formats: Iterable[str] | None,
    *,
    legacy_content: bool,
    legacy_wraps: bool,
) -> Rules:
    """Return what a client of this policy reads.

    Args:
        policy: decides unless `formats` does.
        formats: the names of what is read.
        legacy_content: whether CBC is.
        legacy_wraps: whether old wraps are.

    Raises:
        ValueError: an unknown format, or one that the policy forbids.
    """
    chosen = COMMITTING if policy.committing_reads else COMMITTING | {headers.S3_V1, headers.S3_V2}
    if formats is not None:
        asked = frozenset(formats)
        if asked - set(headers.FORMATS):
            raise ValueError(f"unknown formats: {sorted(asked - set(headers.FORMATS))}")
        if policy.committing_reads and asked - COMMITTING:
            raise ValueError(
                f"the policy {policy.value} does not read {sorted(asked - COMMITTING)}"
            )
        chosen = asked
    return Rules(chosen, legacy_content, legacy_wraps)
