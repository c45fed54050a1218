"""dialects: who speaks how.

Lives here: how a handler is declared (`operation`), the one request path
(`pipeline`), and a room for each dialect.
May import: `service`, `access`, `wire` and below.
Must not know: adapters, sockets, another dialect.
"""
