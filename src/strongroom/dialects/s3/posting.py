"""The handler of browser forms: a PutObject that answers as a browser wants it.

Source: S3 API reference, "POST Object", the fields `success_action_redirect` and
`success_action_status`; what stands in the answers, as S3 was seen to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

from strongroom.dialects.operation import Body, Call, Result, operation
from strongroom.dialects.s3 import acls, forms, objects
from strongroom.wire import binding

if TYPE_CHECKING:
    from strongroom.wire import message

_STATUSES: Final = {"200": 200, "201": 201, "204": 204}
_DEFAULT_STATUS: Final = 204
_CREATED: Final = 201
_SEE_OTHER: Final = 303
_IN_A_URL: Final = "!#$%&'()*+,-./:;=?@[]_~"
"""What is not encoded in a URL that somebody else made."""


@operation(forms.OPERATION, action=acls.WRITES, body=Body.STREAM)
async def post_object(call: Call) -> Result:
    upload = call.request.upload
    assert upload is not None, "a PostObject is unfolded from a form"
    key = call.params["Key"]
    reply = await objects.put_object.handler(call)
    sent = upload.form
    redirect = _redirect(sent.text("success_action_redirect") or sent.text("redirect"))
    if redirect is not None:
        added = urlencode({"bucket": call.place.name, "key": key, "etag": reply["ETag"]})
        return {
            **reply,
            binding.STATUS: _SEE_OTHER,
            "Location": _with_query(redirect, added),
        }
    status = _STATUSES.get(sent.text("success_action_status") or "", _DEFAULT_STATUS)
    reply |= {binding.STATUS: status, "Location": _address(call.request, key)}
    if status == _CREATED:
        reply["PostResponse"] = {
            "Location": reply["Location"],
            "Bucket": call.place.name,
            "Key": key,
            "ETag": reply["ETag"],
        }
    return reply


def _address(request: message.Request, key: str) -> str:
    """Return the object's URL, at the host and path that the form was sent to."""
    scheme = "https" if request.secure else "http"
    host = (request.header(b"host") or b"").decode("latin-1")
    path = request.raw_path.decode("latin-1").rstrip("/")
    return f"{scheme}://{host}{path}/{quote(key, safe='')}"


def _redirect(text: str | None) -> str | None:
    """Return where the browser is to go; None for what is no absolute URL of a page."""
    if not text:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
        return None
    return quote(text, safe=_IN_A_URL, errors="replace")


def _with_query(url: str, added: str) -> str:
    page, mark, fragment = url.partition("#")
    joint = "&" if "?" in page else "?"
    return f"{page}{joint}{added}{mark}{fragment}"
