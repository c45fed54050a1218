"""Rules by which versions and uploads of a bucket go by themselves.

A bucket keeps its rules as a document (`records.LIFECYCLE`), whose names are S3's. Here
they are read and judged; what a document may say is the business of whoever takes it.

Sources: S3 user guide, "Lifecycle configuration elements", "Expiring objects", and
"How to calculate lifecycle action dates"; S3 API reference, PutBucketLifecycleConfiguration.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a number of days has passed.

    A day ends at midnight UTC, and a begun one does not count: what was written at noon
    and lives one day goes at the second midnight after.

    Attributes:
        day_ms: how long a day takes. Where somebody has made it shorter, to watch rules
            at work, days are counted from the moment on and end at no midnight.
    """

    day_ms: int = DAY_MS

    def latest(self, now_ms: int, days: int) -> int:
        """Return the latest moment since which that many days have passed."""
        if self.day_ms != DAY_MS:
            return now_ms - days * self.day_ms
        return now_ms // DAY_MS * DAY_MS - days * DAY_MS - 1

    @staticmethod
    def end(moment_ms: int, days: int) -> int:
        """Return when that many (whole) days will have passed since a moment."""
        return ((moment_ms + days * DAY_MS) // DAY_MS + 1) * DAY_MS


REAL: Final = Calendar()


@dataclass(frozen=True, slots=True)
class Filter:
    """What a rule is about: whatever fits all of it.

    Attributes:
        prefix: the beginning of the key.
        tags: which an object has, at least.
        above: its size in bytes is greater; None where that does not matter.
        below: likewise less.
    """

    prefix: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    above: int | None = None
    below: int | None = None

    def fits(self, version: records.Version) -> bool:
        """Whether it may be about a version, as far as can be said without its tags.

        A delete marker has neither size nor tags, so no rule that asks for them is about it.
        """
        if not version.key.startswith(self.prefix):
            return False
        if version.is_marker:
            return not self.tags and self.above is None and self.below is None
        return (self.above is None or version.size > self.above) and (
            self.below is None or version.size < self.below
        )

    def has(self, tags: Mapping[str, str]) -> bool:
        """Whether these tags are what it asks for."""
        return all(tags.get(name) == value for name, value in self.tags.items())


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is enabled.

    Attributes:
        rule_id: its name, unique in its bucket.
        about: what it is about.
        days: after how many days an object expires; None for never.
        date_ms: from when on all objects expire; None for never.
        lone_markers: whether a delete marker goes that hides nothing any more.
        noncurrent_days: how many days after a version was superseded it goes; None for never.
        noncurrent_kept: how many of the newest superseded versions stay all the same.
        abort_days: after how many days an upload is aborted; None for never.
    """

    rule_id: str
    about: Filter
    days: int | None = None
    date_ms: int | None = None
    lone_markers: bool = False
    noncurrent_days: int | None = None
    noncurrent_kept: int = 0
    abort_days: int | None = None

    @property
    def removes(self) -> bool:
        """Whether it is about versions at all."""
        return (
            self.days is not None
            or self.date_ms is not None
            or self.lone_markers
            or self.noncurrent_days is not None
        )

    def expires(self, version: records.Version, now_ms: int, calendar: Calendar) -> bool:
        """Whether the newest version of a key has had its time, if the filter fits."""
        if version.is_marker and self.lone_markers:
            return True
        if self.date_ms is not None:
            return now_ms >= self.date_ms
        return self.days is not None and version.modified_ms <= calendar.latest(now_ms, self.days)


def rules_of(settings: Mapping[str, str]) -> Sequence[Rule]:
    """Return the enabled rules of a bucket's settings."""
    text = settings.get(records.LIFECYCLE)
    return () if text is None else _parsed(text)


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Sequence[Rule]:
    """Read a document once: most requests come for few buckets. It holds no secret."""
    return tuple(_rule(rule) for rule in json.loads(text)["Rules"] if rule["Status"] == "Enabled")


def _rule(rule: Mapping[str, Any]) -> Rule:
    expiration = rule.get("Expiration", {})
    noncurrent = rule.get("NoncurrentVersionExpiration", {})
    date = expiration.get("Date")
    return Rule(
        rule_id=rule["ID"],
        about=_filter(rule),
        days=expiration.get("Days"),
        date_ms=None if date is None else int(datetime.fromisoformat(date).timestamp() * 1000),
        lone_markers=expiration.get("ExpiredObjectDeleteMarker", False),
        noncurrent_days=noncurrent.get("NoncurrentDays"),
        noncurrent_kept=noncurrent.get("NewerNoncurrentVersions", 0),
        abort_days=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    )


def _filter(rule: Mapping[str, Any]) -> Filter:
    chosen = rule.get("Filter")
    if chosen is None:
        return Filter(rule["Prefix"])
    chosen = chosen.get("And", chosen)
    tags = [*chosen.get("Tags", ()), *([chosen["Tag"]] if "Tag" in chosen else ())]
    return Filter(
        chosen.get("Prefix", ""),
        {tag["Key"]: tag["Value"] for tag in tags},
        chosen.get("ObjectSizeGreaterThan"),
        chosen.get("ObjectSizeLessThan"),
    )


def prefixes(rules: Iterable[Rule]) -> list[str]:
    """Return the least set of prefixes, in order, below which all is that rules are about."""
    found: list[str] = []
    for prefix in sorted({rule.about.prefix for rule in rules}):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def expiration(
    rules: Iterable[Rule], version: records.Version, tags: Mapping[str, str]
) -> tuple[int, str] | None:
    """Return when the newest version of a key expires and which rule says so; None for never.

    Where several do, the earliest counts.
    """
    return min(
        (
            (_end(rule, version.modified_ms), rule.rule_id)
            for rule in rules
            if (rule.days is not None or rule.date_ms is not None)
            and rule.about.fits(version)
            and rule.about.has(tags)
        ),
        default=None,
    )


def _end(rule: Rule, modified_ms: int) -> int:
    if rule.date_ms is not None:
        return rule.date_ms
    assert rule.days is not None, "an object expires by date or by days"
    return REAL.end(modified_ms, rule.days)


def abortion(rules: Iterable[Rule], key: str, initiated_ms: int) -> tuple[int, str] | None:
    """Return when an open upload is aborted and which rule says so; None for never."""
    return min(
        (
            (REAL.end(initiated_ms, rule.abort_days), rule.rule_id)
            for rule in rules
            if rule.abort_days is not None and key.startswith(rule.about.prefix)
        ),
        default=None,
    )
