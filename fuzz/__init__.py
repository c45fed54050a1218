"""Fuzz targets for everything that reads what a stranger sends.

A target is a module with `run(data)`. It returns how reading ended, where the input was
read or refused in the domain's words (`StrongroomError`, `Refused`), and raises for
everything else: an exception that nobody foresaw, or a promise that did not hold.

Inputs are text that a person can read: a request's head, or one line of
settings with a body after it. `corpus/TARGET/` has seeds and what once failed.

`make fuzz` runs the targets under atheris, each for `SECONDS`. `tests/fuzz` runs them without
it, over the corpus and a few hundred mutations, in `make test`.
"""
