"""`strongroom keys rotate`: other keys for what is stored, where it stands."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import administering, failures, keysources, serving
from strongroom.cli.remote import places
from strongroom.keyring import kms_sources, sources
from strongroom.server import home, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.server import rotating
    from strongroom.service import rotation

_MODES = {
    "AES256": sources.SERVER_MODE,
    "aws:kms": sources.KMS_MODE,
    "aws:kms:dsse": sources.DUAL_MODE,
}
"""Modes of the store's own keys, by the names that S3's headers have for them."""

_WORDS = {
    "rewrapped": "have the new key; their data stayed as it was",
    "resealed": "have the new key; their data was sealed anew",
    "already": "had the new key already",
    "other_key": "are under other customer keys, and were left alone",
    "other_mode": "are in other modes, and were left alone",
    "gone": "were deleted meanwhile",
    "failed": "could not be rotated",
}


@click.command(
    "rotate",
    epilog="""\b
Examples:
  strongroom keys rotate s3://diaries --old-key old.key --new-key new.key
  strongroom keys rotate -r s3://attic/photos --old-sse AES256 --new-sse aws:kms \\
      --kms-key-id alias/photos
  strongroom keys rotate s3://diaries --deep --old-key stolen.key --new-key new.key""",
)
@click.argument("place")
@click.option(
    "-r",
    "--recursive",
    is_flag=True,
    help="All keys below s3://BUCKET/KEY/, instead of that one key. A bucket is always whole.",
)
@click.option(
    "--old-key",
    "old_keys",
    metavar="SOURCE",
    multiple=True,
    help="Customer key that is to be replaced; may be repeated.",
)
@click.option(
    "--old-sse",
    "old_sse",
    type=click.Choice(list(_MODES)),
    multiple=True,
    help="Mode of the store's own keys that is to be replaced; may be repeated.",
)
@click.option("--new-key", metavar="SOURCE", help="The new customer key.")
@click.option("--new-sse", type=click.Choice(list(_MODES)), help="The new mode, under a store key.")
@click.option("--kms-key-id", metavar="KEY", help="Key of the KMS for --new-sse: id, ARN or alias.")
@click.option(
    "--deep",
    is_flag=True,
    help="Seal the data anew as well, under new data keys: after a compromise.",
)
@serving.data_dir_option
@serving.config_option
@click.option("--json", "as_json", is_flag=True, help="Print a report as JSON.")
def rotate(
    place: str,
    *,
    recursive: bool,
    old_keys: Sequence[str],
    old_sse: Sequence[str],
    new_key: str | None,
    new_sse: str | None,
    kms_key_id: str | None,
    deep: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Give objects another key, every version of them, where they stand.

    PLACE is s3://BUCKET or s3://BUCKET/KEY. Ids, ETags, times and all that is known of the
    objects stay, and readers notice nothing but that the old key opens nothing any more. Where
    both keys are customer keys, or both the store's, an envelope of half a kilobyte is rewritten
    and no data is touched; between the two, and to or from aws:kms:dsse, the data is sealed anew.

    Works on the data directory with the master key, also while the server runs. What was
    rotated already is left alone: after an interruption, run the same command again.

    Whoever had the old key *and* an old envelope (a backup, the disk) still has the data key. After a
    compromise use --deep, and destroy the backups.

    A SOURCE is FILE, env:NAME or passphrase:RECIPE. Exit status 1 if anything could not be rotated.
    """
    with failures.told():
        where = places.parse_remote(place)
        if not (old_keys or old_sse) or (new_key is None) == (new_sse is None):
            raise click.UsageError(
                "Say which keys are to be replaced (--old-key, --old-sse) and by what (--new-key or"
                " --new-sse)."
            )
        if kms_key_id is not None and new_sse not in ("aws:kms", "aws:kms:dsse"):
            raise click.UsageError("--kms-key-id goes with --new-sse aws:kms or aws:kms:dsse.")
        chosen = home.inspected(settings.load(options, os.environ))
        customers = [_customer(source) for source in old_keys]
        customer = None if new_key is None else _customer(new_key)
        if customer in customers:
            raise click.UsageError("The new key is one of the old ones.")
        if old_sse == ("AES256",) and new_sse == "AES256" and not customers:
            raise click.UsageError("Objects under AES256 have that already.")
        from strongroom.server import rotating  # noqa: PLC0415 - after the options are known to be good
        from strongroom.service import rotation  # noqa: PLC0415 - likewise

        selection = rotation.Selection(
            where.bucket,
            prefix=where.as_prefix() if recursive else "",
            key=where.key if where.key and not recursive else None,
        )

        async def whole() -> dict[str, Any]:
            async with rotating.open_rotation(chosen) as opened:
                wish, arn = await _wish(opened, new_sse, kms_key_id)
                plan = rotation.Plan(
                    old_customers=tuple(customers),
                    old_modes=frozenset(_MODES[name] for name in old_sse),
                    customer=customer,
                    wish=wish,
                    arn=arn,
                    caller=rotating.ROOT,
                    deep=deep,
                )
                return await _run(opened, selection, plan)

        with administering.audited(chosen):
            report = asyncio.run(whole())
        if as_json:
            click.echo(json.dumps({"place": str(where), "deep": deep, **report}))
        else:
            _tell(report)
    if report["failed"]:
        sys.exit(failures.FAILED)


async def _wish(
    opened: rotating.Rotating, new_sse: str | None, key: str | None
) -> tuple[kms_sources.Wish | None, str]:
    """Return the wish for a KMS key, by its ARN: an alias may point elsewhere in an hour."""
    from strongroom.server import rotating  # noqa: PLC0415 - as above

    if new_sse not in ("aws:kms", "aws:kms:dsse"):
        return None, ""
    arn = await opened.key_arn(key or kms_sources.DEFAULT_KEY)
    return kms_sources.Wish(arn, rotating.ROOT, {}, dual=new_sse == "aws:kms:dsse"), arn


async def _run(
    opened: rotating.Rotating, selection: rotation.Selection, plan: rotation.Plan
) -> dict[str, Any]:
    """Rotate, with a bar on a terminal; return the report."""
    began = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    failed: list[dict[str, str]] = []
    total = await opened.rotation.count(selection)
    with click.progressbar(
        length=max(total, 1),
        label="Rotating",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
        show_pos=True,
        update_min_steps=max(total // 1000, 1),
    ) as bar:
        async for result in opened.rotation.run(selection, plan):
            bar.update(1)
            if result.outcome is not None:
                counts[result.outcome.value] += 1
                continue
            version, failure = result.version, result.failure
            failed.append(
                {
                    "key": version.key,
                    "version_id": version.version_id,
                    "why": f"{type(failure).__name__}: {failure}".removesuffix(": "),
                }
            )
    forgotten = await opened.forget()
    return {
        "versions": total,
        **{name: counts[name] for name in _WORDS if name != "failed"},
        "failed": failed,
        "log_cut": forgotten,
        "seconds": round(time.monotonic() - began, 1),
    }


def _tell(report: dict[str, Any]) -> None:
    for name, words in _WORDS.items():
        count = len(report[name]) if name == "failed" else report[name]
        if count or name == "rewrapped":
            click.echo(f"{count:>10}  {words}")
    for one in report["failed"]:
        name = places.shown(one["key"])
        failures.warn(f"{name} (version {one['version_id']}): {one['why']}")
    if not report["log_cut"]:
        failures.warn(
            "The catalog's log could not be cut, since it is being read: old envelopes lie in it until"
            " the next checkpoint. Run the command once more, or restart the server."
        )


def _customer(source: str) -> sources.CustomerKey:
    return sources.CustomerKey(keysources.read(source))
