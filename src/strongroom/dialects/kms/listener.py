"""Which of the two dialects a request is: told by what it says, never tried in turn.

`X-Amz-Target` makes it AWS's, whatever else it has. Else a parameter `Action`, in the
query or in a form, makes it Alibaba's. Each dialect then checks its own signature, and
a request that fails there is refused, not handed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.dialects import pipeline
from strongroom.dialects.kms import path
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable


class Listener:
    """Answers the requests of the KMS listener."""

    def __init__(
        self,
        aws: path.Path,
        alibaba: path.Path,
        is_alibaba: Callable[[message.Request, bytes], bool],
    ) -> None:
        """Put it together; `is_alibaba` tells whether a request names one of Alibaba's actions."""
        self._aws = aws
        self._alibaba = alibaba
        self._is_alibaba = is_alibaba

    async def handle(self, request: message.Request) -> pipeline.Outcome:
        """Answer a request."""
        has_target = request.header(b"x-amz-target") is not None
        try:
            body = await path.read_body(request)
        except errors.ClientGone as error:
            return pipeline.Outcome(message.Response(500, []), gone=error)
        except errors.BodyTooLong as error:
            return (self._aws if has_target else self._alibaba).refuse(request, error)
        # Who names neither is told so in AWS's words.
        is_aws = has_target or not self._is_alibaba(request, body)
        return await (self._aws if is_aws else self._alibaba).handle(request, body)
