"""Takes users from an Application Load Balancer that has logged them in: its headers, from its addresses, signed by it.

AWS, "Authenticate users using an Application Load Balancer". A target that believes these headers without looking at
their signer and at who opened the connection can be entered by anybody who reaches it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any

from tegata_verify.alb_keys import AlbKeyPolicy, AlbKeys
from tegata_verify.alb_tokens import UnverifiedData, check_data_signature, parse_claims, parse_data, parse_key_name
from tegata_verify.documents import DocumentFetcher
from tegata_verify.errors import InvalidRequest, MissingToken, Reason, TokenError
from tegata_verify.issuers import check_url
from tegata_verify.keys import Clock
from tegata_verify.outgoing import TransportFactory
from tegata_verify.peers import Network, is_peer_of, parse_networks
from tegata_verify.presented import PresentedToken, Scheme
from tegata_verify.principal import Principal, freeze
from tegata_verify.request import HttpRequest
from tegata_verify.tokens import check_times

ACCESS_TOKEN = b"x-amzn-oidc-accesstoken"
DATA = b"x-amzn-oidc-data"
IDENTITY = b"x-amzn-oidc-identity"

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):elasticloadbalancing:(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}):[0-9]{12}:"
    r"loadbalancer/app/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}"
)
_POOL = re.compile(r"(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2})_[A-Za-z0-9]{1,46}")
_MOST_USER_BYTES = 2048

# Where AWS publishes the keys. What is not here has no documented address, and is asked for by `key_url`.
_KEY_URLS = {
    "aws": "https://public-keys.auth.elb.{region}.amazonaws.com/{kid}",
    "aws-us-gov": "https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}/{kid}",
}


@dataclass(frozen=True, slots=True)
class Alb:
    """Load balancers whose users come from one OpenID Provider, and from where their requests may come.

    `alb_arns` are the load balancers that log users in: in a chain of two, the first. `client_ids` are the clients they
    do it with. `trusted_peers` are the networks from which connections of the last hop before this service come, such
    as the subnets of the load balancer that has it as a target: the address of the connection itself, never one from a
    header. With `require_identity` the user's data must come with each request; without it, the access token alone is
    enough and data is verified where it comes. `key_url` replaces the address of the keys, with `{region}` and `{kid}`.
    Raises `ValueError` for anything that could not be checked safely.

    >>> arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
    >>> rules = Alb([arn], "https://id.example.com/demo", ["web"], trusted_peers=["10.0.16.0/20"])
    >>> rules.build_key_url(arn, "0a1b2c3d-0000-4000-8000-0123456789ab")
    'https://public-keys.auth.elb.eu-central-1.amazonaws.com/0a1b2c3d-0000-4000-8000-0123456789ab'
    """

    alb_arns: Collection[str]
    issuer: str
    client_ids: Collection[str]
    _: KW_ONLY
    trusted_peers: Collection[str | Network]
    require_identity: bool = True
    leeway_seconds: float = 30
    max_header_bytes: int = 16 * 1024
    key_url: str | None = None
    allow_loopback_http: bool = False
    networks: frozenset[Network] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("alb_arns", "client_ids", "trusted_peers"):
            value: Collection[str] = getattr(self, name)
            object.__setattr__(self, name, frozenset({value} if isinstance(value, str) else value))
            if not getattr(self, name) or "" in getattr(self, name):
                raise ValueError(f"{name}: name at least one")
        object.__setattr__(self, "networks", parse_networks(self.trusted_peers))
        check_url(self.issuer, allow_loopback_http=self.allow_loopback_http, what="issuer")
        if not 0 <= self.leeway_seconds <= 300:
            raise ValueError("leeway_seconds: 0 to 300, a few minutes at most (RFC 7519 §4.1.4)")
        for arn in self.alb_arns:
            check_url(
                self.build_key_url(arn, "key"), allow_loopback_http=self.allow_loopback_http, what="address of the keys"
            )

    def build_key_url(self, alb_arn: str, kid: str) -> str:
        """Return where the key `kid` of a load balancer is published. Raises `ValueError` for what is no ARN of one."""
        found = _ARN.fullmatch(alb_arn)
        if found is None:
            raise ValueError("alb_arns: not the ARN of an Application Load Balancer")
        template = self.key_url or _KEY_URLS.get(found["partition"])
        if template is None or "{kid}" not in template:
            raise ValueError("key_url: needed for this partition of AWS, with {kid} where the key's name goes")
        return template.replace("{region}", found["region"]).replace("{kid}", kid)

    def trusts(self, peer: str | None) -> bool:
        """Tell whether a connection from `peer` is the load balancer's. False for what is no IP address."""
        return is_peer_of(self.networks, peer)


@dataclass(frozen=True, slots=True, init=False)
class AlbCognito(Alb):
    """Load balancers whose users come from an Amazon Cognito user pool.

    `region` is the pool's, and needs no saying: the pool's id begins with it. The rest is as in `Alb`.

    >>> arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
    >>> AlbCognito([arn], "eu-central-1_AbCdEfGhI", ["web"], trusted_peers=["10.0.16.0/20"]).issuer
    'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI'
    """

    def __init__(
        self,
        alb_arns: Collection[str],
        user_pool_id: str,
        client_ids: Collection[str],
        *,
        trusted_peers: Collection[str | Network],
        region: str | None = None,
        **rest: Any,
    ) -> None:
        found = _POOL.fullmatch(user_pool_id)
        if found is None or region not in (None, found["region"]):
            raise ValueError("user_pool_id: the id of a user pool, which begins with its region")
        issuer = f"https://cognito-idp.{found['region']}.amazonaws.com/{user_pool_id}"
        # By name: super() does not know the class that slots=True makes anew.
        Alb.__init__(self, alb_arns, issuer, client_ids, trusted_peers=trusted_peers, **rest)


@dataclass(frozen=True, slots=True)
class AlbToken(PresentedToken):
    """The access token that a trusted load balancer sent, and what came beside it: its own token, and the user's name.

    Nobody has vouched for any of it, but `data` names a configured load balancer as its signer.
    """

    data: UnverifiedData | None = field(default=None, repr=False)
    key_url: str = ""
    user: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AlbIdentity:
    """What a load balancer says of a user, verified: `claims` are those of the provider's userinfo, read-only."""

    subject: str
    client_id: str
    signer: str
    claims: Mapping[str, Any] = field(repr=False, hash=False)


class AlbVerifier:
    """Finds and verifies what load balancers say of users, for a `Guard`; make one for the process and share it.

    `transport` and `clock` are as in `Verifier`, which must trust the same issuer, for the access token.

    >>> from tegata_verify import Guard, Verifier
    >>> from tegata_verify.issuers import Cognito
    >>> arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
    >>> pool, client = "eu-central-1_AbCdEfGhI", "1example23456789"
    >>> alb = AlbVerifier(AlbCognito([arn], pool, [client], trusted_peers=["10.0.16.0/20"]))
    >>> guard = Guard(Verifier(Cognito("eu-central-1", pool, [client])), alb=alb)
    """

    def __init__(
        self,
        rules: Alb,
        *,
        transport: TransportFactory | None = None,
        clock: Clock = time.time,
        key_policy: AlbKeyPolicy | None = None,
    ) -> None:
        policy = key_policy or AlbKeyPolicy()
        fetcher = DocumentFetcher(
            transport=transport,
            timeout_seconds=policy.timeout,
            max_bytes=policy.max_bytes,
            allow_loopback_http=rules.allow_loopback_http,
        )
        self.rules = rules
        self._clock = clock
        self._keys = AlbKeys(fetcher, clock=clock, policy=policy)

    def find_token(self, request: HttpRequest) -> AlbToken | None:
        """Return what a load balancer presents with `request`, None if nothing. Raises an `AccessError`."""
        return find_token(request, self.rules)

    async def identify(self, presented: PresentedToken, principal: Principal) -> Mapping[str, Any]:
        """Return the user's claims beside a verified access token; nothing if none came and none are required.

        Raises `TokenError` unless both speak of the same user and client, and `KeysUnavailable`.
        """
        if not isinstance(presented, AlbToken):
            raise TypeError("not presented by a load balancer")
        check_same_user(principal, presented, self.rules)
        if presented.data is None:
            return MappingProxyType({})
        identity = await self._verify(presented.data, presented.key_url)
        check_same_identity(principal, identity)
        return identity.claims

    async def verify(self, data: str | bytes) -> AlbIdentity:
        """Return what the value of `x-amzn-oidc-data` says. Raises `TokenError` or `KeysUnavailable`.

        Whoever calls this alone must make sure that the request came from the load balancer.
        """
        text = data.encode("ascii", "replace") if isinstance(data, str) else data
        unverified = parse_data(text, max_bytes=self.rules.max_header_bytes)
        return await self._verify(unverified, check_data_header(unverified, self.rules))

    async def aclose(self) -> None:
        """Stop fetches that are still under way; nothing else needs closing."""
        await self._keys.aclose()

    async def _verify(self, data: UnverifiedData, key_url: str) -> AlbIdentity:
        # No claim is even parsed before the signature is checked.
        check_data_signature(data, await self._keys.get_key(key_url))
        return check_data_claims(data, self.rules, now=self._clock())


def find_token(request: HttpRequest, rules: Alb) -> AlbToken | None:
    """Return what a load balancer presents, None if there is none of its headers.

    Nothing is fetched for what is refused here. Raises `TokenError` if the headers come from elsewhere, are too large,
    or another load balancer signed, `InvalidRequest` if one is there twice, `MissingToken` if one is absent.
    """
    found = {name: request.values(name) for name in (ACCESS_TOKEN, DATA, IDENTITY)}
    if not any(found.values()):
        return None
    if not rules.trusts(request.peer):
        raise TokenError(Reason.UNTRUSTED_PEER, f"peer {request.peer}")
    for name, values in found.items():
        if len(values) > 1:
            raise InvalidRequest(Reason.REPEATED_AUTHORIZATION, name.decode())
        if values and len(values[0]) > (_MOST_USER_BYTES if name == IDENTITY else rules.max_header_bytes):
            raise TokenError(Reason.TOKEN_TOO_LARGE, name.decode())
        if not values and (rules.require_identity or name == ACCESS_TOKEN):
            raise MissingToken(f"no {name.decode()}")
    data = parse_data(found[DATA][0], max_bytes=rules.max_header_bytes) if found[DATA] else None
    return AlbToken(
        Scheme.ALB,
        found[ACCESS_TOKEN][0].decode("latin-1"),
        data=data,
        key_url=check_data_header(data, rules) if data is not None else "",
        user=found[IDENTITY][0] if found[IDENTITY] else None,
    )


def check_data_header(token: UnverifiedData, rules: Alb) -> str:
    """Return the address of the key that must have signed, if the header keeps `rules`. Raises `TokenError`."""
    header = token.header
    if "crit" in header:
        raise TokenError(Reason.CRITICAL_HEADER)
    if header.get("alg") != "ES256":
        raise TokenError(Reason.ALGORITHM_NOT_ALLOWED)
    signer, client = header.get("signer"), header.get("client")
    if not isinstance(signer, str) or signer not in rules.alb_arns:
        raise TokenError(Reason.WRONG_SIGNER)
    kid = parse_key_name(header.get("kid"))
    if not isinstance(client, str) or client not in rules.client_ids:
        raise TokenError(Reason.WRONG_CLIENT)
    if header.get("iss") != rules.issuer:
        raise TokenError(Reason.UNKNOWN_ISSUER)
    return rules.build_key_url(signer, kid)


def check_data_claims(token: UnverifiedData, rules: Alb, *, now: float) -> AlbIdentity:
    """Return what the token says, if it is good at `now`. Raises `TokenError`. The signature was checked before."""
    header, claims = token.header, parse_claims(token)
    check_times(header, rules.leeway_seconds, now=now)
    # Claims of Cognito's users repeat iss and exp; userinfo of other providers need not.
    check_times({"exp": header["exp"], **claims}, rules.leeway_seconds, now=now)
    if claims.get("iss", rules.issuer) != rules.issuer:
        raise TokenError(Reason.UNKNOWN_ISSUER)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise TokenError(Reason.MISSING_CLAIM, "sub")
    return AlbIdentity(subject, header["client"], header["signer"], freeze(claims))


def check_same_user(principal: Principal, presented: AlbToken, rules: Alb) -> None:
    """Refuse an access token that the load balancer cannot have got for this user. Raises `TokenError`."""
    if principal.issuer != rules.issuer:
        raise TokenError(Reason.UNKNOWN_ISSUER)
    if principal.client_id not in rules.client_ids:
        raise TokenError(Reason.WRONG_CLIENT)
    if presented.user is not None and presented.user != principal.subject.encode():
        raise TokenError(Reason.WRONG_SUBJECT, IDENTITY.decode())


def check_same_identity(principal: Principal, identity: AlbIdentity) -> None:
    """Refuse an access token and data that speak of different users or clients. Raises `TokenError`."""
    if identity.subject != principal.subject:
        raise TokenError(Reason.WRONG_SUBJECT, DATA.decode())
    if identity.client_id != principal.client_id:
        raise TokenError(Reason.WRONG_CLIENT, DATA.decode())
