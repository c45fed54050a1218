"""What a bucket's replication document asks for.

The document is kept as S3 has it. Source: S3 API reference, PutBucketReplication and the
types of its rules; S3 user guide, "Replication configuration file elements".
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom.crypto import envelope as envelopes
from strongroom.crypto import replica
from strongroom.keyring import sources
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.crypto import marks
    from strongroom.service import encryption

ENABLED: Final = "Enabled"

PENDING: Final = "PENDING"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
REPLICA: Final = "REPLICA"

STATUS_NOTE: Final = "replication"
"""Note in the marks of a version that is replicated: how far that is."""

_ARN = re.compile(r"arn:aws[-a-z]*:s3:(?P<remote>[-A-Za-z0-9_.]*)::(?P<bucket>[^:/]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A bucket here, or of another store.

    Attributes:
        arn: as the document names it.
        remote: name of the other store; empty for this one.
        bucket: the bucket's name.
    """

    arn: str
    remote: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        priority: of rules that lead to one target the highest counts.
        prefix: of keys.
        tags: which an object must all have.
        kms: whether objects under KMS keys are replicated.
        replica_key: KMS key of their replicas.
        markers: whether delete markers are replicated.
        existing: whether what was there before the rule is.
        gives_away: whether replicas belong to the owner of the target.
    """

    enabled: bool
    priority: int
    prefix: str
    tags: frozenset[tuple[str, str]]
    target: Target
    kms: bool
    replica_key: str
    markers: bool
    existing: bool
    gives_away: bool

    def covers(self, key: str, tags: Mapping[str, str], mode: str) -> bool:
        """Whether it is about this version; `mode` is empty for a delete marker."""
        if not self.enabled or not key.startswith(self.prefix):
            return False
        if not mode:
            return not self.tags
        return self.tags <= tags.items() and (self.kms or mode not in sources.KMS_MODES)


def target_of(arn: str) -> Target | None:
    """Read the ARN of a target; None if it is none."""
    found = _ARN.fullmatch(arn)
    return None if found is None else Target(arn, found["remote"], found["bucket"])


def of(bucket: records.Bucket) -> Sequence[Rule]:
    """Return the rules of a bucket."""
    text = bucket.settings.get(records.REPLICATION)
    return () if text is None else _parse(text)


def choose(rules: Sequence[Rule], key: str, tags: Mapping[str, str], mode: str) -> dict[str, Rule]:
    """Return where a version goes: ARN of the target → the rule that counts.

    A delete marker goes where the rule that counts says so.
    """
    chosen: dict[str, Rule] = {}
    for rule in rules:
        if rule.covers(key, tags, mode):
            other = chosen.get(rule.target.arn)
            if other is None or rule.priority > other.priority:
                chosen[rule.target.arn] = rule
    return {arn: rule for arn, rule in chosen.items() if mode or rule.markers}


def status_of(found: marks.Marks) -> str:
    """Return how far a version is replicated, as answers tell it; empty if it is none of ours."""
    return REPLICA if replica.REPLICA_NOTE in found.notes else found.notes.get(STATUS_NOTE, "")


def announced(
    guard: encryption.Encryption, bucket: records.Bucket, draft: records.Draft
) -> records.Draft:
    """Return a draft as it is to be written into a bucket that replicates.

    If a rule wants the version, its marks say so, and the transaction queues it.
    """
    version = draft.version
    if bucket.versioning != records.ENABLED:
        return draft
    found = guard.open_marks(records.Stored(version, draft.envelope, draft.body, draft.marks))
    if not choose(of(bucket), version.key, found.tags, version.mode):
        return draft
    binding = envelopes.Binding(version.mode, version.bucket, version.key, version.generation)
    sealed = guard.seal_marks(binding, found.noted(**{STATUS_NOTE: PENDING}))
    return dataclasses.replace(draft, marks=sealed, replicates=True)


@functools.lru_cache(1024)
def _parse(text: str) -> Sequence[Rule]:
    return tuple(_rule(rule) for rule in json.loads(text)["Rules"])


def _rule(rule: Mapping[str, Any]) -> Rule:
    destination = rule["Destination"]
    target = target_of(destination["Bucket"])
    assert target is not None, "judged when the document was set"
    prefix, tags = filter_of(rule)
    chosen = rule.get("SourceSelectionCriteria", {})
    return Rule(
        enabled=rule["Status"] == ENABLED,
        priority=rule.get("Priority", 0),
        prefix=prefix,
        tags=tags,
        target=target,
        kms=_is_on(chosen.get("SseKmsEncryptedObjects")),
        replica_key=destination.get("EncryptionConfiguration", {}).get("ReplicaKmsKeyID", ""),
        # Rules of the first kind, without a filter, take delete markers along.
        markers=_is_on(rule.get("DeleteMarkerReplication")) or "Filter" not in rule,
        existing=_is_on(rule.get("ExistingObjectReplication")),
        gives_away="AccessControlTranslation" in destination,
    )


def filter_of(rule: Mapping[str, Any]) -> tuple[str, frozenset[tuple[str, str]]]:
    """Return the prefix and the tags that a rule of the document asks for."""
    chosen = rule.get("Filter")
    if chosen is None:
        return rule.get("Prefix", ""), frozenset()
    both = chosen.get("And", {})
    tags = [*both.get("Tags", ()), *([chosen["Tag"]] if "Tag" in chosen else ())]
    prefix = chosen.get("Prefix", both.get("Prefix", ""))
    return prefix, frozenset((tag["Key"], tag["Value"]) for tag in tags)


def _is_on(element: Mapping[str, str] | None) -> bool:
    return element is not None and element.get("Status") == ENABLED
