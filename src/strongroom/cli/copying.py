"""`strongroom cp`: files into a store, objects out of it, objects within it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, keysources, remotely
from strongroom.cli.remote import (
    connection,
    copies,
    downloads,
    encrypted,
    lanes,
    places,
    progress,
    troubles,
    uploads,
    walks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from strongroom.client import keys

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing to copy; `size` where it is known before. A `trouble` is told instead."""

    source: places.Place
    target: places.Place
    size: int | None = None
    trouble: str = ""


@click.command(
    epilog=f"""\b
Examples:
  strongroom cp diary.txt s3://diaries/day-1 --sse-c-key diary.key
  strongroom cp s3://diaries/day-1 diary.txt --sse-c-key diary.key
  strongroom cp --recursive photos s3://attic/photos
  strongroom cp s3://diaries/day-1 s3://diaries/day-1 \\
      --source-sse-c-key old.key --sse-c-key new.key
  tar c photos | strongroom cp - s3://attic/photos.tar

A customer key is one of: {keysources.FORMS}"""
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("target")
@click.option(
    "-r",
    "--recursive",
    is_flag=True,
    help="Copy what lies below a directory or prefix. Of one source its contents go below TARGET; of"
    " several, each keeps its name.",
)
@click.option("-n", "--no-clobber", is_flag=True, help="Leave what is there already.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@remotely.key_option
@click.option(
    "--source-sse-c-key",
    metavar="SOURCE",
    help="Customer key of the source, for copies within the store.",
)
@remotely.client_key_option
@click.option(
    "--sse",
    type=click.Choice(["AES256", "aws:kms", "aws:kms:dsse"]),
    help="Encryption by the store, instead of the bucket's default.",
)
@click.option("--sse-kms-key-id", metavar="KEY", help="Key of the KMS: id, ARN or alias.")
@click.option("--content-type", metavar="TYPE", help="Instead of a guess by the file's name.")
@click.option(
    "--metadata", metavar="NAME=VALUE", multiple=True, help="User metadata; may be repeated."
)
@remotely.version_option
@click.option(
    "--part-size",
    metavar="MIB",
    type=click.IntRange(5, 5120),
    default=uploads.PART_BYTES // _MIB,
    show_default=True,
    help="What is larger is carried in parts of this size, side by side.",
)
@remotely.jobs_option
@click.option("--progress/--no-progress", "bar", default=None, help="[default: on a terminal]")
@click.option("-q", "--quiet", is_flag=True, help="Only say what went wrong.")
@remotely.json_option
@remotely.connected
def cp(
    sources: Sequence[str],
    target: str,
    *,
    recursive: bool,
    no_clobber: bool,
    dry_run: bool,
    sse_c_key: str | None,
    source_sse_c_key: str | None,
    cse_key: str | None,
    sse: str | None,
    sse_kms_key_id: str | None,
    content_type: str | None,
    metadata: Sequence[str],
    version_id: str | None,
    part_size: int,
    jobs: int,
    bar: bool | None,
    quiet: bool,
    as_json: bool,
    asked: connection.Asked,
) -> None:
    """Copy files into a store, objects out of it, or objects within it.

    A place in the store is s3://BUCKET/KEY; what stands after the bucket is the key,
    as it is. `-` is standard input or output. A TARGET that ends in `/`, a bucket or
    an existing directory takes the source's last name.

    A download of more than one part that was interrupted goes on when the same command runs
    again. Copies within the store never come here, keep headers, metadata and tags, and may
    change the key. Files are replaced unless --no-clobber is given.

    Exit status 1 if anything could not be copied; the rest is copied all the same.
    """
    with failures.told():
        found, goal = [places.parse(text) for text in sources], places.parse(target)
        _check(
            found,
            goal,
            recursive=recursive,
            version_id=version_id,
            source_key=source_sse_c_key,
            client_key=cse_key,
            as_json=as_json,
        )
        members: dict[str, Any] = {}
        if sse is not None:
            members["ServerSideEncryption"] = sse
        if sse_kms_key_id is not None:
            members["SSEKMSKeyId"] = sse_kms_key_id
        if metadata:
            members["Metadata"] = dict(map(_pair_of, metadata))
        client = connection.connect(asked, 2 * jobs)
        reporter = progress.Reporter(as_json=as_json, quiet=quiet or goal == places.Stream())
        client_key = remotely.read_client_key(cse_key)
        target_key = remotely.read_key(sse_c_key)
        source_key = (
            target_key if source_sse_c_key == sse_c_key else remotely.read_key(source_sse_c_key)
        )
        with lanes.Lanes(jobs) as running:
            carrier = Carrier(
                client,
                running,
                reporter,
                writing=uploads.Writing(
                    customer=connection.customer_key(client, target_key),
                    members=members,
                    content_type=content_type,
                    keep=no_clobber,
                ),
                source=copies.Source(connection.customer_key(client, source_key), version_id),
                part_bytes=part_size * _MIB,
                client_key=client_key,
            )
            pairs = plan(client, found, goal, recursive=recursive)
            if dry_run:
                for pair in pairs:
                    _say(reporter, pair, {})
                return
            with reporter.shown("cp", wanted=bar):
                everything = carrier.carry_all(pairs)
        if not everything:
            sys.exit(failures.FAILED)


class Carrier:
    """Copies pairs, each by the way that it needs."""

    def __init__(
        self,
        client: Any,
        running: lanes.Lanes,
        reporter: progress.Reporter,
        *,
        writing: uploads.Writing,
        source: copies.Source,
        part_bytes: int,
        client_key: keys.Key | None = None,
    ) -> None:
        self._running = running
        self._reporter = reporter
        self._writing = writing
        self._source = source
        self._uploads = uploads.Uploads(client, running, reporter, part_bytes=part_bytes)
        self._downloads = downloads.Downloads(client, running, reporter, part_bytes=part_bytes)
        self._copies = copies.Copies(client, running, reporter)
        self._encrypted: encrypted.Encrypted | None = None
        if client_key is not None:
            self._encrypted = encrypted.Encrypted(
                client, client_key, running, reporter, part_bytes=part_bytes
            )

    def carry_all(self, pairs: Iterator[Pair]) -> bool:
        """Copy all pairs, telling of each; return whether all went well."""
        everything = True
        for pair, future in self._running.each(self._carry, pairs):
            try:
                table = future.result()
            except troubles.Lost as error:
                if self._writing.keep:
                    continue
                everything = False
                self._reporter.failed(str(error))
            except failures.Failed as error:
                everything = False
                self._reporter.failed(str(error))
            else:
                _say(self._reporter, pair, table)
        return everything

    def _carry(self, pair: Pair) -> dict[str, Any]:
        if pair.trouble:
            raise failures.Failed(pair.trouble)
        if pair.size is not None:
            self._reporter.grow(pair.size)
        return asdict(self._carried(pair))

    def _carried(self, pair: Pair) -> uploads.Written | downloads.Fetched:
        sealed = self._encrypted
        match pair.source, pair.target:
            case places.Local(path), places.Remote() as target:
                upload = sealed.upload if sealed else self._uploads.file
                return upload(path, target, self._writing)
            case places.Stream(), places.Remote() as target:
                upload_stream = sealed.upload_stream if sealed else self._uploads.stream
                return upload_stream(sys.stdin.buffer, target, self._writing)
            case places.Remote() as source, places.Remote() as target:
                return self._copies.copy(
                    source, target, self._source, self._writing, size=pair.size
                )
            case places.Remote() as source, _:
                return self._fetched(source, pair)
        raise AssertionError("other pairs were refused before")

    def _fetched(self, source: places.Remote, pair: Pair) -> downloads.Fetched:
        match pair.target:
            case places.Local(path, is_folder=True):
                return _make_folder(path)
            case places.Local(path):
                if self._encrypted:
                    return self._encrypted.download(source, path, self._reading)
                return self._downloads.file(source, path, self._reading, size=pair.size)
            case _:
                return self._to_output(source)

    @property
    def _reading(self) -> downloads.Reading:
        return downloads.Reading(
            self._writing.customer, self._source.version_id, self._writing.keep
        )

    def _to_output(self, source: places.Remote) -> downloads.Fetched:
        sealed = self._encrypted
        stream = sealed.download_stream if sealed else self._downloads.stream
        try:
            return stream(source, sys.stdout.buffer, self._reading)
        except BrokenPipeError:
            # Whoever reads has had enough; and the interpreter would complain once more at its end.
            sys.stdout = None
            raise failures.Failed("Standard output was closed.") from None


def plan(
    client: Any, sources: Sequence[places.Place], target: places.Place, *, recursive: bool
) -> Iterator[Pair]:
    """Yield what is to be copied where. What cannot be is a pair with a trouble.

    Raises:
        Failed: a listing is refused.
    """
    many = len(sources) > 1
    for source in sources:
        match source:
            case places.Local(path) if path.is_dir():
                if recursive:
                    yield from _of_directory(source, _kept_name(target, path.name, many=many))
                else:
                    yield Pair(source, target, trouble=f"{source} is a directory: add --recursive.")
            case places.Local(path):
                yield _of_file(source, target, many=many)
            case places.Remote() if recursive:
                name = source.key.rstrip("/").rpartition("/")[2]
                yield from _of_prefix(client, source, _kept_name(target, name, many=many))
            case places.Remote():
                yield _of_object(source, target, many=many)
            case places.Stream():
                yield Pair(source, target)


def _kept_name(target: places.Place, name: str, *, many: bool) -> places.Place:
    """Return where the contents of a directory or prefix go: of several, each below its name."""
    if not many or not name:
        return target
    match target:
        case places.Remote():
            return target.below(name)
        case places.Local(path):
            return places.Local(path / name)
        case places.Stream():
            raise AssertionError("refused before")


def _of_directory(source: places.Local, target: places.Place) -> Iterator[Pair]:
    assert isinstance(target, places.Remote), "others were refused before"
    try:
        for name, path in walks.files_below(source.path):
            here = places.Local(path)
            try:
                key = target.below(places.key_of(name))
            except failures.Failed as error:
                yield Pair(here, target, trouble=str(error))
                continue
            yield Pair(here, key, _size_of(path))
    except OSError as error:
        yield Pair(
            source,
            target,
            trouble=f"{places.shown(str(error.filename))} cannot be read ({error.strerror}).",
        )


def _of_file(source: places.Local, target: places.Place, *, many: bool) -> Pair:
    assert isinstance(target, places.Remote), "others were refused before"
    if target.is_folder or many:
        try:
            target = target.below(places.key_of(source.path.name))
        except failures.Failed as error:
            return Pair(source, target, trouble=str(error))
    return Pair(source, target, _size_of(source.path))


def _of_prefix(client: Any, source: places.Remote, target: places.Place) -> Iterator[Pair]:
    prefix = source.as_prefix()
    found = False
    for one in walks.objects(client, source, prefix=prefix, flat=True):
        found = True
        name = one.key.removeprefix(prefix)
        here = places.Remote(source.bucket, one.key)
        match target:
            case places.Remote():
                yield Pair(here, places.Remote(target.bucket, target.as_prefix() + name), one.size)
            case places.Local(folder):
                yield _into(here, folder, name, one.size)
            case places.Stream():
                raise AssertionError("refused before")
    if not found:
        yield Pair(
            source,
            target,
            trouble=f"There is nothing below {places.shown(f's3://{source.bucket}/{prefix}')}.",
        )


def _into(source: places.Remote, folder: Path, name: str, size: int) -> Pair:
    """Return the pair of an object and its file below `folder`."""
    try:
        if not size and (not name or name.endswith("/")):
            # What other programs store for an empty directory.
            below = places.path_below(folder, name[:-1]) if name else folder
            return Pair(source, places.Local(below, is_folder=True), size)
        return Pair(source, places.Local(places.path_below(folder, name)), size)
    except failures.Failed as error:
        return Pair(source, places.Local(folder), trouble=str(error))


def _of_object(source: places.Remote, target: places.Place, *, many: bool) -> Pair:
    if not source.key:
        return Pair(source, target, trouble=f"{source} is a bucket: add --recursive, or a key.")
    name = source.key.rpartition("/")[2]
    match target:
        case places.Remote() if target.is_folder or many:
            return Pair(source, target.below(name or source.key))
        case places.Local(path, folder) if folder or many or path.is_dir():
            try:
                return Pair(source, places.Local(places.path_below(path, name)))
            except failures.Failed as error:
                return Pair(source, target, trouble=str(error))
        case _:
            return Pair(source, target)


def _check(
    sources: Sequence[places.Place],
    target: places.Place,
    *,
    recursive: bool,
    version_id: str | None,
    source_key: str | None,
    client_key: str | None,
    as_json: bool,
) -> None:
    """Refuse what makes no sense together, before anything is opened."""
    remotes = [isinstance(source, places.Remote) for source in sources]
    within = all(remotes) and isinstance(target, places.Remote)
    trouble = _stream_trouble(sources, target, recursive=recursive, as_json=as_json)
    if trouble:
        pass
    elif any(remotes) and not all(remotes):
        trouble = "Sources are either all in the store or all here."
    elif not any(remotes) and not isinstance(target, places.Remote):
        trouble = "One side must be in the store: write it as s3://BUCKET/KEY."
    elif version_id is not None and (recursive or not all(remotes) or len(sources) > 1):
        trouble = "--version-id is for one object as the source."
    elif source_key is not None and not within:
        trouble = "--source-sse-c-key is for copies within the store; the one key is --sse-c-key."
    elif client_key is not None and within:
        trouble = "--cse-key is not for copies within the store: they stay encrypted as they are."
    elif len(sources) > 1 and not recursive and not _takes_many(target):
        trouble = "Several sources need a directory, a bucket or a prefix with `/` as the target."
    if trouble:
        raise click.UsageError(trouble)


def _stream_trouble(
    sources: Sequence[places.Place], target: places.Place, *, recursive: bool, as_json: bool
) -> str:
    """Say what is wrong with `-` here; nothing if nothing is."""
    from_input, to_output = places.Stream() in sources, target == places.Stream()
    if (from_input or to_output) and (recursive or len(sources) > 1):
        return "`-` is one source or the target, and nothing recursive."
    if to_output and as_json:
        return "--json and `-` would both write to standard output."
    if from_input and isinstance(target, places.Remote) and target.is_folder:
        return "Standard input has no name: write the whole key as the target."
    return ""


def _takes_many(target: places.Place) -> bool:
    match target:
        case places.Remote():
            return target.is_folder
        case places.Local(path, folder):
            return folder or path.is_dir()
        case places.Stream():
            return False


def _pair_of(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError("--metadata is NAME=VALUE.")
    return name, value


def _size_of(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        if path.is_file():
            return path.stat().st_size
    return None


def _make_folder(path: Path) -> downloads.Fetched:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failures.Failed(
            f"{places.shown(str(path))} cannot be made ({error.strerror})."
        ) from None
    return downloads.Fetched(0, "", None)


def _say(reporter: progress.Reporter, pair: Pair, table: dict[str, Any]) -> None:
    if pair.trouble:
        reporter.failed(pair.trouble)
        return
    source, target = str(pair.source), str(pair.target)
    reporter.done(
        f"{places.shown(source)} -> {places.shown(target)}",
        {"source": source, "target": target, **table},
    )
