"""sqlite: the catalog in one SQLite file.

Lives here: `schema.migrate(path)`, which brings a file to the newest schema, and
`catalog.open_catalog(path)`, which gives the adapter of `store.catalog`. Behind
it stand one writer thread (`writer`), a few reader threads (`readers`), and the
transactions as functions of a connection (`reads`, `writes`).
May import: `store`, `errors`; `alembic` only where a schema has to change.
Must not know: what envelopes, body records and sealed drafts contain.

Tables, order of writing and compatibility: docs/formats/catalog.md.
"""
