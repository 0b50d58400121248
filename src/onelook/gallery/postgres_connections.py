"""Connections to a PostgreSQL server, one per thread, and its errors in plain words."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from onelook.errors import GalleryError
from onelook.extras import import_extra
from onelook.gallery.store import redact_url

LOCK_SECONDS = 60
# What libpq is told unless the URL says otherwise: by itself it waits for ever for a server
# that accepts a connection and says no more, and two hours for one that has gone.
PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}

Answer = TypeVar("Answer")


class Connections:
    """As many connections as threads ever asked at once; idle ones are used again."""

    def __init__(self, dsn: str, url: str) -> None:
        self._dsn, self._url = dsn, url
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False
        # A store that is never closed still closes its connections.
        weakref.finalize(self, _close_all, self._idle)

    def call(self, work: Callable[[Any], Answer], in_transaction: bool = False) -> Answer:
        """Run ``work`` on a connection, and again where that is safe and may help."""
        psycopg = import_extra("psycopg", "postgres")
        for is_last in (False, False, False, True):
            finished = False
            try:
                with self._connection() as connection:
                    with connection.transaction() if in_transaction else nullcontext():
                        answer = work(connection)
                        finished = True
                return answer
            except psycopg.Error as error:
                # What failed while it was committed may be kept or not.
                if is_last or finished or not _may_pass(error):
                    raise _gallery_error(error, self._url) from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close every connection, those in use when their work is done."""
        self._closed = True
        self._drop_idle()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise GalleryError(f"the gallery at {redact_url(self._url)} is closed")
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            yield connection
        finally:
            if connection.broken:  # the server was restarted, so the others are broken too
                self._drop_idle()
            is_idle = connection.info.transaction_status == 0 and not connection.closed
            with self._lock:
                keep = is_idle and not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _drop_idle(self) -> None:
        with self._lock:
            _close_all(self._idle)

    def _connect(self) -> Any:
        psycopg = import_extra("psycopg", "postgres")
        vectors = import_extra("pgvector.psycopg", "postgres")
        try:
            given = psycopg.conninfo.conninfo_to_dict(self._dsn)
            connection = psycopg.connect(
                self._dsn,
                **{name: value for name, value in PATIENCE.items() if name not in given},
                autocommit=True,
                client_encoding="utf8",
                application_name="onelook",
            )
            # An acknowledged entry is on disk, whatever the server's default; stricter
            # settings (remote_apply) stay.
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
            connection.execute("SET hnsw.ef_search = 400")
            connection.execute("SET hnsw.iterative_scan = strict_order")
            if connection.execute("SELECT to_regtype('vector')").fetchone()[0]:
                vectors.register_vector(connection)
        except psycopg.Error as error:
            raise GalleryError(
                f"no connection to the gallery at {redact_url(self._url)}: "
                f"{_first_line(error)}; does the server run, and does the database exist "
                "(createdb)?"
            ) from error
        return connection


def _close_all(connections: list[Any]) -> None:
    while connections:
        connections.pop().close()


def lock_alone(connection: Any, table: str) -> None:
    """Lock a table until the transaction ends."""
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


def _may_pass(error: Exception) -> bool:
    """Whether the same work may succeed if it is repeated."""
    errors = import_extra("psycopg.errors", "postgres")
    again = (
        # Another writer was in the way, or a replica had to apply a change.
        errors.SerializationFailure,
        errors.DeadlockDetected,
        errors.UniqueViolation,
        # The server was restarted.
        errors.AdminShutdown,
        errors.CrashShutdown,
    )
    lost = isinstance(error, errors.OperationalError) and not getattr(error, "sqlstate", "")
    return isinstance(error, again) or lost


def _gallery_error(error: Exception, url: str) -> GalleryError:
    """What a person can do about an error of the server."""
    errors = import_extra("psycopg.errors", "postgres")
    reason = _first_line(error)
    what = f"fails: {reason}"
    if isinstance(error, errors.ReadOnlySqlTransaction):
        what = (
            "is read-only (a replica or a read-only session); use the primary server's URL"
        )
    elif isinstance(error, errors.UndefinedTable):
        what = "is gone: its table was dropped"
    elif isinstance(error, errors.LockNotAvailable):
        what = (
            f"was in use for {LOCK_SECONDS} s and nothing was forgotten; end the long "
            "transaction (pg_stat_activity) and forget again"
        )
    elif isinstance(error, errors.InsufficientPrivilege | errors.UndefinedFile):
        what += (
            "; it needs a role that owns its tables, and pgvector in the database (CREATE "
            "EXTENSION vector)"
        )
    elif _may_pass(error):
        what = (
            f"did not answer ({reason}); what it did not acknowledge may be kept or not: "
            "repeat it, nothing is kept twice"
        )
    return GalleryError(f"the gallery at {redact_url(url)} {what}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
