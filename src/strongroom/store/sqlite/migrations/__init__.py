"""migrations: how the catalog's schema came to be, one script per step.

Lives here: what Alembic runs (`env`), and the numbered scripts in `versions`.
May import: `alembic`.
Must not know: the rest of strongroom; a script must do in ten years what it does today.
"""
