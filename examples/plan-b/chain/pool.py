"""A user pool of moto's Cognito, and what stands in front of it so that its keys can change."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
from joserfc import jws
from joserfc.jwk import RSAKey

REGION = "eu-west-1"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What a load balancer has after a login: tokens, and the user's claims."""

    subject: str
    access: str = field(repr=False)
    id_token: str = field(repr=False)
    claims: Mapping[str, Any]


class Pool:
    """A pool of the running moto, with one app client. `read` publishes its keys at `documents_url`.

    moto signs with one key for ever, published under one name. From the first `rotate()` on, a key of this class signs
    moto's claims again, and both are published: that is what a rotation looks like from outside.
    """

    clock = staticmethod(time.time)

    def __init__(self, moto: Any) -> None:
        self._cognito = moto.client("cognito-idp", endpoint_url=moto.moto_url, region_name=REGION)
        self.id = self._cognito.create_user_pool(PoolName="plan-b")["UserPool"]["Id"]
        flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        made = self._cognito.create_user_pool_client(UserPoolId=self.id, ClientName="front", ExplicitAuthFlows=flows)
        self.client_id = made["UserPoolClient"]["ClientId"]
        self.issuer = f"https://cognito-idp.{REGION}.amazonaws.com/{self.id}"
        self.keys_path = f"/{self.id}/.well-known/jwks.json"
        answer = httpx2.get(f"{moto.moto_url}{self.keys_path}", trust_env=False)
        self._published: list[dict[str, Any]] = list(answer.raise_for_status().json()["keys"])
        self._key: RSAKey | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._cognito.close()

    def read(self, path: str) -> dict[str, Any] | None:
        """Return the keys if `path` is where they are, for `Documents.sources`."""
        return {"keys": list(self._published)} if path == self.keys_path else None

    def add_user(self, name: str, password: str, groups: Collection[str] = ()) -> None:
        """Make a user who need not change the password."""
        self._cognito.admin_create_user(UserPoolId=self.id, Username=name)
        self._cognito.admin_set_user_password(UserPoolId=self.id, Username=name, Password=password, Permanent=True)
        for group in groups:
            with suppress(self._cognito.exceptions.GroupExistsException):
                self._cognito.create_group(UserPoolId=self.id, GroupName=group)
            self._cognito.admin_add_user_to_group(UserPoolId=self.id, Username=name, GroupName=group)

    def log_in(self, name: str, password: str) -> LoggedIn | None:
        """Return what moto issues, None if it does not know the user or the password is wrong."""
        wrong = (
            self._cognito.exceptions.NotAuthorizedException,
            self._cognito.exceptions.UserNotFoundException,
        )
        try:
            answer = self._cognito.admin_initiate_auth(
                UserPoolId=self.id,
                ClientId=self.client_id,
                AuthFlow="ADMIN_USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": name, "PASSWORD": password},
            )["AuthenticationResult"]
        except wrong:
            return None
        access, id_token = answer["AccessToken"], answer["IdToken"]
        claims = parse_claims(access)
        if self._key is not None:
            access, id_token = self.sign(claims), self.sign(parse_claims(id_token))
        subject = claims["sub"]
        return LoggedIn(subject, access, id_token, {"email": f"{name}@example.com", "username": name})

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with a new key from now on; with `withdraw` the old ones are no longer published."""
        key = RSAKey.generate_key(2048, {"kid": str(uuid.uuid4())})
        public = {**key.as_dict(private=False), "alg": "RS256", "use": "sig"}
        self._published = [public] if withdraw else [*self._published, public]
        self._key = key

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Return a token of this pool with these claims: as good as one that moto has issued, whatever they say."""
        if self._key is None:
            self.rotate()
        assert self._key is not None
        return sign({"kid": self._key.kid, "alg": "RS256", **(header or {})}, claims, self._key)


def sign(header: Mapping[str, Any], claims: Mapping[str, Any], key: RSAKey) -> str:
    """Return a compact JWS."""
    return jws.serialize_compact(dict(header), json.dumps(claims), key, algorithms=["RS256"])


def parse_claims(token: str) -> dict[str, Any]:
    """Return what a token says, unverified."""
    segment = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    assert isinstance(found, dict)
    return found
