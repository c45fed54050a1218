"""Patterns of policies: literal text, `*`, `?`, and variables such as `${aws:username}`.

A pattern is parsed once. Matching takes time proportional to text times pattern
at worst, whatever the pattern: bucket owners write patterns, and one with fifty
stars must not keep the server busy.

Source: IAM user guide, "IAM policy elements: Variables and tags" and "Resource".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Context = Mapping[str, tuple[str, ...]]
"""What is known of a request: condition key, as `key_name` writes it → its values."""

_MANY: Final = "*"
_ONE: Final = "?"
_PIECE: Final = re.compile(
    r"""\$\{\s*(?P<special>[*?$])\s*\}
    |\$\{\s*(?P<name>[^\s${},'*?]+)\s*(?:,\s*'(?P<default>[^'{}]*)'\s*)?\}
    |(?P<wild>[*?])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Wild:
    sign: str


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class _Gapped:
    """A run of text with single characters left open; `width` is how many it takes in all."""

    form: re.Pattern[str]
    width: int


_Token = str | _Wild | _Variable
_Segment = str | _Gapped


def key_name(name: str) -> str:
    """Return a condition key as contexts write it.

    Their names are not case-sensitive; the tag that one may name after a slash is.
    """
    head, slash, tail = name.partition("/")
    return head.lower() + slash + tail


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        text: as it was written.
        is_fixed: it has neither wildcards nor variables.
    """

    text: str
    is_fixed: bool
    _tokens: tuple[_Token, ...]
    _ready: tuple[tuple[_Segment, ...], bool] | None

    def matches(self, text: str, context: Context) -> bool:
        """Whether all of `text` fits; never, if a variable has no value and no default."""
        if self.is_fixed:
            return self._literal() == text
        if self._ready is not None:
            return _fits(*self._ready, text)
        tokens = self._filled(context)
        return tokens is not None and _fits(*_segments(tokens), text)

    def value(self, context: Context) -> str | None:
        """Return the text with variables filled in and wildcards as they stand; None as above."""
        tokens = self._filled(context)
        if tokens is None:
            return None
        return "".join(token.sign if isinstance(token, _Wild) else token for token in tokens)

    @property
    def variables(self) -> frozenset[str]:
        """The condition keys that the pattern takes text from."""
        return frozenset(token.name for token in self._tokens if isinstance(token, _Variable))

    def _literal(self) -> str:
        return "".join(token for token in self._tokens if isinstance(token, str))

    def _filled(self, context: Context) -> list[str | _Wild] | None:
        filled: list[str | _Wild] = []
        for token in self._tokens:
            if not isinstance(token, _Variable):
                filled.append(token)
                continue
            values = context.get(token.name, ())
            # A variable stands for one value; which of several it would be, nobody could say.
            found = values[0] if len(values) == 1 else token.default
            if found is None:
                return None
            filled.append(found)
        return filled


def parse(text: str, *, variables: bool, wild: bool = True) -> Pattern:
    """Parse a pattern.

    Args:
        text: as it stands in the policy.
        variables: whether `${…}` is one; the older language has none.
        wild: whether `*` and `?` are wildcards.
    """
    tokens: list[_Token] = []
    at = 0
    for match in _PIECE.finditer(text):
        token = _token(match, variables=variables, wild=wild)
        if token is not None:
            tokens += [text[at : match.start()], token]
            at = match.end()
        elif wild and match["wild"] is None:
            # No variable here, so the wildcards in it are wildcards.
            start = match.start()
            inner = parse(text[start + 1 : match.end()], variables=False)
            tokens += [text[at : start + 1], *inner._tokens]  # noqa: SLF001 - its own kind
            at = match.end()
    tokens.append(text[at:])
    kept = tuple(token for token in tokens if token != "")
    is_fixed = all(isinstance(token, str) for token in kept)
    has_variables = any(isinstance(token, _Variable) for token in kept)
    ready = None
    if not is_fixed and not has_variables:
        ready = _segments([token for token in kept if not isinstance(token, _Variable)])
    return Pattern(text, is_fixed, kept, ready)


def _token(match: re.Match[str], *, variables: bool, wild: bool) -> _Token | None:
    """Return what a piece stands for; None for itself."""
    if match["wild"] is not None:
        return _Wild(match["wild"]) if wild else None
    if not variables:
        return None
    if match["special"] is not None:
        return match["special"]
    return _Variable(key_name(match["name"]), match["default"])


def _segments(
    tokens: list[str | _Wild],
) -> tuple[tuple[_Segment, ...], bool]:
    """Return what stands between stars, and whether there is a star."""
    runs: list[list[str | _Wild]] = [[]]
    for token in tokens:
        if isinstance(token, _Wild) and token.sign == _MANY:
            runs.append([])
        else:
            runs[-1].append(token)
    return tuple(_segment(run) for run in runs), len(runs) > 1


def _segment(run: list[str | _Wild]) -> _Segment:
    texts = [token for token in run if isinstance(token, str)]
    if len(texts) == len(run):
        return "".join(texts)
    form = "".join("." if isinstance(token, _Wild) else re.escape(token) for token in run)
    width = sum(1 if isinstance(token, _Wild) else len(token) for token in run)
    return _Gapped(re.compile(form, re.DOTALL), width)


def _fits(segments: tuple[_Segment, ...], starred: bool, text: str) -> bool:  # noqa: FBT001 - the pair that `_segments` returns
    """Whether the segments, any text between two of them, make up the text.

    The leftmost place for each segment leaves the most for those after it, so no
    choice ever has to be taken back.
    """
    first, last = segments[0], segments[-1]
    if not _stands(first, text, 0):
        return False
    at = _width(first)
    if not starred:
        return at == len(text)
    for segment in segments[1:-1]:
        start = _find(segment, text, at)
        if start is None:
            return False
        at = start + _width(segment)
    start = len(text) - _width(last)
    return start >= at and _stands(last, text, start)


def _width(segment: _Segment) -> int:
    return len(segment) if isinstance(segment, str) else segment.width


def _stands(segment: _Segment, text: str, at: int) -> bool:
    if isinstance(segment, str):
        return text.startswith(segment, at)
    return segment.form.match(text, at) is not None


def _find(segment: _Segment, text: str, at: int) -> int | None:
    if isinstance(segment, str):
        start = text.find(segment, at)
        return None if start < 0 else start
    match = segment.form.search(text, at)
    return None if match is None else match.start()
