"""From what can go wrong to an exit status and one sentence on standard error."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from strongroom import errors
from strongroom.server import app, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = 2
FAILED = 1


class Failed(Exception):
    """A command cannot do what it was asked to; the text is one sentence that says what to do."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn failures that an operator can mend into a sentence and an exit status.

    Anything else is a defect and keeps its traceback.
    """
    try:
        yield
    except settings.SettingsError as error:
        leave(USAGE, str(error))
    except (app.StartRefused, Failed) as error:
        leave(FAILED, str(error))
    except errors.StrongroomError as error:
        leave(FAILED, _sentence(error))


def warn(sentence: str) -> None:
    """Say one sentence on standard error."""
    click.echo(f"strongroom: {sentence}", err=True)


def leave(status: int, sentence: str) -> None:
    """Say one sentence on standard error and exit."""
    warn(sentence)
    sys.exit(status)


def _sentence(error: errors.StrongroomError) -> str:  # noqa: PLR0911 - a table
    match error:
        case errors.UserExists():
            return f"The user or access key {error.name!r} exists already; choose another."
        case errors.UserNotFound():
            return f"There is no user {error.name!r}; `strongroom admin user list` shows them all."
        case errors.NoSuchEntity() | errors.EntityExists():
            found = isinstance(error, errors.EntityExists)
            return f"There is {'already a' if found else 'no'} {error.kind} {error.name!r}."
        case errors.BucketNotFound():
            return f"There is no bucket {error.bucket!r}."
        case errors.StoreFull():
            return "No space is left in the data directory; make room and try again."
        case errors.StoreFailed():
            said = str(error).strip()
            return f"The data directory cannot be used: {said or 'the disk answered with an error'}"
        case _:
            return str(error) or f"It failed ({type(error).__name__})."
