"""Signing keys are made, published, tried and waited for; a shared secret gives way to them in two rotations."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import timedelta
from typing import Any

import jwt
import pytest
from joserfc.jwk import JWKRegistry

from tegata_credentials.errors import SecretMalformed
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.errors import NotYet, TestFailed
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.ports import Versions
from tegata_credentials.rotation.signing_keys import SigningKeys, fetch_jwks
from tegata_credentials.rotation.signing_ring import published_keys
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.secret_service.models import JwtSecret
from tegata_credentials.testing.web import Answer, LoopbackServer, Request
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PREVIOUS, SecretVersion

NAME = "shop-test-secret-jwt"
WAIT = 300 + 300 + 60
SHARED = "c2hhcmVkLXNlY3JldC1vZi0yNTYtYml0cy1vci1tb3Jl"
SEED = {"secret": SHARED, "algorithm": "HS256", "issuer": "shop", "expiresIn": "24h"}


class Issuer:
    """A secret in a directory, rotated by the clock of the test."""

    def __init__(self, directory: Any, value: object, **options: Any) -> None:
        self.time = 1_790_000_000.0
        self.store = FileVersions(directory, now=lambda: self.time)
        self.store.create(NAME, HiddenText(value if isinstance(value, str) else json.dumps(value)))
        self.configure(**options)

    def configure(self, **options: Any) -> None:
        self.strategy = SigningKeys(**{"now": lambda: self.time} | options)
        rotation = Rotation(self.store, {NAME: self.strategy})
        self.driver = RotationDriver(self.store, rotation, pause=self.wait, now=lambda: self.time)

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def rotate(self) -> dict[str, Any]:
        outcome = self.driver.rotate(NAME)
        if not outcome.is_finished:
            assert outcome.retry_after is not None
            self.wait(outcome.retry_after)
            outcome = self.driver.rotate(NAME)
        assert outcome.state == "rotated"
        return self.document()

    def document(self, label: str = CURRENT) -> dict[str, Any]:
        return self.store.read(NAME, stage=label).document()

    def states(self) -> dict[str, str]:
        return {key["kid"]: key["state"] for key in self.document()["keys"]}


def sign(document: dict[str, Any]) -> str:
    """Sign as a service does that uses another library than we do."""
    if document["algorithm"].startswith("HS"):
        return jwt.encode({"sub": "somebody"}, document["secret"], document["algorithm"])
    active = next(key for key in document["keys"] if key["state"] == "active")
    key = jwt.PyJWK(active["jwk"])
    return jwt.encode({"sub": "somebody"}, key.key, document["algorithm"], {"kid": active["kid"]})


def is_good(token: str, jwks: dict[str, Any]) -> bool:
    kid = jwt.get_unverified_header(token).get("kid")
    found = [key for key in jwks["keys"] if key["kid"] == kid]
    if not found:
        return False
    jwt.decode(token, jwt.PyJWK(found[0]).key, algorithms=[found[0]["alg"]])
    return True


@pytest.fixture
def issuer(tmp_path: Any) -> Issuer:
    made = Issuer(tmp_path / "secrets", "", issuer="https://id.example.com", algorithm="EdDSA")
    made.rotate()
    return made


def test_a_life_that_is_shortened_by_hand_ends_no_token_that_lives_longer(issuer):
    """Two versions later neither label holds the longer life any more."""
    signed = next(kid for kid, state in issuer.states().items() if state == "active")
    current = issuer.store.labels(NAME).holder(CURRENT)
    issuer.store.put_pending(NAME, "by-hand", HiddenText(json.dumps(issuer.document() | {"expiresIn": "5m"})))
    issuer.store.promote(NAME, "by-hand", replacing=current)
    stopped = issuer.time
    while issuer.time < stopped + 23 * 3600:
        issuer.rotate()
        assert issuer.states()[signed] == "previous"
        issuer.wait(4 * 3600)
    issuer.wait(4 * 3600)
    issuer.rotate()
    assert signed not in issuer.states()


@pytest.mark.parametrize("empty", ["", "  \n", "{}"])
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
def test_an_empty_secret_gets_a_ring_at_once_that_a_service_can_use(tmp_path, algorithm, empty):
    issuer = Issuer(tmp_path / "secrets", empty, issuer="https://id.example.com", algorithm=algorithm)
    assert issuer.driver.rotate(NAME).state == "rotated"
    document = issuer.document()
    assert (document["algorithm"], document["issuer"], document["expiresIn"]) == (
        algorithm,
        "https://id.example.com",
        "24h",
    )
    assert sorted(issuer.states().values()) == ["active", "next"]
    service = JwtSecret.model_validate(document)
    assert service.jwks() == published_keys(document)
    assert is_good(sign(document), service.jwks())


def test_each_key_is_published_with_its_own_algorithm_while_that_of_the_issuer_changes(issuer):
    tokens = [sign(issuer.document())]
    issuer.configure(algorithm="ES256")
    for _ in range(3):
        document = issuer.rotate()
        tokens.append(sign(document))
        published = JwtSecret.model_validate(document).jwks()
        assert published == published_keys(document)
        assert all(is_good(token, published) for token in tokens)
    assert {jwk["alg"] for jwk in published["keys"]} == {"EdDSA", "ES256"}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
def test_a_key_is_named_by_its_thumbprint_and_bound_to_its_algorithm(tmp_path, algorithm):
    issuer = Issuer(tmp_path / "secrets", "", algorithm=algorithm)
    for key in issuer.rotate()["keys"]:
        assert key["kid"] == key["jwk"]["kid"] == JWKRegistry.import_key(key["jwk"]).thumbprint()
        assert (key["jwk"]["alg"], key["jwk"]["use"]) == (algorithm, "sig")


def test_what_else_stands_in_the_secret_is_kept(tmp_path):
    issuer = Issuer(tmp_path / "secrets", {"issuer": "https://id.example.com", "expiresIn": 3600, "note": "ours"})
    for _ in range(3):
        document = issuer.rotate()
    assert (document["issuer"], document["expiresIn"], document["note"]) == ("https://id.example.com", 3600, "ours")


def test_the_next_key_signs_only_when_every_verifier_has_read_it(issuer):
    before, begun = issuer.states(), issuer.time
    issuer.wait(10)
    outcome = issuer.driver.rotate(NAME)
    assert (outcome.state, outcome.step, outcome.retry_after) == ("waiting", "testSecret", WAIT - 10)
    assert issuer.states() == before
    issuer.time = begun + WAIT - 1
    assert issuer.driver.rotate(NAME).state == "waiting"
    issuer.time = begun + WAIT
    assert issuer.driver.rotate(NAME).state == "rotated"
    after = issuer.states()
    assert {(before[kid], after[kid]) for kid in before} == {("next", "active"), ("active", "previous")}
    assert sorted(after.values()) == ["active", "next", "previous"]


def test_a_version_that_was_long_current_needs_no_wait_if_the_store_knows(issuer):
    issuer.wait(WAIT)
    assert issuer.driver.rotate(NAME).state == "rotated"


def test_if_the_store_does_not_know_the_wait_begins_with_the_new_version(issuer):
    current = issuer.store.read(NAME)
    issuer.wait(30 * 86_400)
    text = issuer.strategy.create(Versions(NAME, "second", current, None, None))
    versions = Versions(NAME, "second", current, None, SecretVersion(NAME, "second", text))
    issuer.wait(10)
    with pytest.raises(NotYet) as early:
        issuer.strategy.test(versions)
    assert early.value.retry_after == pytest.approx(WAIT - 10)
    issuer.wait(WAIT - 10)
    issuer.strategy.test(versions)


def test_ages_and_skew_are_waited_for_as_they_are_set(issuer):
    issuer.configure(
        jwks_age=timedelta(minutes=10), secret_age=timedelta(minutes=2), skew=timedelta(seconds=5), algorithm="EdDSA"
    )
    assert issuer.driver.rotate(NAME).retry_after == 10 * 60 + 2 * 60 + 5


def test_a_previous_key_stays_until_no_token_of_it_lives_and_then_goes(issuer):
    first = next(kid for kid, state in issuer.states().items() if state == "active")
    issuer.wait(WAIT)
    issuer.rotate()
    replaced, life = issuer.time, 24 * 3600 + WAIT
    issuer.time = replaced + life - 1
    issuer.rotate()
    assert issuer.states()[first] == "previous"
    assert [key["jwk"].get("d") for key in issuer.document()["keys"] if key["kid"] == first] == [None]
    issuer.time += WAIT
    issuer.rotate()
    assert first not in issuer.states()


def test_a_longer_life_of_tokens_keeps_keys_longer(issuer):
    issuer.configure(token_life=timedelta(days=3), algorithm="EdDSA")
    first = next(kid for kid, state in issuer.states().items() if state == "active")
    for _ in range(3):
        issuer.wait(24 * 3600)
        issuer.rotate()
        assert issuer.states()[first] == "previous"


def test_the_eleventh_key_waits_for_the_oldest(issuer):
    for _ in range(8):
        issuer.wait(WAIT)
        issuer.rotate()
    assert len(issuer.states()) == 10
    issuer.wait(WAIT)
    outcome = issuer.driver.rotate(NAME)
    assert (outcome.state, outcome.step) == ("waiting", "createSecret")
    issuer.wait(outcome.retry_after or 0)
    assert issuer.driver.rotate(NAME).state == "rotated"
    assert len(issuer.states()) == 10


def test_an_algorithm_changes_with_the_key_that_is_next(issuer):
    issuer.configure(algorithm="ES256")
    tokens, algorithms = [sign(issuer.document())], []
    for _ in range(3):
        issuer.wait(WAIT)
        document = issuer.rotate()
        algorithms.append(document["algorithm"])
        tokens.append(sign(document))
        # Whatever it was signed with, everything is still good by what is published now.
        assert all(is_good(token, published_keys(document)) for token in tokens)
    assert algorithms == ["EdDSA", "ES256", "ES256"]


def test_a_key_that_the_world_does_not_see_does_not_sign(issuer):
    world: dict[str, Any] = {"keys": []}
    issuer.configure(published=lambda: world, algorithm="EdDSA")
    issuer.wait(WAIT)
    with pytest.raises(TestFailed, match="is not in what is published"):
        issuer.driver.rotate(NAME)
    assert sorted(issuer.states().values()) == ["active", "next"]
    world |= published_keys(issuer.document())
    assert issuer.driver.rotate(NAME).state == "rotated"


def test_another_key_of_the_same_name_is_not_taken_for_it(issuer, tmp_path):
    other = Issuer(tmp_path / "other", "", algorithm="EdDSA").rotate()["keys"][0]["jwk"]
    upcoming = next(kid for kid, state in issuer.states().items() if state == "next")
    issuer.configure(published=lambda: {"keys": [other | {"kid": upcoming}]}, algorithm="EdDSA")
    issuer.wait(WAIT)
    with pytest.raises(TestFailed, match="does not verify"):
        issuer.driver.rotate(NAME)


def test_a_key_that_was_never_published_does_not_sign(issuer):
    current, stranger = (
        issuer.store.read(NAME),
        issuer.strategy.create(Versions(NAME, "other", SecretVersion(NAME, "empty", HiddenText("{}")), None, None)),
    )
    issuer.wait(10 * WAIT)
    with pytest.raises(TestFailed, match="is not in AWSCURRENT"):
        issuer.strategy.test(Versions(NAME, "other", current, None, SecretVersion(NAME, "other", stranger)))


@pytest.mark.anyio
async def test_the_address_of_a_jwks_is_asked_like_anybody_would(issuer):
    async def answer(request: Request) -> Answer:
        return Answer(content=published_keys(issuer.document()))

    server = LoopbackServer(answer)
    await server.open()
    try:
        url = f"http://127.0.0.1:{server.port}/jwks"
        issuer.configure(jwks_url=url, algorithm="EdDSA")
        issuer.wait(WAIT)
        assert (await asyncio.to_thread(issuer.driver.rotate, NAME)).state == "rotated"
        assert await asyncio.to_thread(fetch_jwks, url) == published_keys(issuer.document())
    finally:
        await server.close()


def test_an_address_that_does_not_answer_is_a_failed_test():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TestFailed, match="cannot be read: URLError"):
        fetch_jwks(f"http://127.0.0.1:{port}/jwks")
    with pytest.raises(TestFailed, match="not one of HTTP"):
        fetch_jwks("file:///etc/passwd")


def test_a_rollback_signs_with_the_key_before_which_everybody_still_knows(issuer):
    issuer.wait(WAIT)
    old = sign(issuer.document())
    issuer.rotate()
    new = sign(issuer.document())
    assert issuer.driver.rollback(NAME).state == "returned"
    jwks = published_keys(issuer.document())
    assert is_good(old, jwks)
    assert is_good(new, jwks)
    assert is_good(sign(issuer.document()), published_keys(issuer.document(PREVIOUS)))
    issuer.wait(WAIT)
    issuer.rotate()
    assert is_good(new, published_keys(issuer.document()))


def test_the_status_tries_every_key_that_could_sign(issuer):
    issuer.wait(WAIT)
    issuer.rotate()
    assert issuer.driver.rotate(NAME).state == "waiting"
    assert [(found.label, found.works) for found in issuer.driver.status(NAME).labels] == [
        ("AWSCURRENT", True),
        ("AWSPENDING", None),
        ("AWSPREVIOUS", True),
    ]


def test_a_shared_secret_gives_way_in_two_rotations_and_no_token_is_refused(tmp_path):
    issuer = Issuer(tmp_path / "secrets", SEED)
    assert [found.works for found in issuer.driver.status(NAME).labels] == [True]
    shared = sign(issuer.document())

    first = issuer.rotate()
    # Whoever reads the secret as the seed writes it goes on as before, while verifiers learn to read the JWKS.
    assert {name: first[name] for name in SEED} == SEED
    assert JwtSecret.model_validate(first).is_shared
    assert [key["state"] for key in first["upcomingKeys"]] == ["next"]
    early = published_keys(first)
    assert JwtSecret.model_validate(first).jwks() == early

    assert issuer.driver.rotate(NAME).state == "waiting"
    second = issuer.rotate()
    assert second["algorithm"] == "ES256"
    assert "secret" not in second
    assert JwtSecret.model_validate(second).active.kid == early["keys"][0]["kid"]
    # The first token of the new kind is good by what was published before, the last ones of the old kind by the secret.
    assert is_good(sign(second), early)
    jwt.decode(shared, second["previousSecret"]["secret"], algorithms=[second["previousSecret"]["algorithm"]])

    issuer.wait(3600)
    assert issuer.rotate()["previousSecret"]["secret"] == SEED["secret"]
    issuer.wait(24 * 3600)
    assert "previousSecret" not in issuer.rotate()
    assert SEED["secret"] not in json.dumps(published_keys(second)) + json.dumps(published_keys(first))


def test_the_way_back_to_a_shared_secret_is_open_while_verifiers_have_it(tmp_path):
    issuer = Issuer(tmp_path / "secrets", SEED)
    issuer.rotate()
    issuer.rotate()
    issuer.driver.rollback(NAME)
    assert issuer.document()["secret"] == SEED["secret"]
    issuer.rotate()
    assert issuer.document()["algorithm"] == "ES256"
    forgotten = issuer.document() | {"previousSecret": {"secret": "another"}}
    versions = Versions(
        NAME,
        "x",
        SecretVersion(NAME, "x", HiddenText(json.dumps(forgotten))),
        issuer.store.read(NAME, stage=PREVIOUS),
        None,
    )
    with pytest.raises(TestFailed, match="shared secret"):
        issuer.strategy.may_return_to(versions)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no json", "is not a JSON object"),
        ({"keys": "none"}, "keys is no ring of signing keys"),
        ({"keys": [], "expiresIn": "soon"}, "expiresIn is no time like 3600 or 24h"),
    ],
)
def test_a_secret_that_makes_no_sense_is_left_alone(tmp_path, value, told):
    issuer = Issuer(tmp_path / "secrets", value)
    before = issuer.store.read(NAME)
    with pytest.raises(SecretMalformed, match=told):
        issuer.driver.rotate(NAME)
    assert issuer.store.read(NAME).version == before.version


def test_no_private_key_is_in_any_repr_or_error(issuer):
    issuer.wait(WAIT)
    private = [key["jwk"]["d"] for key in issuer.document()["keys"]]
    issuer.configure(published=lambda: {"keys": [{"kid": kid} for kid in issuer.states()]}, algorithm="EdDSA")
    with pytest.raises(TestFailed) as failed:
        issuer.driver.rotate(NAME)
    told = [repr(issuer.strategy), repr(failed.value), str(failed.value), repr(issuer.driver.status(NAME))]
    assert not [secret for secret in private if secret in "".join(told)]
