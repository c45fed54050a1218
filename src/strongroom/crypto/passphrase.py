"""A key out of a passphrase, by Argon2id, and the recipe that makes the same key again.

A passphrase has little entropy, and whoever has one sealed object can try guesses
without asking anybody. Argon2id makes each guess cost memory and time; the salt
makes every guess good for one recipe only. A recipe is no secret, and without it
the passphrase is worth nothing: it is kept like an address, not like a key.

Source: RFC 9106 (Argon2id; section 4 for parameters); the text form is that of the
Password Hashing Competition, `$argon2id$v=19$m=…,t=…,p=…$SALT`, without a hash.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_BYTES = 32
SALT_BYTES = 16
MIN_SALT_BYTES = 8
MAX_SALT_BYTES = 64

DEFAULT_MEMORY_KIB = 256 * 1024
DEFAULT_PASSES = 3
DEFAULT_LANES = 4
"""About a second on two cores. RFC 9106 names 64 MiB where memory is scarce and 2 GiB where it
is not; a key guards data for years, and a command that is run by hand may take its time."""

MIN_MEMORY_KIB = 19 * 1024
"""Less than this is not worth the name.

Source: OWASP Password Storage Cheat Sheet, Argon2id, 2026-11.
"""
MAX_MEMORY_KIB = 8 * 1024 * 1024
MAX_PASSES = 1000
MAX_LANES = 64
"""Bounds on what a recipe may ask for: a mistyped one must not take the machine down."""

_TEXT = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>[1-9][0-9]{0,9}),t=(?P<passes>[1-9][0-9]{0,5}),"
    r"p=(?P<lanes>[1-9][0-9]{0,3})\$(?P<salt>[A-Za-z0-9+/]+)"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a passphrase becomes a key. Not secret.

    Attributes:
        salt: `MIN_SALT_BYTES` to `MAX_SALT_BYTES`, random.
        memory_kib: memory that a derivation takes, in KiB.
        passes: how often it goes over that memory.
        lanes: how many threads share the work.

    Raises:
        ValueError: a value is out of its bounds; the text is a sentence that names it.
    """

    salt: bytes
    memory_kib: int = DEFAULT_MEMORY_KIB
    passes: int = DEFAULT_PASSES
    lanes: int = DEFAULT_LANES

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("memory in KiB", self.memory_kib, MIN_MEMORY_KIB, MAX_MEMORY_KIB),
            ("number of passes", self.passes, 1, MAX_PASSES),
            ("number of lanes", self.lanes, 1, MAX_LANES),
            ("salt's length in bytes", len(self.salt), MIN_SALT_BYTES, MAX_SALT_BYTES),
        ):
            if not low <= value <= high:
                raise ValueError(f"The recipe's {name} is {value} and must be {low} to {high}.")

    @classmethod
    def fresh(cls, random_bytes: Callable[[int], bytes], **chosen: int) -> Self:
        """Return a recipe with a salt of its own; `chosen` are fields by name.

        Raises:
            ValueError: one of them is out of its bounds.
        """
        return cls(random_bytes(SALT_BYTES), **chosen)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives.

        Raises:
            ValueError: it is not that, or a value is out of its bounds.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                "This is no recipe; one looks like $argon2id$v=19$m=262144,t=3,p=4$ and a salt."
            )
        encoded = match["salt"]
        try:
            salt = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            raise ValueError("The recipe's salt is not base64.") from None
        found = cls(salt, int(match["memory"]), int(match["passes"]), int(match["lanes"]))
        if str(found) != text.strip():
            # Else two texts would be one recipe, and a slip of the hand would go unseen.
            raise ValueError("The recipe's salt has bits after its end: a character was changed.")
        return found

    def __str__(self) -> str:
        salt = base64.b64encode(self.salt).decode().rstrip("=")
        return f"$argon2id$v=19$m={self.memory_kib},t={self.passes},p={self.lanes}${salt}"

    def derive(self, passphrase: secret.SecretKey) -> secret.SecretKey:
        """Return the key (`KEY_BYTES`) of a passphrase, as `encode` gives it. Takes its time."""
        derivation = Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=self.passes,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        return secret.SecretKey(derivation.derive(passphrase.reveal()))


def encode(text: str) -> secret.SecretKey:
    """Return the bytes of a passphrase: UTF-8 of its NFC form.

    Keyboards and systems differ in how they compose an `é`; a person cannot see it.

    Raises:
        ValueError: it is empty, or not text.
    """
    if not text:
        raise ValueError("The passphrase is empty.")
    try:
        return secret.SecretKey(unicodedata.normalize("NFC", text).encode())
    except UnicodeEncodeError:
        # The cause would quote the passphrase.
        raise ValueError("The passphrase is not valid UTF-8.") from None
