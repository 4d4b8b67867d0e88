"""The shapes of the secrets that the kit knows, as Pydantic models that show no value.

Keys that a model does not name are kept, hidden as well (`model_extra`). Where a value is shown to nobody it is a
`Secret`: `credentials.password.get_secret_value()`. Pickling is refused.
"""

from __future__ import annotations

import copy
from typing import Any, Literal, NoReturn, SupportsIndex

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Secret, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from tegata_credentials.rotation.signing_ring import PUBLIC_MEMBERS, published_jwk


class SecretModel(BaseModel):
    """What a secret holds. Derive your own models from it: hidden values, hidden input in errors, no pickling.

    >>> class Mail(SecretModel):
    ...     user: str
    ...     password: SecretStr
    >>> Mail.model_validate({"user": "post", "password": "hidden", "note": "hidden too"})
    Mail(user='post', password=SecretStr('**********'), note=Secret('**********'))
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True, validate_by_name=True)
    __pydantic_extra__: dict[str, Secret[Any]]

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is not pickled: it stays in the memory of one process")


class Login(SecretModel):
    """A user and a password: all that a login needs, and all that RDS writes into the secrets it manages itself.

    >>> Login.model_validate({"username": "app_a", "password": "hidden"})
    Login(username='app_a', password=SecretStr('**********'))
    """

    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)


class DatabaseCredentials(Login):
    """The secret of a PostgreSQL database, in the shape that AWS's own rotation functions use as well.

    >>> database = DatabaseCredentials.model_validate({
    ...     "username": "app_a", "password": "hidden", "engine": "postgres", "host": "writer.example.com",
    ...     "port": 5432, "dbname": "app", "readerHost": "reader.example.com"})
    >>> database.reader_host, database.reader_port, "hidden" in repr(database)
    ('reader.example.com', None, False)
    """

    engine: Literal["postgres"] = "postgres"
    host: str = Field(min_length=1)
    port: int = Field(default=5432, ge=1, le=65535)
    dbname: str = Field(min_length=1)
    db_cluster_identifier: str | None = Field(default=None, alias="dbClusterIdentifier")
    master_arn: str | None = Field(default=None, alias="masterarn")
    """The administrator's secret, with which a rotation works."""
    reader_host: str | None = Field(default=None, alias="readerHost")
    reader_port: int | None = Field(default=None, alias="readerPort", ge=1, le=65535)
    """None: that of the writer."""
    sslrootcert: str | None = None


class SigningKey(SecretModel):
    """One key of the ring: `next` is published already, `active` signs, `previous` only verifies.

    >>> key = SigningKey.model_validate({"kid": "k1", "state": "active", "since": "2026-11-21T00:00:00Z",
    ...     "jwk": {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "d": "hidden"}})
    >>> key.public_jwk()
    {'kty': 'EC', 'crv': 'P-256', 'x': 'eA', 'y': 'eQ', 'kid': 'k1', 'use': 'sig'}
    """

    kid: str = Field(min_length=1)
    state: Literal["next", "active", "previous"]
    since: AwareDatetime
    jwk: Secret[dict[str, Any]]

    @model_validator(mode="after")
    def _check_jwk(self) -> SigningKey:
        jwk = self.jwk.get_secret_value()
        names = PUBLIC_MEMBERS.get(str(jwk.get("kty")))
        if names is None:
            raise PydanticCustomError("not_a_key_pair", "a signing key is of type EC, RSA or OKP")
        if not all(isinstance(jwk.get(name), str) for name in names):
            raise PydanticCustomError("public_part_incomplete", "the public part of the key is not complete")
        if self.state != "previous" and not isinstance(jwk.get("d"), str):
            raise PydanticCustomError("private_part_missing", "a key that signs needs its private part")
        return self

    def public_jwk(self, algorithm: str | None = None) -> dict[str, str]:
        """Return the public part only, RFC 7517 §4. `algorithm` is for a key that does not name its own."""
        return published_jwk(self.kid, self.jwk.get_secret_value(), algorithm)

    def private_jwk(self) -> dict[str, Any]:
        """Return a copy of the whole key, for the library that signs."""
        return copy.deepcopy(self.jwk.get_secret_value()) | {"kid": self.kid}


class JwtSecret(SecretModel):
    """The keys that sign tokens: a ring of key pairs, of which the public halves are published.

    >>> jwt = JwtSecret.model_validate({"algorithm": "ES256", "issuer": "https://id.example.com", "expiresIn": "24h",
    ...     "keys": [{"kid": "k1", "state": "active", "since": "2026-11-21T00:00:00Z",
    ...               "jwk": {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "d": "hidden"}}]})
    >>> jwt.active.kid, [key["kid"] for key in jwt.jwks()["keys"]], jwt.is_shared
    ('k1', ['k1'], False)

    The older shape `{"secret", "algorithm": "HS256", "issuer", "expiresIn"}` is still read, so that a service can move
    away from it; `is_shared` tells. It is not to be used on: with a shared secret everybody who can verify a token can
    also make one, and it cannot be replaced without a moment at which good tokens are refused, because no second
    secret is valid beside it.
    """

    algorithm: str = Field(min_length=1)
    issuer: str | None = None
    expires_in: str | int | None = Field(default=None, alias="expiresIn")
    keys: tuple[SigningKey, ...] = ()
    upcoming_keys: tuple[SigningKey, ...] = Field(default=(), alias="upcomingKeys")
    """Published while the older shape is still in use, for the day on which the first of them signs."""
    secret: SecretStr | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_keys(self) -> JwtSecret:
        if bool(self.keys) == (self.secret is not None):
            raise PydanticCustomError("either_keys_or_secret", "either keys or a shared secret")
        if self.algorithm.startswith("HS") != self.is_shared:
            raise PydanticCustomError("algorithm_of_another_kind", "the algorithm does not go with the keys")
        published = (*self.keys, *self.upcoming_keys)
        if len({key.kid for key in published}) != len(published):
            raise PydanticCustomError("kid_twice", "two keys have one kid")
        if self.keys and sum(key.state == "active" for key in self.keys) != 1:
            raise PydanticCustomError("not_one_active_key", "exactly one key is active")
        return self

    @property
    def is_shared(self) -> bool:
        """Whether this is the older shape with one secret for everybody."""
        return self.secret is not None

    @property
    def active(self) -> SigningKey:
        """The key that signs. Raises `LookupError` for a shared secret."""
        return next((key for key in self.keys if key.state == "active"), None) or _no_key()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the key set to publish, RFC 7517 §5: public halves only, and nothing of a shared secret.

        The same as `rotation.signing_ring.published_keys` of the document.
        """
        return {"keys": [key.public_jwk(self.algorithm) for key in (*self.keys, *self.upcoming_keys)]}


def _no_key() -> NoReturn:
    raise LookupError("a shared secret has no active key: see JwtSecret")


class Bedrock(SecretModel):
    """Where a model of Amazon Bedrock is called.

    >>> Bedrock.model_validate({"region": "ap-northeast-1", "modelId": "amazon.nova-micro-v1:0"}).model_id
    'amazon.nova-micro-v1:0'
    """

    region: str
    model_id: str = Field(alias="modelId")


class Ses(SecretModel):
    """How Amazon SES sends mail.

    >>> Ses.model_validate({"region": "ap-northeast-1", "fromEmail": "noreply@example.com"}).from_email
    'noreply@example.com'
    """

    region: str
    from_email: str = Field(alias="fromEmail")
    reply_to_email: str | None = Field(default=None, alias="replyToEmail")


class ExternalApiCredentials(SecretModel):
    """What other services are called with. Every further provider is kept, with hidden values.

    >>> apis = ExternalApiCredentials.model_validate({
    ...     "bedrock": {"region": "ap-northeast-1", "modelId": "amazon.nova-micro-v1:0"},
    ...     "payments": {"apiKey": "hidden"}})
    >>> apis.ses is None, apis.provider("payments")
    (True, Secret('**********'))

    Regions, model names and sender addresses are not secret and belong into the settings; they are read here because
    existing secrets hold them.
    """

    bedrock: Bedrock | None = None
    ses: Ses | None = None

    def provider(self, name: str) -> Secret[Any]:
        """Return what is kept for another provider. Raises `KeyError`."""
        return self.__pydantic_extra__[name]


__all__ = [
    "Bedrock",
    "DatabaseCredentials",
    "ExternalApiCredentials",
    "JwtSecret",
    "Login",
    "SecretModel",
    "Ses",
    "SigningKey",
]
