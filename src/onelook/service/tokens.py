"""Tokens: who may use the service; only salted hashes of them are on disk.

A token is 256 random bits, which cannot be guessed, so one round of SHA-256 protects it.
The file is read again when it changes, so a revoked token ends at once.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from onelook.errors import OnelookError
from onelook.files import PRIVATE, check_regular, locked, write_whole

FORMAT = 1
PREFIX = "onelook_"


class TokenError(OnelookError):
    """A token file that cannot be used, or an unknown or duplicate name of a token."""


@dataclass(frozen=True)
class Token:
    """One token of the file: its name, salted hash, and rights."""

    name: str
    salt: str
    sha256: str
    may_write: bool
    created: str


class Tokens:
    """The tokens of a file that ``add_token`` wrote."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._changed = _stamp(self.path)
        self._known = read_tokens(self.path)

    def find(self, secret: str) -> Token | None:
        """The token with this secret; None if there is none, or the file is gone.

        Takes the same time for every token and for every wrong secret.
        """
        self._refresh()
        found = None
        for token in self._known:
            if hmac.compare_digest(_hash(token.salt, secret), token.sha256):
                found = token
        return found

    def _refresh(self) -> None:
        changed = _stamp(self.path)
        if changed == self._changed:
            return
        try:
            self._known, self._changed = read_tokens(self.path), changed
        except TokenError:  # a file that is lost or open to others lets no request in
            self._known, self._changed = [], None


def add_token(path: str | Path, name: str, may_write: bool) -> str:
    """Make a token, keep its hash in the file, and return its secret."""
    path = Path(path)
    if not name.strip() or not name.isprintable():
        raise TokenError(f"a token needs a printable name, got {name!r}")
    with locked(path.parent):
        return _add_token(path, name, may_write)


def _add_token(path: Path, name: str, may_write: bool) -> str:
    tokens = read_tokens(path) if path.exists() else []
    if any(token.name == name for token in tokens):
        raise TokenError(
            f"{path} already has a token {name!r}; revoke it or take another name"
        )
    secret, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_hex(16)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fresh = Token(name, salt, _hash(salt, secret), may_write, created)
    _write(path, [*tokens, fresh])
    return secret


def revoke_token(path: str | Path, name: str) -> None:
    """Remove the hash of a token from the file."""
    path = Path(path)
    read_tokens(path)  # before a folder is made for nothing
    with locked(path.parent):
        tokens = read_tokens(path)
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            known = ", ".join(token.name for token in tokens) or "none"
            raise TokenError(f"{path} has no token {name!r}; it has: {known}")
        _write(path, kept)


def read_tokens(path: Path) -> list[Token]:
    """All tokens of a file."""
    check_regular(path)
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            # Windows has no such modes: there the folder decides.
            if os.name == "posix" and mode & 0o077:
                raise TokenError(f"{path} is open to other users: chmod 600 {path}")
            content = json.load(file)
        if content["format"] != FORMAT:
            raise TokenError(f"{path} has format {content['format']!r}, not {FORMAT}")
        return [Token(**values) for values in content["tokens"]]
    except FileNotFoundError as error:
        raise TokenError(
            f"no token file {path}: make one with onelook token {path} --name NAME"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenError(f"{path} cannot be read as a token file: {error!r}") from error


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode("utf-8", "replace")).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Values that change with the file or its mode; None without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ctime_ns, status.st_ino, status.st_size


def _write(path: Path, tokens: list[Token]) -> None:
    content = {"format": FORMAT, "tokens": [asdict(token) for token in tokens]}
    write_whole(path, json.dumps(content, indent=1) + "\n", mode=PRIVATE)
