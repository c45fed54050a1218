"""How far it is: a bar on a terminal, nothing elsewhere; and the lines of what is done."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


class Reporter:
    """Tells what is done, on standard output, and what went wrong, on standard error.

    Args:
        as_json: one JSON object a line instead of text.
        quiet: only what went wrong.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._lock = threading.Lock()
        self._total = 0

    @contextlib.contextmanager
    def shown(self, description: str, *, wanted: bool | None) -> Iterator[None]:
        """Show a bar on standard error while the block runs.

        Args:
            description: what stands before it.
            wanted: whether; None: if standard error is a terminal and lines are for people.
        """
        if wanted is None:
            wanted = sys.stderr.isatty() and not self._as_json and not self._quiet
        if not wanted:
            yield
            return
        from rich import console, progress  # noqa: PLC0415 - an extra, and slow to load

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=console.Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(description, total=None)
        try:
            with self._bar:
                yield
        finally:
            self._bar = None

    def grow(self, count: int) -> None:
        """Say that `count` more bytes are to be carried."""
        with self._lock:
            self._total += count
            if self._bar is not None:
                self._bar.update(self._task, total=self._total)

    def advance(self, count: int) -> None:
        """Say that `count` bytes were carried; negative if they must be carried again."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def done(self, text: str, table: dict[str, Any]) -> None:
        """Say that one thing is done: `text` to people, `table` to programs."""
        if self._as_json:
            self._line(json.dumps(table))
        elif not self._quiet:
            self._line(text)

    def failed(self, sentence: str) -> None:
        """Say that one thing cannot be done, and why."""
        click.echo(f"strongroom: {sentence}", err=True)

    def _line(self, text: str) -> None:
        if self._bar is not None and sys.stdout.isatty():
            # Above the bar, which would otherwise be torn.
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text)
