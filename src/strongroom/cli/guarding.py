"""`strongroom admin bucket` and `admin restore`, `keys objects`: against foreign keys."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import administering, failures, serving
from strongroom.cli.remote import places
from strongroom.keyring import master
from strongroom.server import guards, settings

if TYPE_CHECKING:
    from strongroom.server import app


@click.group()
def bucket() -> None:
    """Which customer keys a bucket takes, and what its guard keeps. See docs/guide/guard.md."""


@bucket.command("show")
@click.argument("name")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def show(name: str, *, as_json: bool, **options: Any) -> None:
    """Show guard and list of keys of a bucket, and how much is kept."""

    async def run(store: app.Admin) -> None:
        _tell(_described(await store.guards.standing(name)), as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@bucket.command("guard")
@click.argument("name", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Every bucket there is, instead of NAME.")
@click.option(
    "--days",
    type=click.IntRange(1, settings.MAX_GUARD_DAYS),
    help="Keep what a foreign key overwrites, and whatever is deleted, for so many days.",
)
@click.option("--off", is_flag=True, help="Keep nothing more. What is kept stays for its time.")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def guard(
    name: str | None,
    *,
    everywhere: bool,
    days: int | None,
    off: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn the guard of a bucket on or off."""
    if (name is None) != everywhere or (days is None) != off:
        raise click.UsageError("Say which bucket or --all, and --days or --off.")

    async def run(store: app.Admin) -> None:
        names = [name] if name is not None else [one async for one in store.guards.buckets()]
        for one in names:
            await store.guards.set_guard(one, (days or 0) * guards.DAY_MS)
        tables = [_described(await store.guards.standing(one)) for one in names]
        if everywhere and as_json:
            click.echo(json.dumps(tables))
        else:
            for table in tables:
                _tell(table, as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@bucket.command("keys")
@click.argument("name")
@click.option("--allow", "allowed", metavar="FINGERPRINT", multiple=True, help="Add a key.")
@click.option("--remove", "removed", metavar="FINGERPRINT", multiple=True, help="Take one off.")
@click.option("--any", "takes_any", is_flag=True, help="Have no list: take every key.")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def keys(
    name: str,
    *,
    allowed: tuple[str, ...],
    removed: tuple[str, ...],
    takes_any: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List, or change, the customer keys that writes to a bucket may bring.

    A bucket without a list takes every key. `strongroom keys fingerprint` prints a key's
    fingerprint. Once there is a list, taking the last one off leaves a bucket that takes no
    customer key.
    """
    if takes_any and (allowed or removed):
        raise click.UsageError("--any stands alone.")
    more = {_fingerprint(one) for one in allowed}
    less = {_fingerprint(one) for one in removed}

    async def run(store: app.Admin) -> None:
        if takes_any:
            await store.guards.set_keys(name, None)
        elif more or less:
            standing = (await store.guards.standing(name)).rules.allowed
            if standing is None and not more:
                raise failures.Failed(
                    f"The bucket {name} has no list, so nothing can be taken off."
                )
            await store.guards.set_keys(name, ((standing or frozenset()) | more) - less)
        _tell(_described(await store.guards.standing(name)), as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@bucket.command("drop-kept")
@click.argument("place", metavar="BUCKET[/PREFIX]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def drop_kept(place: str, *, yes: bool, as_json: bool, **options: Any) -> None:
    """Drop what the guard keeps, for good, before its time is over."""
    name, prefix = _place(place)
    if not yes:
        click.confirm("This cannot be undone. Go on?", abort=True, err=True)

    async def run(store: app.Admin) -> None:
        gone = await store.guards.drop(name, prefix)
        if as_json:
            click.echo(json.dumps({"bucket": name, "prefix": prefix, "dropped": gone}))
        else:
            click.echo(f"Dropped {gone} kept versions.")

    with failures.told():
        administering.administer(options, run)


@click.command("restore")
@click.argument("place", metavar="BUCKET[/PREFIX]")
@click.option(
    "--to",
    "moment",
    metavar="TIME",
    required=True,
    help="A moment with its zone, like 2026-11-22T18:00:00Z.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def restore(place: str, moment: str, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Bring a bucket, or the keys below a prefix, back to a moment.

    What was overwritten or deleted since then stands again, as far as the guard kept it. What was
    written since then is set aside, and can be brought back likewise. No customer key is needed. Works
    on the data directory, also while the server runs; after an interruption, run it again.
    """
    name, prefix = _place(place)
    to_ms = _milliseconds(moment)

    async def run(store: app.Admin) -> None:
        done = guards.Restored()
        total = await store.guards.count(name, prefix)
        with click.progressbar(
            length=max(total, 1),
            label="Looking" if dry_run else "Restoring",
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
            show_pos=True,
        ) as bar:
            async for now in store.guards.restore(name, prefix, to_ms, dry_run=dry_run):
                bar.update(now.seen - done.seen)
                done = now
        if as_json:
            click.echo(
                json.dumps(
                    {
                        "bucket": name,
                        "prefix": prefix,
                        "to": administering.moment(to_ms),
                        "dry_run": dry_run,
                        "looked_at": done.seen,
                        "keys_changed": done.keys,
                        "restored": done.back,
                        "restored_bytes": done.back_bytes,
                        "set_aside": done.aside,
                    }
                )
            )
        else:
            would = "would be" if dry_run else "were"
            click.echo(
                f"{done.keys} keys {would} changed: {done.back} versions ({done.back_bytes} bytes)"
                f" {would} restored, {done.aside} set aside."
            )

    with failures.told():
        administering.administer(options, run)


@click.command("objects")
@click.argument("fingerprint")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def objects(fingerprint: str, *, as_json: bool, **options: Any) -> None:
    """List what a customer key guards, by its fingerprint.

    With versions that stand behind others, versions that a guard keeps, and open uploads. What was
    written under `--fingerprints off`, or by a release before there were fingerprints, is not
    among it. JSON is one object a line.
    """
    wanted = _fingerprint(fingerprint)

    async def run(store: app.Admin) -> None:
        async for one in store.guards.under(wanted):
            place = str(places.Remote(one.bucket, one.key))
            if as_json:
                told = {
                    "bucket": one.bucket,
                    "key": one.key,
                    "version_id": one.version_id,
                    "size": one.size,
                    "modified": administering.moment(one.modified_ms),
                    "standing": one.standing,
                }
                click.echo(json.dumps(told))
            else:
                click.echo(f"{one.standing:8} {one.version_id:32} {places.shown(place)}")

    with failures.told():
        administering.administer(options, run)


def _fingerprint(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != master.FINGERPRINT_BYTES:
        raise click.UsageError(
            f"{places.shown(text)} is no fingerprint: it has {2 * master.FINGERPRINT_BYTES} digits in"
            " hex, as `strongroom keys fingerprint` prints them."
        )
    return found


def _place(text: str) -> tuple[str, str]:
    name, _, prefix = text.removeprefix(places.SCHEME).partition("/")
    if not name:
        raise click.UsageError("Say which bucket: BUCKET or BUCKET/PREFIX.")
    return name, places.key_of(prefix)


def _milliseconds(text: str) -> int:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{places.shown(text)} is no moment: 2026-11-22T18:00:00Z") from None
    if found.tzinfo is None:
        raise click.UsageError("Say the time zone, too: 2026-11-22T18:00:00Z is UTC.")
    return int(found.timestamp() * 1000)


def _described(standing: guards.Standing) -> dict[str, Any]:
    rules, kept = standing.rules, standing.kept
    return {
        "bucket": standing.bucket,
        "guard_days": rules.keep_ms / guards.DAY_MS,
        "keys": None if rules.allowed is None else sorted(one.hex() for one in rules.allowed),
        "kept_versions": kept.versions,
        "kept_bytes": kept.size,
        "next_dropped": administering.moment(kept.next_ms) if kept.next_ms else None,
    }


def _tell(table: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(table))
        return
    days, listed = table["guard_days"], table["keys"]
    click.echo(f"bucket  {table['bucket']}")
    click.echo(f"guard   {f'keeps for {days:g} days' if days else 'off'}")
    click.echo(f"keys    {'any' if listed is None else ', '.join(listed) or 'none'}")
    following = f", the first goes at {table['next_dropped']}" if table["next_dropped"] else ""
    click.echo(f"kept    {table['kept_versions']} versions, {table['kept_bytes']} bytes{following}")
