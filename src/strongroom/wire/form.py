r"""The multipart/form-data encoding of a browser's upload, decoded without I/O.

    body      = delimiter part *( CRLF delimiter part ) CRLF delimiter "--" rest
    delimiter = "--" boundary *( SP / HTAB ) [ CRLF ]
    part      = *( header CRLF ) CRLF value

Source: RFC 7578, and RFC 2046, 5.1.1. The file is the part named `file`, whether or
not it says a filename (some clients give one to every part). What comes before it is
small and kept whole; the file is handed out as it arrives, since nothing tells
beforehand how long it is; what follows it is looked at only for a second file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from strongroom import errors

MAX_FIELDS_BYTES: Final = 20 * 1024
"""All that precedes the file's content, delimiters included. Source: S3 API reference,
"POST Object", and the error MaxPostPreDataLengthExceeded, which names 20480."""
MAX_AFTER_BYTES: Final = 64 * 1024
"""What may follow the file: the button that sent the form, and what else a page has there."""
MAX_BOUNDARY_BYTES: Final = 70
"""Source: RFC 2046, 5.1.1."""

FILE: Final = "file"

_CRLF: Final = b"\r\n"
_PARAMETER: Final = re.compile(
    rb';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:\\"|[^"])*)"|([^;" \t]*))[ \t]*'
)
_TYPE: Final = re.compile(rb"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z/-]+)[ \t]*")
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")


class FieldsTooLong(errors.BadBody):
    """What precedes the file is longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__("The fields before the file are too long.")
        self.limit = limit


class FileMissing(errors.BadBody):
    """The form has no file, or another one behind the first; `count` says how many."""

    def __init__(self, count: int) -> None:
        super().__init__("A form uploads one file.")
        self.count = count


class FieldRepeated(errors.BadBody):
    """A field comes twice; which of them is meant nobody could say."""

    def __init__(self, name: str) -> None:
        super().__init__("A field comes twice.")
        self.name = name


@dataclass(slots=True)
class Form:
    """What a form says before its file.

    Attributes:
        fields: values by lower-case name, in order. They may hold a customer's key.
        names: the names as they were sent, by lower-case name.
        filename: what the client calls the file, path and all; None if it does not say.
    """

    fields: dict[str, bytes] = field(default_factory=dict, repr=False)
    names: dict[str, str] = field(default_factory=dict)
    filename: str | None = None

    def text(self, name: str) -> str | None:
        """Return a field's value; bytes that are no UTF-8 become lone surrogates."""
        value = self.fields.get(name)
        return None if value is None else value.decode("utf-8", "surrogateescape")


def boundary_of(content_type: bytes) -> bytes | None:
    """Return the boundary that a Content-Type announces; None if that is another type.

    Raises:
        BodyMalformed: it is multipart/form-data with no boundary, or an impossible one.
    """
    kind, parameters = _parameters(content_type)
    if kind != b"multipart/form-data":
        return None
    boundary = parameters.get(b"boundary", b"")
    if len(boundary) > MAX_BOUNDARY_BYTES or _BOUNDARY.fullmatch(boundary) is None:
        raise errors.BodyMalformed("The form has no boundary.")
    return boundary


@dataclass(slots=True)
class Upload:
    """A form whose file is about to arrive.

    Attributes:
        form: what came before the file.
        decoder: takes the file out of what comes now.
        most_bytes: what is left of the form: the file, and what follows it.
    """

    form: Form
    decoder: Decoder
    most_bytes: int


class Decoder:
    """Decodes one form, fed in pieces of any size: first `feed_fields`, then `feed`.

    After an exception the decoder is of no further use.
    """

    def __init__(
        self,
        boundary: bytes,
        *,
        max_fields_bytes: int = MAX_FIELDS_BYTES,
        max_after_bytes: int = MAX_AFTER_BYTES,
    ) -> None:
        self.form = Form()
        self._delimiter = _CRLF + b"--" + boundary
        # The first delimiter has no line before it; this is the CRLF it would follow.
        self._buffer = _CRLF
        self._taken = 0
        self._max_fields = max_fields_bytes
        self._max_after = max_after_bytes
        self._begun = False
        self._in_file = False
        self._ended = False
        self._closed = False

    @property
    def in_file(self) -> bool:
        """Whether the file's content has begun."""
        return self._in_file

    def feed_fields(self, data: bytes) -> bool:
        """Take the next piece of the form; return whether the file's content begins.

        Then `unread` has what came of it, and belongs before everything that is fed on.

        Raises:
            FieldsTooLong: the limit is reached and no file was seen.
            FileMissing: the form ended without one.
            FieldRepeated: a name came twice.
            BodyMalformed: it is no form.
        """
        self._buffer += data
        self._taken += len(data)
        while self._take_part():
            if self.in_file:
                self._check_fields(self._taken - len(self._buffer))
                return True
        if self._closed:
            raise FileMissing(0)
        self._check_fields(self._taken)
        return False

    def unread(self) -> bytes:
        """Return, once, what was fed and not decoded."""
        rest, self._buffer = self._buffer, b""
        return rest

    def feed(self, data: bytes | bytearray) -> list[bytes | memoryview]:
        """Take the next piece; return what of the file is in it.

        Raises:
            FileMissing: another file follows.
            BodyMalformed: it is no form, or what follows the file is too long.
        """
        if self._ended:
            self._feed_after(bytes(data))
            return []
        joined = self._buffer + data
        at = joined.find(self._delimiter)
        if at >= 0:
            self._ended = True
            self._buffer = b""
            self._taken = 0
            self._feed_after(joined[at:])
            return [memoryview(joined)[:at]] if at else []
        kept = self._possible_delimiter(joined)
        self._buffer = joined[len(joined) - kept :]
        return [memoryview(joined)[: len(joined) - kept]] if len(joined) > kept else []

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            BodyMalformed: the form is not whole.
        """
        if not self._closed:
            raise errors.BodyMalformed("The form ended before its last delimiter.")

    def _possible_delimiter(self, joined: bytes) -> int:
        """Return how many bytes at the end may begin a delimiter."""
        most = min(len(self._delimiter) - 1, len(joined))
        tail = joined[len(joined) - most :]
        at = tail.find(b"\r")
        while at >= 0:
            if self._delimiter.startswith(tail[at:]):
                return len(tail) - at
            at = tail.find(b"\r", at + 1)
        return 0

    def _check_fields(self, size: int) -> None:
        if size > self._max_fields:
            raise FieldsTooLong(self._max_fields)

    def _feed_after(self, data: bytes) -> None:
        if self._closed:
            self._taken += len(data)
        else:
            self._buffer += data
            self._taken += len(data)
            while self._take_part():
                pass
        if self._taken > self._max_after:
            raise errors.BodyMalformed("What follows the file is too long.")

    def _take_part(self) -> bool:
        """Take a delimiter and the part behind it off the buffer; False if they are not whole."""
        line_end = self._delimiter_end()
        if line_end is None:
            return False
        buffer = self._buffer
        # A part without headers begins with the empty line that ends them.
        head_end = buffer.find(_CRLF + _CRLF, line_end)
        if head_end < 0:
            return False
        name, filename = _disposition(buffer[line_end + len(_CRLF) : head_end])
        content = head_end + len(_CRLF + _CRLF)
        if name.lower() == FILE:
            if self._ended:
                raise FileMissing(2)
            self.form.filename = filename
            self._in_file = True
            self._buffer = buffer[content:]
            return True
        end = buffer.find(self._delimiter, content)
        if end < 0:
            return False
        if not self._ended:
            self._keep(name, buffer[content:end])
        self._buffer = buffer[end:]
        return True

    def _delimiter_end(self) -> int | None:
        """Return where the line of the delimiter ends that the buffer begins with.

        None if it is not whole, or is the last.
        """
        if self._closed:
            return None
        if not self._begun and self._buffer.startswith(_CRLF + _CRLF):
            # An empty line before the first boundary is a preamble that some clients send.
            self._buffer = self._buffer[len(_CRLF) :]
        buffer, delimiter = self._buffer, self._delimiter
        if not buffer.startswith(delimiter):
            if delimiter.startswith(buffer):
                return None
            raise errors.BodyMalformed("The form does not begin with its boundary.")
        if buffer.startswith(b"--", len(delimiter)):
            self._closed = True
            self._buffer = b""
            return None
        line_end = buffer.find(_CRLF, len(delimiter))
        if line_end < 0:
            return None
        if buffer[len(delimiter) : line_end].strip(b" \t"):
            raise errors.BodyMalformed("Something follows a boundary on its line.")
        self._begun = True
        return line_end

    def _keep(self, name: str, value: bytes) -> None:
        lower = name.lower()
        if lower in self.form.fields:
            raise FieldRepeated(name)
        self.form.fields[lower] = value
        self.form.names[lower] = name


def _disposition(head: bytes) -> tuple[str, str | None]:
    """Return the name of a part, and its filename.

    Raises:
        BodyMalformed: the part has no name.
    """
    for line in head.split(_CRLF):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            kind, parameters = _parameters(value)
            name = parameters.get(b"name")
            if kind != b"form-data" or name is None:
                break
            return name.decode("utf-8", "replace"), _filename(parameters)
    raise errors.BodyMalformed("A part of the form has no name.")


def _filename(parameters: dict[bytes, bytes]) -> str | None:
    extended = parameters.get(b"filename*")
    if extended is not None:
        # RFC 7578 forbids it; older HTTP libraries send it all the same (RFC 8187, 3.2).
        charset, _, rest = extended.partition(b"'")
        if charset.lower() == b"utf-8":
            return unquote_to_bytes(rest.partition(b"'")[2]).decode("utf-8", "replace")
    plain = parameters.get(b"filename")
    return None if plain is None else plain.decode("utf-8", "replace")


def _parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return what stands before the first semicolon, in lower case, and the parameters."""
    start = _TYPE.match(value)
    if start is None:
        return b"", {}
    found: dict[bytes, bytes] = {}
    position = start.end()
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            break
        quoted = match[2]
        # Only the quote is unescaped: a Windows path has backslashes that escape nothing.
        text = match[3] if quoted is None else quoted.replace(b'\\"', b'"')
        found.setdefault(match[1].lower(), text)
        position = match.end()
    return start[1].lower(), found
