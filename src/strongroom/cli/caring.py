"""`strongroom scrub` and `backup`: is what is stored still what was written, and is there another?"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, serving
from strongroom.server import home, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.server import care, recovery
    from strongroom.service import scrubbing

_GIB = 2**30


@click.command()
@serving.data_dir_option
@serving.config_option
@serving.json_option
def scrub(*, as_json: bool, **options: Any) -> None:
    """Find damage without any customer's key, also while the server runs.

    Reads every stored blob and compares it with the digest of its ciphertext, and every row
    with its envelope. With the master key, as the server has it, it also judges what the
    server vouches for: tags, and the envelopes of objects under SSE-S3. Changes nothing.

    This finds rot. Whether somebody forged what is stored is found by opening it:
    `strongroom verify`.

    Exit status: 0 no damage, 1 damage, each named on standard output.
    """
    with failures.told():
        chosen = home.inspected(settings.load(options, os.environ), master_key_needed=False)
        from strongroom.server import care  # noqa: PLC0415 - after the options are known to be good

        began = time.monotonic()
        with care.open_scrubber(chosen) as scrubber:
            total = scrubber.inventory.totals().blob_bytes
            with progress("Scrubbing", total) as advance:
                scrubber.advance = advance
                damages = [_told(damage, as_json=as_json) for damage in scrubber.run()]
            _summarize(scrubber, damages, time.monotonic() - began, as_json=as_json)
    if damages:
        sys.exit(failures.FAILED)


@click.command()
@click.argument("target", metavar="DIRECTORY", type=click.Path(path_type=Path, file_okay=False))
@serving.data_dir_option
@serving.config_option
@click.option(
    "--link",
    is_flag=True,
    help="Give files a second name instead of copying them, on one file system: at once, and"
    " without space; but what damages a file damages both.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Read again only what is copied now, not what earlier runs copied.",
)
@serving.json_option
def backup(target: Path, *, link: bool, quick: bool, as_json: bool, **options: Any) -> None:
    """Make DIRECTORY a backup of the store as it is now, also while the server runs.

    Run it again on the same directory to bring the backup up to date: only new files are
    copied. Interrupted, the next run goes on. At the end all copies are read and compared
    as `strongroom scrub` does; copies that are damaged are made again.

    The master key is not in the backup, nor are certificates and root's credentials: keep
    master.key elsewhere. Customers' keys are in no backup of ours.

    To restore, copy DIRECTORY to a new data directory, add master.key, and start the server.

    Exit status: 0 done, 1 failed or damage found, each named on standard output.
    """
    with failures.told():
        chosen = home.inspected(settings.load(options, os.environ), master_key_needed=False)
        from strongroom.server import care  # noqa: PLC0415 - after the options are known to be good

        made = care.back_up(chosen, target.absolute(), link=link, only_new=quick, phase=progress)
        if as_json:
            click.echo(json.dumps(_backed_up(made)))
        else:
            for damage in made.damages:
                click.echo(sentence(damage))
            click.echo(
                f"{made.copied.blobs} files copied ({made.copied.blob_bytes / _GIB:.2f} GiB),"
                f" {made.copied.kept} were there, {made.copied.mended} made again,"
                f" {made.copied.pruned} removed; {made.checked.versions} versions,"
                f" {made.checked.uploads} open uploads"
            )
        if not made.replaced:
            failures.leave(
                failures.FAILED,
                "The store's catalog is damaged, so the earlier backup was left in its place;"
                " see the damages above, or back up into another directory.",
            )
        if made.damages:
            failures.leave(
                failures.FAILED,
                f"The backup is complete but for {len(made.damages)} damages that the store has too.",
            )


@click.command()
@click.option(
    "--from",
    "source",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path, file_okay=False),
    help="A backup of this store, for what it has lost.",
)
@click.option("--force", is_flag=True, help="Replace the old catalog even if the new one is worse.")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def recover(source: Path | None, *, force: bool, as_json: bool, **options: Any) -> None:
    """Build a new catalog from what is left of a store. Stop the server first.

    Takes what can still be read of the catalog, row by row; what it lost, from the mirrors
    beside the blobs (objects up to 16 KiB have none) and from a backup; finds blobs wherever they
    lie, also those that were set aside. Then reads all of it, as `strongroom scrub` does.

    Nothing is destroyed: the old catalog and its mirrors stay in the data directory
    under other names. If the new catalog contradicts itself, or lacks versions that the old
    one readably has, it is kept beside and nothing is replaced, unless --force is given.

    Exit status: 0 all that is known of is there, 1 something is lost or damaged.
    """
    with failures.told():
        chosen = home.inspected(settings.load(options, os.environ), master_key_needed=False)
        from strongroom.server import recovery  # noqa: PLC0415 - as above

        made = recovery.recover(chosen, source and source.absolute(), force=force, phase=progress)
        if as_json:
            click.echo(json.dumps(_recovered(made)))
        else:
            _tell_recovered(made)
        rebuilt = made.rebuilt
        if rebuilt.lost or rebuilt.incomplete or rebuilt.markers_lost or made.damages:
            failures.leave(
                failures.FAILED,
                f"{made.rebuilt.versions} versions are there again, not all of them whole; what is"
                f" lost or damaged is named above. The old catalog is kept beside the new one.",
            )


def _recovered(made: recovery.Recovered) -> dict[str, Any]:
    names = ("bucket", "key", "version_id")
    return {
        "versions": made.rebuilt.versions,
        "delete_markers": made.rebuilt.markers,
        "delete_markers_lost": made.rebuilt.markers_lost,
        "from_mirrors": made.rebuilt.from_mirrors,
        "from_backup": made.rebuilt.from_backup,
        "blobs_from_backup": made.from_backup,
        "blobs_returned": made.returned,
        "unread_mirrors": made.unread_mirrors,
        "catalog_was_whole": made.was_whole,
        "rows_mended": list(made.mended),
        "only_in_backup": [dataclasses.asdict(one) for one in made.only_in_backup],
        "kept": list(made.aside),
        "lost": [dict(zip(names, one, strict=True)) for one in made.rebuilt.lost],
        "incomplete": [dict(zip(names, one, strict=True)) for one in made.rebuilt.incomplete],
        "damages": [described(damage) for damage in made.damages],
    }


def _tell_recovered(made: recovery.Recovered) -> None:
    for bucket, key, version_id in made.rebuilt.lost:
        click.echo(f"lost: {_printable(f's3://{bucket}/{key}')} (version {version_id})")
    for damage in made.damages:
        click.echo(sentence(damage))
    if made.rebuilt.markers_lost:
        click.echo(
            f"lost: {made.rebuilt.markers_lost} delete markers of buckets whose name is not known"
        )
    for row in made.mended:
        click.echo(f"mended: {_printable(row)}")
    for one in made.only_in_backup:
        what = "it is there again" if one.restored else "it was left out"
        click.echo(
            f"only the backup knows {one.kind} {_printable(one.name)}, which may have been removed"
            f" since: {what}"
        )
    click.echo(
        f"{made.rebuilt.versions} versions and {made.rebuilt.markers} delete markers are there:"
        f" {made.rebuilt.from_mirrors} from mirrors, {made.rebuilt.from_backup} from the backup;"
        f" {len(made.rebuilt.incomplete)} lack bytes, {len(made.rebuilt.lost)} are lost"
    )
    if made.aside:
        click.echo(f"kept: {', '.join(made.aside)}")


def _backed_up(made: care.BackedUp) -> dict[str, Any]:
    return {
        "versions": made.checked.versions,
        "uploads": made.checked.uploads,
        "copied": made.copied.blobs,
        "copied_bytes": made.copied.blob_bytes,
        "kept": made.copied.kept,
        "mended": made.copied.mended,
        "pruned": made.copied.pruned,
        "replaced": made.replaced,
        "damages": [described(damage) for damage in made.damages],
    }


@contextlib.contextmanager
def progress(label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while it is a terminal; yields what to tell bytes to."""
    with click.progressbar(
        length=max(total_bytes, 1),
        label=label,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
        update_min_steps=4 * 2**20,
    ) as bar:
        yield bar.update


def described(damage: scrubbing.Damage) -> dict[str, Any]:
    """Return a damage as a JSON object; what does not apply is left out."""
    place = damage.place
    table = {
        "detail": damage.detail,
        "bucket": place and place.bucket,
        "key": place and place.key,
        "version_id": place and place.version_id,
        "upload_id": place and place.upload_id,
        "part": damage.part,
        "file": damage.file and f"blobs/{damage.file}",
    }
    return {name: value for name, value in table.items() if value}


def sentence(damage: scrubbing.Damage) -> str:
    """Return a damage as a line for people."""
    place = damage.place
    if place is None:
        return f"damaged: the catalog: {damage.detail}"
    what = f"s3://{place.bucket}/{place.key}"
    if place.version_id not in ("", "null"):
        what += f" (version {place.version_id})"
    if place.upload_id:
        what += f" (upload {place.upload_id})"
    if damage.part:
        what += f", part {damage.part}"
    if damage.file:
        what += f", blobs/{damage.file}"
    # Keys may hold anything; a line stays one line, and a terminal gets no commands.
    return f"damaged: {_printable(what)}: {damage.detail}"


def _told(damage: scrubbing.Damage, *, as_json: bool) -> dict[str, Any]:
    if not as_json:
        click.echo(sentence(damage))
    return described(damage)


def _summarize(
    scrubber: scrubbing.Scrubber, damages: list[dict[str, Any]], took_s: float, *, as_json: bool
) -> None:
    tally = scrubber.tally
    with_rows = scrubber.store_keys is not None
    if as_json:
        report = {
            "versions": tally.versions,
            "uploads": tally.uploads,
            "blobs": tally.blobs,
            "blob_bytes": tally.blob_bytes,
            "row_macs_checked": with_rows,
            "seconds": round(took_s, 3),
            "damages": damages,
        }
        click.echo(json.dumps(report))
        return
    found = f"{len(damages)} damages" if damages else "no damage"
    click.echo(
        f"{found} in {tally.versions} versions, {tally.uploads} open uploads, {tally.blobs} blobs"
        f" ({tally.blob_bytes / _GIB:.2f} GiB) in {took_s:.1f} s"
    )
    if not with_rows:
        click.echo("not judged: tags and SSE-S3 envelopes, for want of the master key")


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
