"""What the server room asks of the application that it serves.

The composition root (`build`) makes an `App`; listeners, workers and tests
know no more of it than this. `Admin` is the part that works without a listener.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.access import web_identity
    from strongroom.crypto import secret
    from strongroom.server import guards
    from strongroom.store import records, replication
    from strongroom.wire import message


class StartRefused(Exception):
    """The server cannot start; the text is one sentence that says what to do."""


class App(Protocol):
    """A store that answers requests.

    `start` comes first and `close` last, each once, on the loop that serves.
    """

    async def start(self) -> None:
        """Open what needs a running loop, before the first request."""
        ...

    async def handle(self, request: message.Request) -> message.Response:
        """Answer a request. Never raises for what a client sends.

        The request's body is read before this returns, or not at all: the
        response's own iterator must not read it.
        """
        ...

    async def kms(self, request: message.Request) -> message.Response:
        """Answer on the KMS listener; otherwise as `handle`."""
        ...

    async def console(self, request: message.Request) -> message.Response:
        """Answer on the console's listener: its page, and S3 for what the page asks."""
        ...

    async def about(self, request: message.Request) -> message.Response:
        """Answer on the metrics listener: health and metrics, to whoever asks."""
        ...

    async def ready(self) -> bool:
        """Tell whether requests can be served now: catalog and blobs answer."""
        ...

    async def close(self) -> None:
        """Let go of everything. Requests have been drained, or were cut."""
        ...


class Admin(Protocol):
    """What the administrator's commands may do, beside a running server or without one."""

    async def add_user(
        self, name: str, access_key: str | None, secret_key: secret.SecretKey | None
    ) -> tuple[records.User, str, secret.SecretKey]:
        """Add a user with one credential; what is None is generated.

        Returns:
            The user, the access key, the secret key.

        Raises:
            UserExists: the name or the access key is taken.
        """
        ...

    async def users(self) -> Sequence[records.User]:
        """Return all users, by name."""
        ...

    async def remove_user(self, name: str) -> None:
        """Remove a user and all credentials.

        Raises:
            UserNotFound: there is none.
        """
        ...

    async def keys_of(self, who: str) -> Sequence[records.Credential]:
        """Return the access keys of somebody, by time.

        Args:
            who: name of a user, or of a user and one of its account's, with `/` between.

        Raises:
            UserNotFound, NoSuchEntity: there is nobody of this name.
        """
        ...

    async def add_key(self, who: str) -> tuple[str, secret.SecretKey]:
        """Add an access key to somebody, named as above; return it and its secret key.

        Raises:
            UserNotFound, NoSuchEntity: there is nobody of this name.
            LimitPassed: it has as many as it may have.
        """
        ...

    async def set_key_active(self, access_key: str, *, active: bool) -> None:
        """Make an access key active or inactive.

        Raises:
            NoSuchEntity: there is none.
        """
        ...

    async def remove_key(self, access_key: str) -> None:
        """Remove an access key.

        Raises:
            NoSuchEntity: there is none.
        """
        ...

    async def add_provider(
        self, account: str, url: str, clients: Sequence[str], thumbprints: Sequence[str]
    ) -> str:
        """Have an account believe an identity provider; return the provider's ARN.

        Args:
            account: name of the account's owner; `root` too.
            url: of the issuer.
            clients: audiences that its tokens may be for.
            thumbprints: SHA-1 of certificates of its own.

        Raises:
            UserNotFound: there is no such account.
            EntityExists, InvalidEntity, LimitPassed: as `access.providers.add`.
        """
        ...

    async def providers(self, account: str) -> Sequence[web_identity.Provider]:
        """Return the identity providers that an account believes, by name.

        Raises:
            UserNotFound: there is no such account.
        """
        ...

    async def remove_provider(self, account: str, url: str) -> None:
        """Have an account believe an identity provider no more.

        Raises:
            UserNotFound, NoSuchEntity: there is no such account, or it has no such provider.
        """
        ...

    @property
    def guards(self) -> guards.Guards:
        """What is set against foreign keys."""
        ...

    def fingerprint(self, key: secret.SecretKey) -> bytes:
        """Return what tells a customer key from another in this store, and says nothing else."""
        ...

    @property
    def replication(self) -> ReplicationAdmin:
        """Other stores, and what is to be replicated."""
        ...


class ReplicationAdmin(Protocol):
    """What the administrator's commands do about replication."""

    async def add_remote(
        self,
        name: str,
        url: str,
        *,
        region: str,
        access_key: str,
        secret_key: secret.SecretKey,
        ca: str,
        users: Sequence[str],
    ) -> replication.Remote:
        """Add another store that buckets of root, and of these users, may be replicated to.

        Args:
            name: stands in ARNs.
            url: `https://HOST:PORT`.
            region: that it says it is in.
            access_key: of a user there.
            secret_key: of that user.
            ca: certificate to trust, PEM; empty for the system's.
            users: names of users here.

        Raises:
            ValueError: something is not as it must be; the text says what.
            EntityExists: there is one of this name.
            UserNotFound: a user is not there.
        """
        ...

    async def remotes(self) -> Sequence[replication.Remote]:
        """Return all, by name."""
        ...

    async def remove_remote(self, name: str) -> None:
        """Remove one.

        Raises:
            NoSuchEntity: there is none.
        """
        ...

    async def enqueue(self, bucket: str, told: Callable[[int, int], None]) -> tuple[int, int]:
        """Queue all that is in a bucket; a running server sends it.

        Args:
            bucket: its name.
            told: is told now and then how many versions were seen, and queued.

        Returns:
            how many were seen, and queued.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        ...

    async def backlog(self, bucket: str | None) -> replication.Backlog:
        """Return what waits, of one bucket or of all."""
        ...
