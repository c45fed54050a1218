"""keyring: where wrapping keys come from.

Lives here: the master key, the store keys under it, and the key sources that
guard an object (`CustomerKey`, `ServerKey`).
May import: `store`, `crypto`, `errors`.
Must not know: requests, headers, adapters of the store.
"""
