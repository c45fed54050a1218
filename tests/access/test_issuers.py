"""The keys of issuers: when they are fetched, and when they are not."""

import asyncio
import json

import pytest

from strongroom.access import issuers, web_identity

PROVIDER = web_identity.Provider("arn", "issuer.example/realm", ("strongroom",), ("aa" * 20,))


class World:
    """The issuer's server and the clock; counts what is fetched."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.now_ms = 1_800_000_000_000
        self.fetched = []
        self.trouble = None
        self.replaced = {}
        self.issuers = issuers.Issuers(self.fetch, clock_ms=lambda: self.now_ms)

    async def fetch(self, url, thumbprints):
        await asyncio.sleep(0)
        self.fetched.append((url, thumbprints))
        if self.trouble:
            raise issuers.IssuerSilent(self.trouble)
        path = url.removeprefix(self.issuer.url)
        found = self.replaced.get(path, self.issuer.documents[path])
        return found if isinstance(found, bytes) else json.dumps(found).encode()

    def token(self, **changes):
        return web_identity.read(self.issuer.token(self.now_ms // 1000, **changes))

    def verify(self, *tokens):
        async def run():
            return await asyncio.gather(
                *(self.issuers.verify(token, PROVIDER) for token in tokens), return_exceptions=True
            )

        found = asyncio.run(run())
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [each.subject for each in found]


@pytest.fixture
def world(issuer):
    return World(issuer)


def test_keys_are_fetched_once_with_the_providers_thumbprints(world):
    assert world.verify(world.token(), world.token()) == ["ann", "ann"]
    assert world.verify(world.token(sub="bob")) == ["bob"]

    assert world.fetched == [
        ("https://issuer.example/realm/.well-known/openid-configuration", ("aa" * 20,)),
        ("https://issuer.example/realm/keys", ("aa" * 20,)),
    ]


def test_a_new_key_is_looked_for_but_only_once_a_minute(world):
    world.verify(world.token())
    world.issuer.rotate("second")

    with pytest.raises(web_identity.BadToken, match="Couldn't retrieve verification key"):
        world.verify(world.token())
    assert len(world.fetched) == 2
    world.now_ms += issuers.BETWEEN_MS

    assert world.verify(world.token()) == ["ann"]
    assert len(world.fetched) == 4


def test_a_withdrawn_key_counts_for_a_quarter_of_an_hour_at_most(world):
    old = world.issuer.keys["first"]
    world.verify(world.token())
    world.issuer.rotate("second")
    world.now_ms += issuers.FRESH_MS

    with pytest.raises(web_identity.BadToken, match="Couldn't retrieve verification key"):
        world.verify(world.token(headers={"kid": "first"}, key=old))


def test_an_issuer_that_fails_is_left_in_peace_for_a_moment(world):
    world.trouble = "it does not answer"
    for _ in range(3):
        with pytest.raises(issuers.IssuerSilent, match="does not answer"):
            world.verify(world.token())
    assert len(world.fetched) == 1
    world.trouble = None
    world.now_ms += issuers.AFTER_FAILURE_MS

    assert world.verify(world.token()) == ["ann"]


def test_keys_that_are_too_old_are_not_used_when_the_issuer_fails(world):
    world.verify(world.token())
    world.now_ms += issuers.FRESH_MS
    world.trouble = "it does not answer"

    with pytest.raises(issuers.IssuerSilent):
        world.verify(world.token())


@pytest.mark.parametrize(
    ("path", "document", "said"),
    [
        ("/.well-known/openid-configuration", b"<html>", "no JSON"),
        ("/.well-known/openid-configuration", b"[" * 100_000, "no JSON"),
        ("/.well-known/openid-configuration", [], "of another issuer"),
        (
            "/.well-known/openid-configuration",
            {"issuer": "https://issuer.example/", "jwks_uri": "https://issuer.example/keys"},
            "of another issuer",
        ),
        *(
            (
                "/.well-known/openid-configuration",
                {"issuer": "https://issuer.example/realm", "jwks_uri": url},
                "does not say over HTTPS",
            )
            for url in (
                None,
                "http://issuer.example/keys",
                "file:///etc/passwd",
                "https://a@b.example/keys",
                "https://b.example:99999/keys",
                "https://b.example/\r\nHost: c.example",
            )
        ),
        ("/keys", {"keys": "none"}, "no key set"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_documents_that_make_no_sense_are_the_issuers_trouble(world, path, document, said):
    world.replaced[path] = document

    with pytest.raises(issuers.IssuerSilent, match=said):
        world.verify(world.token())


def test_the_issuers_that_are_remembered_are_bounded(world):
    for number in range(issuers.MAX_ISSUERS + 5):
        provider = web_identity.Provider("arn", "issuer.example/realm", (), (f"{number:040x}",))
        with pytest.raises(web_identity.BadToken, match="audience"):
            asyncio.run(world.issuers.verify(world.token(), provider))

    assert len(world.issuers._kept) == issuers.MAX_ISSUERS  # noqa: SLF001 - memory shows nowhere else
