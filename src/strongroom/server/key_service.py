"""The composition root's part about the key management service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.dialects.kms import listener, path, services
from strongroom.dialects.kms.alibaba import dialect as alibaba
from strongroom.dialects.kms.aws import dialect as aws
from strongroom.keyring import kms_keys, kms_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.access import identities
    from strongroom.keyring import kms
    from strongroom.wire import message


def listen(
    keys: kms.Kms,
    people: identities.Identities,
    *,
    region: str,
    clock_ms: Callable[[], int],
    report: Callable[[message.Request, Exception], None],
) -> tuple[kms_keys.Keys, listener.Listener]:
    """Put together what tends keys, and what answers on the KMS listener."""
    tended = kms_keys.Keys(keys)
    offered = services.Services(keys, tended, kms_pairs.Pairs(keys))
    spoken = alibaba.Alibaba(people, clock_ms=clock_ms)
    return tended, listener.Listener(
        path.Path(aws.Aws(people, region=region, clock_ms=clock_ms), offered, report=report),
        path.Path(spoken, offered, report=report),
        spoken.is_meant,
    )
