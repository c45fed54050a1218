"""Key bytes that do not get out by accident.

A search for `.reveal` lists every place where they get out on purpose.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class SecretKey:
    """Key bytes that hide from `repr`, logs, pickle and copy.

    Any length is allowed here: whoever needs a certain one asks for it. `==` takes
    the same time wherever two keys of one length differ. There is no hash, so a
    key cannot end up as the key of a cache.

    Subclasses name what a key is for (`DataKey`, `HeadKey`), so that the type
    checker refuses one in the place of another; they add no state but what is made of the key.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        # bytes(32) would quietly be a key of 32 zeros.
        if not isinstance(raw, bytes):
            raise TypeError(f"key material must be bytes, not {type(raw).__name__}")
        self._raw = raw

    def reveal(self) -> bytes:
        """Return the key bytes, for the one call that needs them."""
        return self._raw

    def __len__(self) -> int:
        return len(self._raw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretKey):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    __hash__ = None  # type: ignore[assignment]  # unhashable on purpose, said where it can be read

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret key cannot be pickled or copied")

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        self.__getstate__()

    def __copy__(self) -> NoReturn:
        self.__getstate__()

    def __deepcopy__(self, _memo: object) -> NoReturn:
        self.__getstate__()
