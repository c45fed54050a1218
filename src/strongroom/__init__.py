"""strongroom: an S3-compatible object store for people who hold their own keys.

The rooms are stacked, and imports go down only:

    cli | testing → server → dialects → service | access | wire → keyring → store → crypto → errors

Start with docs/architecture.md.
"""
