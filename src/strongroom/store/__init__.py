"""store: what lasts.

Lives here: the records, the two ports `catalog` and `blobs`, and their
adapters (`sqlite`, `disk`, `memory`).
May import: `crypto`, `errors`.
Must not know: plaintext, keys, HTTP, who asks.
"""
