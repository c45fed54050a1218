"""Policy documents.

    KIND
    document

`KIND` is that of a document: `bucket`, `identity` or `trust`. Whatever is not understood
whole must be refused. What is understood is judged for a few askers, actions and
resources: nothing may be allowed unless a statement says `Allow`.
"""

from __future__ import annotations

import itertools
import json

from strongroom import errors
from strongroom.access import documents, exposure, policy

_ASKERS = (
    policy.NOBODY,
    policy.Asker(
        frozenset({"arn:aws:iam::111111111111:user/ann", "AIDAANN"}),
        frozenset({"111111111111", "arn:aws:iam::111111111111:root"}),
    ),
    policy.Asker(service="logging.s3.amazonaws.com"),
)
_ACTIONS = ("s3:GetObject", "s3:ListBucket", "sts:AssumeRole")
_RESOURCES = ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket/ann/key", "*")
_CONTEXTS: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {
        "aws:sourceip": ("10.1.2.3",),
        "aws:username": ("ann",),
        "aws:currenttime": ("2026-01-02T03:04:05Z",),
        "aws:securetransport": ("true",),
        "s3:max-keys": ("10",),
        "s3:requestobjecttagkeys": ("a", "b"),
        "aws:principalarn": ("arn:aws:iam::111111111111:user/ann",),
    },
)
_UNIVERSE = tuple(itertools.product(_ASKERS, _ACTIONS, _RESOURCES, _CONTEXTS))
_ALLOWING = frozenset({policy.Verdict.ALLOWED, policy.Verdict.DELEGATED})


def run(data: bytes) -> str:
    """Read a document and judge by it; return how many questions it allows, of how many."""
    line, _, raw = data.partition(b"\n")
    try:
        kind = documents.Kind(line.decode("ascii", "replace").strip())
    except ValueError:
        kind = documents.Kind.BUCKET
    text = raw.decode("utf-8", "surrogateescape")
    try:
        if kind is documents.Kind.BUCKET:
            found = documents.parse_for_bucket(text, "bucket")
        else:
            found = documents.parse(text, kind)
    except errors.MalformedPolicy as error:
        return str(error)
    exposure.is_public(found)
    allowed = sum(policy.judge([found], policy.Asked(*each)) in _ALLOWING for each in _UNIVERSE)
    assert not allowed or _says_allow(text), "nothing is allowed that no statement allows"
    return f"{allowed} of {len(_UNIVERSE)}"


def _says_allow(text: str) -> bool:
    statements = json.loads(text)["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    return any(statement["Effect"] == "Allow" for statement in listed)
