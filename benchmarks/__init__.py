"""How fast, at which price: drives S3 endpoints side by side and measures the servers.

Lives here: a client that replays requests signed beforehand over raw TLS sockets,
meters that ask the operating system, the workloads, and servers to compare with.

May import: `strongroom.testing` and `strongroom.server.tls`, to start a server as a
user does; nothing of what is measured. Is imported by nothing.

`make bench` runs it; docs/performance.md says what came out and how to read it.
"""
