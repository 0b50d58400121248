"""Tokens: only hashes on disk, only for their owner, and gone when they are revoked."""

import json
import os
import stat
import subprocess
import sys

import pytest

from onelook.service import tokens as module
from onelook.service.tokens import (
    TokenError,
    Tokens,
    add_token,
    read_tokens,
    revoke_token,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


def test_a_token_is_found_by_its_secret_alone(path):
    reading, writing = add_token(path, "till", False), add_token(path, "office", True)
    tokens = Tokens(path)
    assert tokens.find(reading).name == "till"
    assert not tokens.find(reading).may_write
    assert tokens.find(writing).may_write
    for wrong in ("", reading[:-1], reading + "a", reading.upper(), "till", "\ud800"):
        assert tokens.find(wrong) is None


def test_only_salted_hashes_are_on_disk_for_the_owner_alone(path):
    first, second = add_token(path, "a", False), add_token(path, "b", False)
    text = path.read_text("utf-8")
    assert first not in text and second not in text
    rows = json.loads(text)["tokens"]
    assert len({row["salt"] for row in rows}) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The hash is that of the stated formula, worked out anew.
    import hashlib

    expected = hashlib.sha256((rows[0]["salt"] + first).encode()).hexdigest()
    assert rows[0]["sha256"] == expected
    assert len(first) >= 43  # 256 bits in base64


def test_tokens_made_at_the_same_time_are_all_kept(path):
    code = "import sys; from onelook.service.tokens import add_token as add; "
    code += "add(*sys.argv[1:], False)"
    makers = [
        subprocess.Popen([sys.executable, "-c", code, path, f"t{i}"]) for i in range(4)
    ]
    assert [maker.wait() for maker in makers] == [0] * 4
    assert sorted(token.name for token in read_tokens(path)) == ["t0", "t1", "t2", "t3"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_secrets_are_compared_in_constant_time(path, monkeypatch):
    for name in "abc":
        add_token(path, name, False)
    tokens, compared = Tokens(path), []
    original = module.hmac.compare_digest
    monkeypatch.setattr(
        module.hmac, "compare_digest", lambda a, b: compared.append(a) or original(a, b)
    )
    secret = add_token(path, "d", False)
    assert tokens.find(secret).name == "d"
    assert tokens.find("wrong") is None
    assert len(compared) == 8  # every token every time, no early end


def test_a_revoked_token_ends_at_once_and_a_new_one_begins(path):
    secret = add_token(path, "a", True)
    tokens = Tokens(path)
    assert tokens.find(secret)
    other = add_token(path, "b", False)
    assert tokens.find(other).name == "b"
    revoke_token(path, "a")
    assert tokens.find(secret) is None
    assert tokens.find(other)


def test_a_file_that_is_lost_or_open_to_others_lets_no_request_in(path):
    secret = add_token(path, "a", False)
    tokens = Tokens(path)
    os.chmod(path, 0o644)
    assert tokens.find(secret) is None
    with pytest.raises(TokenError, match="open to other users: chmod 600"):
        Tokens(path)
    os.chmod(path, 0o600)
    assert tokens.find(secret)
    path.rename(path.with_suffix(".away"))
    assert tokens.find(secret) is None


def test_names_are_checked(path):
    add_token(path, "a", False)
    with pytest.raises(TokenError, match="already has a token 'a'"):
        add_token(path, "a", False)
    with pytest.raises(TokenError, match="no token 'x'; it has: a"):
        revoke_token(path, "x")
    with pytest.raises(TokenError, match="printable name, got ''"):
        add_token(path, "", False)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2, "tokens": []}', "\xff"])
def test_a_damaged_file_is_refused(path, text):
    path.touch(0o600)
    path.write_text(text, "latin-1")
    with pytest.raises(TokenError):
        read_tokens(path)


def test_a_missing_file_says_how_to_make_one(path):
    with pytest.raises(TokenError, match="onelook token .* --name NAME"):
        Tokens(path)


def test_nothing_is_left_behind_by_a_failed_write(path, monkeypatch):
    secret = add_token(path, "a", False)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        add_token(path, "b", False)
    assert [file.name for file in path.parent.iterdir()] == ["tokens.json"]
    assert Tokens(path).find(secret)
