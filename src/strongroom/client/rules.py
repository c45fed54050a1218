"""What a reader accepts: formats, old ciphers, old wraps.

The headers of an object are in the hands of whoever may write to the bucket. An attacker
who may choose the format chooses the weakest, so a program should allow what it needs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from strongroom.client import headers


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
