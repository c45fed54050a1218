"""Object lock: what keeps a version from being deleted, and who may change that.

A version in retention cannot be deleted before its time is over. Of the two modes,
governance gives way to who may bypass it; compliance gives way to nobody, and can only be
made longer. A legal hold has no end: whoever may set holds takes it away. Any of these
holds for itself. Time is this machine's clock.

Pure: the time is handed in. What is judged is a note among a version's marks, whose MAC tells
of any change behind the server's back, and is judged inside the transaction that deletes.

Source: S3 user guide, "Locking objects with Object Lock" and "Object Lock considerations".
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors

if TYPE_CHECKING:
    from strongroom.crypto import marks

GOVERNANCE: Final = "GOVERNANCE"
COMPLIANCE: Final = "COMPLIANCE"
MODES: Final = frozenset({GOVERNANCE, COMPLIANCE})
ON: Final = "ON"
OFF: Final = "OFF"


_NOTE: Final = "lock"
_MARK: Final = re.compile(r"(GOVERNANCE|COMPLIANCE|):(0|[1-9][0-9]{0,18}):(ON|OFF|)")


@dataclass(frozen=True, slots=True)
class Lock:
    """What keeps a version from being deleted; nothing does, by default.

    Attributes:
        mode: of its retention, as S3 names it; empty where it has none.
        until_ms: when the retention ends; 0 without one.
        hold: `ON`, `OFF`, or empty where it never was under a legal hold.
    """

    mode: str = ""
    until_ms: int = 0
    hold: str = ""


NO_LOCK: Final = Lock()


def of(found: marks.Marks) -> Lock:
    """Return the lock that a version's marks tell of.

    Raises:
        NotAuthentic: they tell of none that is ever written.
    """
    text = found.notes.get(_NOTE)
    if text is None:
        return NO_LOCK
    match = _MARK.fullmatch(text)
    if match is None:
        raise errors.NotAuthentic("the lock of a version is none that is ever written")
    return Lock(match[1], int(match[2]), match[3])


def noted(found: marks.Marks, lock: Lock) -> marks.Marks:
    """Return marks that tell of this lock, and else of what they told."""
    text = "" if lock == NO_LOCK else f"{lock.mode}:{lock.until_ms}:{lock.hold}"
    return found.noted(**{_NOTE: text})


@dataclass(frozen=True, slots=True)
class Terms:
    """What lock a version gets when it is written.

    Attributes:
        lock: what the request asks for.
        mode: of the retention that its bucket gives to what asks for none; empty for none.
        period_ms: how long that retention is, from when the version is written.
    """

    lock: Lock = NO_LOCK
    mode: str = ""
    period_ms: int = 0

    def at(self, now_ms: int) -> Lock:
        """Return the lock of a version that is written now."""
        if self.lock.mode or not self.mode:
            return self.lock
        return dataclasses.replace(self.lock, mode=self.mode, until_ms=now_ms + self.period_ms)


NO_TERMS: Final = Terms()


def is_retained(lock: Lock, now_ms: int) -> bool:
    """Whether a retention runs."""
    return bool(lock.mode) and now_ms < lock.until_ms


def is_locked(lock: Lock, now_ms: int) -> bool:
    """Whether anything keeps the version."""
    return lock.hold == ON or is_retained(lock, now_ms)


def is_sealed(lock: Lock, now_ms: int) -> bool:
    """Whether something keeps the version that no bypass lifts."""
    return lock.hold == ON or (is_retained(lock, now_ms) and lock.mode != GOVERNANCE)


def check_deletion(lock: Lock, now_ms: int, *, bypass: bool) -> None:
    """Return if a version may be deleted.

    Args:
        lock: the version's.
        now_ms: the time.
        bypass: whether the asker may, and wants to, bypass governance.

    Raises:
        ObjectLocked: it may not.
    """
    if is_sealed(lock, now_ms) if bypass else is_locked(lock, now_ms):
        raise errors.ObjectLocked


def retained(lock: Lock, mode: str, until_ms: int, now_ms: int, *, bypass: bool) -> Lock:
    """Return a lock with another retention; without a mode, with none.

    A retention that runs can be made longer in its mode. All else takes a bypass: to
    shorten it, to remove it, and to change the mode, be it to the stricter one, whose end
    nobody could bring forward again.

    Args:
        lock: the version's.
        mode: that it is to have; empty for no retention.
        until_ms: likewise.
        now_ms: the time.
        bypass: as for `check_deletion`.

    Raises:
        ObjectLocked: its retention may not be changed so.
    """
    longer = mode == lock.mode and until_ms >= lock.until_ms
    if is_retained(lock, now_ms) and not longer and (lock.mode != GOVERNANCE or not bypass):
        raise errors.ObjectLocked
    return dataclasses.replace(lock, mode=mode, until_ms=until_ms)


def held(lock: Lock, hold: str) -> Lock:
    """Return a lock with its legal hold on or off."""
    return dataclasses.replace(lock, hold=hold)
