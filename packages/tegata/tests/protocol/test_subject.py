"""Subject identifiers: one for each sector and tenant, always the same (OIDC Core §8)."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.identifiers import UserId
from tegata.protocol.client import ClientMetadata
from tegata.protocol.subject import problem_with_sector, sector_of, subject_for

SALT, OTHER_SALT = b"s" * 32, b"t" * 32
ANNA, BERT = UserId(UUID(int=1)), UserId(UUID(int=2))
PUBLIC = ClientMetadata()


def pairwise(*redirect_uris: str, sector: str | None = None) -> ClientMetadata:
    return ClientMetadata(subject_type="pairwise", redirect_uris=redirect_uris, sector_identifier_uri=sector)


def subject(user: UserId, client: ClientMetadata, salt: bytes = SALT) -> str:
    return subject_for(user, client, pairwise_salt=salt)


def test_a_public_subject_is_the_same_for_every_client() -> None:
    assert subject(ANNA, PUBLIC) == subject(ANNA, ClientMetadata(redirect_uris=("https://a.example/",)), OTHER_SALT)
    assert subject(ANNA, PUBLIC) != subject(BERT, PUBLIC)


def test_a_pairwise_subject_is_kept_over_clients_of_one_sector() -> None:
    """§8.1: the host, not the whole URI."""
    one = subject(ANNA, pairwise("https://rp.example/cb"))
    assert one == subject(ANNA, pairwise("https://rp.example:8443/other", "https://rp.example/2"))
    assert one == subject(ANNA, pairwise("https://elsewhere.example/", sector="https://rp.example/sector.json"))
    assert one == subject(ANNA, pairwise("https://RP.example/cb"))


@pytest.mark.parametrize(
    ("user", "client", "salt"),
    [
        pytest.param(BERT, pairwise("https://rp.example/cb"), SALT, id="another user"),
        pytest.param(ANNA, pairwise("https://other.example/cb"), SALT, id="another sector"),
        pytest.param(ANNA, pairwise("https://rp.example.other/cb"), SALT, id="a sector that begins alike"),
        pytest.param(ANNA, pairwise("https://rp.example/cb"), OTHER_SALT, id="another tenant"),
        pytest.param(ANNA, PUBLIC, SALT, id="a public client"),
    ],
)
def test_a_pairwise_subject_differs_for(user: UserId, client: ClientMetadata, salt: bytes) -> None:
    assert subject(user, client, salt) != subject(ANNA, pairwise("https://rp.example/cb"))


@given(st.uuids(), st.text(st.sampled_from("abcdefghij"), min_size=1))
def test_a_pairwise_subject_tells_neither_user_nor_sector_and_fits_255_characters(user: UUID, host: str) -> None:
    found = subject(UserId(user), pairwise(f"https://{host}.example/cb"))
    assert len(found) == 43
    assert found.isascii()
    assert str(user) not in found
    assert user.hex not in found


def test_a_private_use_scheme_is_its_own_sector() -> None:
    assert sector_of(pairwise("com.example.app:/cb")) == "com.example.app:/cb"


@pytest.mark.parametrize(
    "client",
    [
        ClientMetadata(redirect_uris=("https://a.example/", "https://b.example/")),
        pairwise("https://a.example/1", "https://A.example:8443/2"),
        pairwise("https://a.example/", "https://b.example/", sector="https://a.example/sector.json"),
        pairwise("com.example.app:/cb"),
        pairwise(),
    ],
)
def test_the_sector_is_defined(client: ClientMetadata) -> None:
    assert problem_with_sector(client) is None


@pytest.mark.parametrize(
    "client",
    [
        pairwise("https://a.example/", "https://b.example/"),
        pairwise("https://a.example/", "com.example.app:/cb"),
        pairwise("com.example.app:/cb", "com.example.other:/cb"),
    ],
)
def test_the_sector_is_not_defined(client: ClientMetadata) -> None:
    """§8.1: with several hosts the order of the URIs would decide."""
    assert problem_with_sector(client) is not None
