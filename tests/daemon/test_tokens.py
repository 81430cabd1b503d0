from __future__ import annotations

import base64
import contextlib
import hmac
import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from nexus.daemon.keys import KeyFile, MemoryKeys
from nexus.daemon.principal import ALL_SCOPES, Scope
from nexus.daemon.revocation import MAX_REVOKED, MemoryRevocations, RevocationFile
from nexus.daemon.session import Session
from nexus.daemon.tokens import GRACE, LEEWAY, LONGEST_LIFE, MAX_LENGTH, Tokens
from nexus.errors import InvalidArgument, ScopeDenied, StateError, TokenExpired, Unauthenticated
from nexus.testing.clock import ManualClock


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def part(value: object) -> str:
    return encoded(json.dumps(value).encode())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(clock: ManualClock) -> MemoryKeys:
    return MemoryKeys(clock)


@pytest.fixture
def tokens(keys: MemoryKeys, clock: ManualClock) -> Tokens:
    return Tokens(keys, MemoryRevocations(clock), clock)


@pytest.fixture
def forge(keys: MemoryKeys, clock: ManualClock) -> Callable[..., str]:
    """Sign with the real key what the real issuer never would."""

    def make(headers: dict[str, object] | None = None, without: str = "", **claims: object) -> str:
        key = keys.ensure().current
        now = int(clock.now().timestamp())
        said: dict[str, object] = {
            "iss": "nexus",
            "aud": f"nexus:{keys.ensure().install}",
            "sub": "me",
            "jti": f"{key.kid}-1",
            "iat": now,
            "exp": now + 60,
            "scope": "exec",
            "ws": "*",
        }
        said |= claims
        said.pop(without, None)
        header = {"alg": "HS256", "typ": "nexus+jwt", "kid": key.kid, **(headers or {})}
        text = f"{part(header)}.{part(said)}"
        return f"{text}.{encoded(hmac.digest(key.secret, text.encode(), 'sha256'))}"

    return make


def test_a_token_says_what_it_was_issued_for(tokens: Tokens, clock: ManualClock) -> None:
    issued = tokens.issue(subject="ann", scopes=["exec", Scope.FS_READ], workspaces=["a", "b"], ttl="30m")

    who = tokens.verify(issued.token)

    assert who.subject == "ann"
    assert who.scopes == {Scope.EXEC, Scope.FS_READ}
    assert who.workspaces == frozenset({"a", "b"})
    assert who.token_id == issued.token_id
    assert who.expires_at == issued.expires_at
    assert timedelta(minutes=29) < issued.expires_at - clock.now() <= timedelta(minutes=30)


def test_the_forger_can_make_a_good_one(tokens: Tokens, forge: Callable[..., str]) -> None:
    assert tokens.verify(forge()).subject == "me"


def test_a_token_never_shows_itself(tokens: Tokens) -> None:
    issued = tokens.issue(subject="ann", scopes=ALL_SCOPES)

    assert issued.token not in f"{issued!r} {issued}"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "someone"},
        {"aud": "nexus:0000000000000000"},
        {"aud": ["nexus:0000000000000000"]},
        {"sub": ""},
        {"sub": 3},
        {"exp": "9999999999"},
        {"exp": 9999999999},
        {"exp": 1e300},
        {"ws": "a"},
        {"ws": [1]},
        {"scope": ["exec"]},
        {"jti": "another-1"},
        {"more": "claims"},
    ],
    ids=str,
)
def test_a_claim_that_we_would_not_make_is_refused(
    tokens: Tokens, forge: Callable[..., str], claims: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated):
        tokens.verify(forge(**claims))


@pytest.mark.parametrize("name", ["exp", "iss", "aud", "sub", "jti", "iat", "scope", "ws"])
def test_every_claim_is_needed(tokens: Tokens, forge: Callable[..., str], name: str) -> None:
    with pytest.raises(Unauthenticated, match="no token of this installation"):
        tokens.verify(forge(without=name))


@pytest.mark.parametrize(
    "headers",
    [{"typ": "JWT"}, {"typ": None}, {"kid": "00000000"}, {"kid": None}, {"kid": 7}, {"crit": ["x"], "x": 1}],
    ids=str,
)
def test_a_header_that_we_would_not_write_is_refused(
    tokens: Tokens, forge: Callable[..., str], headers: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated):
        tokens.verify(forge(headers=headers))


def test_no_other_algorithm_is_spoken(tokens: Tokens, keys: MemoryKeys, forge: Callable[..., str]) -> None:
    key = keys.ensure().current
    body = forge().split(".")[1]
    header = {"typ": "nexus+jwt", "kid": key.kid}
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = jwt.decode(forge(), options={"verify_signature": False})
    confused = [
        f"{part({**header, 'alg': 'none'})}.{body}.",
        f"{part({**header, 'alg': 'None'})}.{body}.",
        f"{part({**header, 'alg': 'HS256'})}.{body}.",
        jwt.encode(claims, private, algorithm="RS256", headers=header),
        # The public key of somebody as the secret of HS256 (CVE-2022-29217), and an embedded key.
        jwt.encode(claims, base64.b64encode(public), algorithm="HS256", headers=header),
        jwt.encode(claims, b"x" * 32, algorithm="HS256", headers={**header, "jwk": {"kty": "oct", "k": "eHh4"}}),
        jwt.encode(claims, key.secret * 2, algorithm="HS512", headers=header),
    ]
    for token in confused:
        with pytest.raises(Unauthenticated, match="no token of this installation"):
            tokens.verify(token)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "x" * (MAX_LENGTH + 1), "\N{SNOWMAN}.a.b", "e30.e30.e30"])
def test_nonsense_is_refused_and_not_repeated(tokens: Tokens, text: str) -> None:
    tokens.issue(subject="me", scopes=["exec"])

    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(text)

    assert len(text) < 4 or text not in str(caught.value.to_json())
    assert caught.value.__cause__ is None


def test_every_changed_character_is_noticed(tokens: Tokens) -> None:
    token = tokens.issue(subject="me", scopes=["exec"]).token
    for position in range(0, len(token) - 1, 7):  # the last character's lowest bits carry nothing
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        with pytest.raises(Unauthenticated):
            tokens.verify(changed)


def test_secrets_are_compared_in_constant_time(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole signatures and whole tokens go to the one function that takes as long whatever differs."""
    compared: list[tuple[int, int]] = []
    honest = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return honest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    token = tokens.issue(subject="ann", scopes=["exec"]).token
    head, body, signature = token.split(".")
    for changed in (signature, "A" + signature[1:], signature[:-2] + "AA"):
        with contextlib.suppress(Unauthenticated):
            tokens.verify(f"{head}.{body}.{changed}")
    assert compared == [(32, 32)] * 3
    session = Session("ann")
    shown = session.renew_token()
    compared.clear()
    assert not session.spend("A" * len(shown))
    assert session.spend(shown)
    assert compared == [(len(shown), len(shown))] * 2


def test_the_other_end_of_a_tokens_life(tokens: Tokens, clock: ManualClock) -> None:
    issued = tokens.issue(subject="me", scopes=["exec"], ttl=60)
    clock.jump(timedelta(seconds=60) + LEEWAY - timedelta(seconds=2))
    who = tokens.verify(issued.token)
    clock.jump(timedelta(seconds=3))

    with pytest.raises(TokenExpired):
        tokens.verify(issued.token)

    tokens.check(who)  # what is open may still show a new one
    clock.jump(GRACE)
    with pytest.raises(TokenExpired):
        tokens.check(who)


def test_clocks_may_be_half_a_minute_apart(tokens: Tokens, clock: ManualClock) -> None:
    issued = tokens.issue(subject="me", scopes=["exec"])
    clock.jump(-LEEWAY + timedelta(seconds=1))
    assert tokens.verify(issued.token).subject == "me"
    clock.jump(-2)

    with pytest.raises(Unauthenticated, match="in the future"):
        tokens.verify(issued.token)


@pytest.mark.parametrize("ttl", [0, -1, LONGEST_LIFE + timedelta(seconds=1), "2d", "soon"])
def test_no_token_for_ever(tokens: Tokens, ttl: float | str | timedelta) -> None:
    with pytest.raises(InvalidArgument):
        tokens.issue(subject="me", scopes=["exec"], ttl=ttl)


def test_a_token_has_to_allow_something(tokens: Tokens) -> None:
    for scopes, workspaces in ([], ["a"]), (["root"], ["a"]), (["exec"], []):
        with pytest.raises(InvalidArgument):
            tokens.issue(subject="me", scopes=scopes, workspaces=workspaces)


def test_a_revoked_token_ends_at_once(tokens: Tokens) -> None:
    one, other = (tokens.issue(subject=name, scopes=["exec"]) for name in "ab")
    who = tokens.verify(one.token)
    tokens.revoke(one.token_id)

    for act in (lambda: tokens.verify(one.token), lambda: tokens.check(who)):
        with pytest.raises(Unauthenticated, match="revoked"):
            act()
    assert tokens.verify(other.token).subject == "b"


def test_a_rotation_leaves_tokens_until_the_next_one(tokens: Tokens) -> None:
    issued = tokens.issue(subject="me", scopes=["exec"])
    who = tokens.verify(issued.token)
    tokens.rotate()
    tokens.check(who)
    assert tokens.verify(issued.token) == who
    assert tokens.issue(subject="me", scopes=["exec"]).token_id[:8] != issued.token_id[:8]
    tokens.rotate()

    with pytest.raises(Unauthenticated):
        tokens.verify(issued.token)
    with pytest.raises(Unauthenticated, match="replaced"):
        tokens.check(who)


def test_a_rotation_that_forgets_ends_everything(tokens: Tokens) -> None:
    issued = tokens.issue(subject="me", scopes=["exec"])
    tokens.rotate(forget=True)

    with pytest.raises(Unauthenticated):
        tokens.verify(issued.token)


def test_revocations_are_forgotten_with_their_tokens_and_never_too_many(clock: ManualClock) -> None:
    revocations = MemoryRevocations(clock)
    for number in range(MAX_REVOKED):
        revocations.revoke(f"t{number}", clock.now() + timedelta(hours=1))
    with pytest.raises(StateError, match="4096 tokens"):
        revocations.revoke("one-more", clock.now() + timedelta(hours=1))
    clock.jump(timedelta(hours=2))
    revocations.revoke("one-more", clock.now() + timedelta(hours=1))

    assert revocations.has("one-more")
    assert not revocations.has("t1")


def test_what_a_principal_may_do(tokens: Tokens) -> None:
    who = tokens.verify(tokens.issue(subject="me", scopes=["exec"], workspaces=["a", "id-b"]).token)

    who.require(Scope.EXEC)
    who.require_workspace("a", "id-a")
    who.require_workspace("b", "id-b")
    with pytest.raises(ScopeDenied) as scope:
        who.require(Scope.ADMIN)
    with pytest.raises(ScopeDenied, match="'c'"):
        who.require_workspace("c", "id-c")
    assert scope.value.details["scope"] == "admin"


class TestFiles:
    def make(self, state: Path, clock: ManualClock) -> Tokens:
        return Tokens(KeyFile(state, clock), RevocationFile(state, clock), clock)

    def test_what_one_process_does_holds_for_another(self, tmp_path: Path, clock: ManualClock) -> None:
        mine, theirs = self.make(tmp_path / "d", clock), self.make(tmp_path / "d", clock)
        issued = theirs.issue(subject="me", scopes=["exec"])
        who = mine.verify(issued.token)
        theirs.revoke(issued.token_id)
        with pytest.raises(Unauthenticated, match="revoked"):
            mine.check(who)
        second = mine.issue(subject="me", scopes=["exec"])
        theirs.rotate(forget=True)

        with pytest.raises(Unauthenticated):
            mine.verify(second.token)

    def test_only_the_owner_reads_them(self, tmp_path: Path, clock: ManualClock) -> None:
        tokens = self.make(tmp_path / "deep" / "d", clock)
        tokens.revoke(tokens.issue(subject="me", scopes=["exec"]).token_id)

        assert stat.S_IMODE((tmp_path / "deep" / "d").stat().st_mode) == 0o700
        for name in ("keys.json", "revoked.json"):
            assert stat.S_IMODE((tmp_path / "deep" / "d" / name).stat().st_mode) == 0o600

    def test_a_folder_that_others_enter_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d").chmod(0o750)

        with pytest.raises(StateError, match="open to other users"):
            self.make(tmp_path / "d", clock).issue(subject="me", scopes=["exec"])

    def test_links_are_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        (tmp_path / "real").mkdir(mode=0o700)
        (tmp_path / "d").symlink_to(tmp_path / "real")
        with pytest.raises(StateError, match="symbolic link"):
            self.make(tmp_path / "d", clock).issue(subject="me", scopes=["exec"])
        (tmp_path / "real" / "keys.json").symlink_to("/etc/hostname")

        with pytest.raises(StateError, match="symbolic link"):
            self.make(tmp_path / "real", clock).issue(subject="me", scopes=["exec"])

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_a_folder_of_somebody_else_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        (tmp_path / "d").mkdir(mode=0o700)
        os.chown(tmp_path / "d", 12345, 12345)

        with pytest.raises(StateError, match="uid 12345"):
            self.make(tmp_path / "d", clock).issue(subject="me", scopes=["exec"])

    @pytest.mark.parametrize("name", ["keys.json", "revoked.json"])
    def test_a_damaged_file_lets_nobody_in(self, tmp_path: Path, clock: ManualClock, name: str) -> None:
        tokens = self.make(tmp_path / "d", clock)
        issued = tokens.issue(subject="me", scopes=["exec"])
        who = tokens.verify(issued.token)
        (tmp_path / "d" / name).write_text('{"format":"nexus-canary"}')

        acts: list[Callable[[], object]] = [lambda: tokens.verify(issued.token), lambda: tokens.check(who)]
        for act in acts:
            with pytest.raises(Unauthenticated, match="no token can be verified") as caught:
                act()
            assert "canary" not in str(caught.value.to_json())

    def test_processes_that_start_together_agree_on_one_key(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(3) as pool:
            kids = pool.map(_kid, [tmp_path / "d"] * 6, chunksize=1)

        assert len(set(kids)) == 1


def _kid(state: Path) -> str:
    return KeyFile(state, ManualClock()).ensure().current.kid
