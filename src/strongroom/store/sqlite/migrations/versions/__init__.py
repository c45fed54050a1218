"""versions: the scripts, `NNNN_name.py`, each revising the one before it.

Lives here: DDL in raw SQL. A script that a release has shipped is never edited.
May import: `alembic`.
Must not know: the rest of strongroom.
"""
