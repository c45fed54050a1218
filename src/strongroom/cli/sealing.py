"""`strongroom cse`: objects that were encrypted before they came to the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from strongroom import errors
from strongroom.cli import failures, remotely
from strongroom.cli.remote import connection, places, troubles, walks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.client import keys, s3

_READ_BYTES = 1024 * 1024
_SUFFIX = ".instruction"
_KMS = "kms:"


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return give


_keys_option = click.option(
    "--cse-key",
    "sources",
    metavar="SOURCE",
    multiple=True,
    required=True,
    help="Master key that opens: FILE (RSA in PEM, or 32 bytes), env:NAME, passphrase:RECIPE,"
    " kms:KEY-ID. May be given several times.",
)
_context_option = click.option(
    "--context",
    metavar="NAME=VALUE",
    multiple=True,
    help="What the object is bound to; for a KMS, its encryption context.",
)
_recursive_option = click.option(
    "-r", "--recursive", is_flag=True, help="Every object whose name begins like this."
)


@click.group()
def cse() -> None:
    """Client-side encrypted objects: look at envelopes, change master keys, verify.

    The store has no key of these. Formats: those of Amazon's and Alibaba's clients, and
    `sealed`, ours; docs/guide/client-side.md says which does what.
    """


@cse.command(
    epilog="""\b
Example:
  strongroom cse inspect s3://attic/diary"""
)
@click.argument("place")
@_recursive_option
@remotely.json_option
@remotely.connected
def inspect(place: str, *, recursive: bool, as_json: bool, asked: connection.Asked) -> None:
    """Tell format, keys and sizes of an object; no key is needed, nothing is verified."""
    with failures.told():
        client = _client(asked, [])
        for at in _objects(client, place, recursive=recursive):
            with troubles.told(at):
                told = _inspected(client, at)
            if as_json:
                click.echo(json.dumps(told))
            else:
                click.echo(places.shown(str(at)))
                for name, value in told.items():
                    if value not in (None, [], {}) and name not in {"bucket", "key"}:
                        click.echo(f"  {name.replace('_', ' ')}: {_text(value)}")


@cse.command(
    epilog="""\b
Example:
  strongroom cse rekey s3://attic/diary --cse-key old.pem --new-cse-key new.pem"""
)
@click.argument("place")
@_recursive_option
@_options(_keys_option, _context_option)
@click.option(
    "--new-cse-key",
    "new_sources",
    metavar="SOURCE",
    multiple=True,
    required=True,
    help="Master key from now on; several for the format `sealed`.",
)
@click.option(
    "--description",
    metavar="NAME=VALUE",
    multiple=True,
    help="Description of the new key, by which readers with several keys find it.",
)
@remotely.json_option
@remotely.connected
def rekey(
    place: str,
    *,
    recursive: bool,
    sources: tuple[str, ...],
    context: tuple[str, ...],
    new_sources: tuple[str, ...],
    description: tuple[str, ...],
    as_json: bool,
    asked: connection.Asked,
) -> None:
    """Put objects under other master keys; only metadata are written.

    Whoever has an old key and an old copy of the metadata can still open an object: after
    a compromise, write it anew.
    """
    with failures.told():
        client = _client(asked, sources)
        from strongroom.client import copies  # noqa: PLC0415 - needs what the extra brings

        made = [_key(text, client.plain_client) for text in new_sources]
        for key in made:
            key.description = _pairs(description)
        bound = _pairs(context) or None
        for at in _objects(client, place, recursive=recursive):
            with troubles.told(at), _explained(at):
                copies.rekey(client.envelopes, at.bucket, at.key, made, context=bound)
            _say(at, "rekeyed", as_json=as_json)


@cse.command(
    epilog="""\b
Example:
  strongroom cse verify --recursive s3://attic/ --cse-key key.pem"""
)
@click.argument("place")
@_recursive_option
@_options(_keys_option, _context_option)
@remotely.json_option
@remotely.connected
def verify(
    place: str,
    *,
    recursive: bool,
    sources: tuple[str, ...],
    context: tuple[str, ...],
    as_json: bool,
    asked: connection.Asked,
) -> None:
    """Read objects to their end and check all that their format can tell.

    OSS formats and CBC authenticate nothing: there only the key is checked, and `readable`
    is said instead of `verified`. Status 1 if any object fails.
    """
    failed = False
    with failures.told():
        client = _client(asked, sources)
        bound = _pairs(context) or None
        for at in _objects(client, place, recursive=recursive):
            try:
                with troubles.told(at), _explained(at):
                    size, outcome = _verified(client, at, bound)
                _say(at, outcome, as_json=as_json, size=size)
            except failures.Failed as trouble:
                failed = True
                _say(at, "failed", as_json=as_json, why=str(trouble))
    if failed:
        failures.leave(failures.FAILED, "Not every object is what was written; see above.")


def _client(asked: connection.Asked, sources: tuple[str, ...] | list[str]) -> s3.EncryptedClient:
    """Return a client that reads every format.

    Raises:
        Failed: the extra is not installed, or a key cannot be read.
    """
    raw = connection.connect(asked, 8)
    from strongroom.client import headers, s3  # noqa: PLC0415 - needs what the extra brings

    return s3.EncryptedClient(
        raw,
        [_key(text, raw) for text in sources],
        commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT",
        formats=headers.FORMATS,
        enable_legacy_unauthenticated_modes=True,
        enable_legacy_wrapping_algorithms=True,
        enable_delayed_authentication=True,
        try_all=True,
    )


def _key(source: str, raw: Any) -> keys.Key:
    """Return the key that an option names.

    Raises:
        Failed: there is none, or it is no key.
    """
    if not source.startswith(_KMS):
        key = remotely.read_client_key(source)
        assert key is not None, "there is a source"
        return key
    import boto3  # noqa: PLC0415 - an extra

    from strongroom.client import keys  # noqa: PLC0415 - few commands need it

    # Where the KMS is, boto3 finds by itself: AWS_ENDPOINT_URL_KMS, or a profile.
    service = boto3.session.Session().client("kms", region_name=raw.meta.region_name)
    return keys.KmsKey(service, source.removeprefix(_KMS))


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    """Return what `NAME=VALUE` options say.

    Raises:
        BadParameter: one is no pair.
    """
    found = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
        found[name] = value
    return found


def _objects(client: s3.EncryptedClient, place: str, *, recursive: bool) -> Iterator[places.Remote]:
    at = places.parse_remote(place)
    if not recursive:
        if not at.key:
            raise failures.Failed(f"{place} names no object; add a key, or --recursive.")
        yield at
        return
    with troubles.told(at):
        for found in walks.objects(client.plain_client, at, prefix=at.key, flat=True):
            # Instruction files are looked at with the objects that they belong to.
            if found.key and not found.key.endswith(_SUFFIX):
                yield places.Remote(at.bucket, found.key)


def _inspected(client: s3.EncryptedClient, at: places.Remote) -> dict[str, Any]:
    from strongroom.client import answers, inspection  # noqa: PLC0415 - needs what the extra brings

    named = {"Bucket": at.bucket, "Key": at.key}
    head = client.plain_client.head_object(**named)
    bare = answers.bare(head)
    instruction = client.envelopes.instruction_of(bare, named)
    return {
        "bucket": at.bucket,
        "key": at.key,
        **inspection.describe(bare, instruction, head["ContentLength"]),
    }


def _verified(
    client: s3.EncryptedClient, at: places.Remote, context: dict[str, str] | None
) -> tuple[int, str]:
    given = {} if context is None else {"EncryptionContext": context}
    answer = client.get_object(Bucket=at.bucket, Key=at.key, **given)
    size = 0
    with answer["Body"] as body:
        for chunk in body.iter_chunks(_READ_BYTES):
            size += len(chunk)
    nothing = _inspected(client, at)["authenticates"] == "nothing"
    return size, "readable" if nothing else "verified"


class _explained:  # noqa: N801 - reads as a statement
    """Says which object it is that cannot be opened."""

    def __init__(self, at: places.Remote) -> None:
        self._at = at

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, errors.StrongroomError):
            why = str(error) or type(error).__name__
            raise failures.Failed(f"{places.shown(str(self._at))}: {why}.") from None
        if isinstance(error, TypeError | ValueError):
            raise failures.Failed(f"{places.shown(str(self._at))}: {error}.") from None


def _say(at: places.Remote, outcome: str, *, as_json: bool, **more: Any) -> None:
    if as_json:
        click.echo(json.dumps({"bucket": at.bucket, "key": at.key, "outcome": outcome, **more}))
    else:
        tail = f"  {more['why']}" if "why" in more else ""
        click.echo(f"{outcome:9} {places.shown(str(at))}{tail}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
