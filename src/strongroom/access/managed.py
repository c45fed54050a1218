"""Policies that every account has, under AWS's names, with what they mean here.

Source: AWS managed policy reference; only what concerns services that are here.
"""

from __future__ import annotations

import json
from typing import Final

_BEGINNING: Final = "arn:aws:iam::aws:policy/"


def _policy(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


POLICIES: Final = {
    _BEGINNING + name: text
    for name, text in {
        "AdministratorAccess": _policy("*"),
        "AmazonS3FullAccess": _policy("s3:*", "s3-object-lambda:*"),
        "AmazonS3ReadOnlyAccess": _policy(
            "s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"
        ),
        "IAMFullAccess": _policy("iam:*"),
        "IAMReadOnlyAccess": _policy("iam:Get*", "iam:List*", "iam:Simulate*", "iam:Generate*"),
        "PowerUserAccess": _policy("s3:*", "kms:*", "sts:*"),
        "ReadOnlyAccess": _policy("s3:Get*", "s3:List*", "iam:Get*", "iam:List*", "kms:Describe*"),
    }.items()
}
"""ARN → document."""
