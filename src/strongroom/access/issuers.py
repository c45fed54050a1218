"""The keys of issuers of identity tokens: fetched when they are needed, kept for a while.

Only what an account registered is fetched, never what a token names. A key that is not
among the ones at hand makes for one look at the issuer, at most one a minute: so issuers may
change keys at any time, and who sends tokens with made-up keys does not make us knock.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from strongroom.access import web_identity

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH_MS: Final = 15 * 60_000
"""How long a key that its issuer has withdrawn may still be taken for one of its own."""
BETWEEN_MS: Final = 60_000
"""The least time between two looks at one issuer for a key that was not there."""
AFTER_FAILURE_MS: Final = 5_000
MAX_ISSUERS: Final = 256
"""So many are remembered; the one that was looked at first goes first."""

_DISCOVERY: Final = "/.well-known/openid-configuration"


class IssuerSilent(Exception):
    """An issuer did not give its keys; the text says what went wrong, without what it sent."""


class Fetch(Protocol):
    """Port: gets a document of an issuer over HTTPS."""

    async def __call__(self, url: str, thumbprints: tuple[str, ...]) -> bytes:
        """Return a document. Follows no redirect.

        Args:
            url: begins with `https://`.
            thumbprints: SHA-1 of certificates that are trusted for this as well.

        Raises:
            IssuerSilent: it cannot be had, is too large, or lies where nothing is fetched.
        """
        ...


@dataclass(slots=True)
class _Kept:
    """What is known of one issuer: under its URL and the certificates that it may show."""

    keys: list[web_identity.IssuerKey] = field(default_factory=list)
    fetched_ms: int = 0
    """0: never."""
    failed_ms: int = 0
    trouble: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Issuers:
    """Verifies tokens with their issuers' keys."""

    def __init__(self, fetch: Fetch, *, clock_ms: Callable[[], int]) -> None:
        self._fetch = fetch
        self._clock_ms = clock_ms
        self._kept: dict[tuple[str, tuple[str, ...]], _Kept] = {}

    async def verify(
        self, token: web_identity.Unverified, provider: web_identity.Provider
    ) -> web_identity.Claims:
        """Return what a token proves.

        Raises:
            IssuerSilent: the issuer's keys cannot be had.
            TokenOutOfDate, BadToken: as `web_identity.verify`.
        """
        keys = await self._candidates(token, provider)
        if not keys:
            raise web_identity.BadToken(
                "Couldn't retrieve verification key from your identity provider, please reference"
                " AssumeRoleWithWebIdentity documentation for requirements"
            )
        return web_identity.verify(token, provider, keys, self._clock_ms())

    async def _candidates(
        self, token: web_identity.Unverified, provider: web_identity.Provider
    ) -> list[web_identity.IssuerKey]:
        name = (provider.issuer, provider.thumbprints)
        kept = self._kept.get(name)
        if kept is None:
            if len(self._kept) >= MAX_ISSUERS:
                del self._kept[next(iter(self._kept))]
            kept = self._kept[name] = _Kept()
        async with kept.turn:
            now = self._clock_ms()
            age = now - kept.fetched_ms
            found = web_identity.candidates(token, kept.keys) if age < FRESH_MS else []
            if found or age < BETWEEN_MS:
                return found
            if kept.failed_ms and now - kept.failed_ms < AFTER_FAILURE_MS:
                raise IssuerSilent(kept.trouble)
            try:
                kept.keys = await self._keys(provider)
            except IssuerSilent as error:
                kept.failed_ms, kept.trouble = now, str(error)
                raise
            kept.fetched_ms, kept.failed_ms = now, 0
            return web_identity.candidates(token, kept.keys)

    async def _keys(self, provider: web_identity.Provider) -> list[web_identity.IssuerKey]:
        base = provider.issuer.removesuffix("/")
        about = _json(await self._fetch(base + _DISCOVERY, provider.thumbprints))
        # Source: OpenID Connect Discovery 1.0, 4.3: the issuer must be the very same.
        if not isinstance(about, dict) or about.get("issuer") != provider.issuer:
            raise IssuerSilent("the document at the issuer's URL is of another issuer")
        url = about.get("jwks_uri")
        if not isinstance(url, str) or not web_identity.is_plain_url(url):
            raise IssuerSilent("the issuer does not say over HTTPS where its keys are")
        try:
            return web_identity.keys_of(_json(await self._fetch(url, provider.thumbprints)))
        except ValueError as error:
            raise IssuerSilent("what the issuer gives for keys is no key set") from error


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise IssuerSilent("what the issuer sends is no JSON") from error
