"""service: what the store does, in its own words.

Lives here: objects, multipart uploads, listing, buckets; which encryption a
request gets and whether a key may open an object; the two byte pipelines.
May import: `keyring`, `store` (ports and records), `crypto`, `errors`.
Must not know: XML, headers, status codes, which adapter keeps the bytes.
"""
