"""`python -m benchmarks.verification`: what verifying an access token costs, beside other libraries in the same run.

Operations per second of CPU, and the ratio to bare PyJWT with a parsed key. First sight is a token that was never seen;
repeated is the same token again, where only tegata-verify remembers. fastapi-cloudauth is measured at its
`JWKsVerifier`, with the key given to it, without FastAPI.

Below that, one whole request through FastAPI, handed to the application in this process without a socket: the same
endpoint unguarded, with `requires(scope="read")`, and with fastapi-cloudauth's scope. There the ratio is to unguarded.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import time
import warnings
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from fastapi import Depends, FastAPI
from joserfc import jwt as joserfc_jwt

from tegata_verify import SyncVerifier, Verifier
from tegata_verify.fastapi import install, requires
from tegata_verify.testing import TestIssuer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.security import HTTPAuthorizationCredentials
    from fastapi_cloudauth.base import ScopedAuth  # type: ignore[import-untyped]  # publishes no types
    from fastapi_cloudauth.verification import (  # type: ignore[import-untyped]  # publishes no types
        JWKS,
        JWKsVerifier,
    )
    from jose import jwk as jose_jwk  # type: ignore[import-untyped]  # publishes no types
    from jose import jwt as jose_jwt

Verify = Callable[[list[str]], None]

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to verify; `verify` takes a batch of tokens."""

    name: str
    verify: Verify


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verification", description=__doc__)
    parser.add_argument("--tokens", type=int, default=1000, help="tokens of each batch; the best of five rounds counts")
    count = parser.parse_args().tokens
    print(f"Python {platform.python_version()}, {platform.machine()}, {count:,} tokens a batch")
    print(f"| {'':34} | op/s CPU | microseconds | ratio |\n|---|---:|---:|---:|")
    for algorithm in ("ES256", "RS256"):
        _print_rows(algorithm, count)
    print(f"\n| {'one request through FastAPI':34} | op/s CPU | microseconds | ratio |\n|---|---:|---:|---:|")
    for algorithm in ("ES256", "RS256"):
        _print_requests(algorithm, count)
    return 0


def _print_rows(algorithm: str, count: int) -> None:
    issuer = TestIssuer(algorithm=algorithm)
    batches = _mint(issuer, count)
    repeated = [[batches[0][0]] * (count * 10)] * _ROUNDS
    first = [(f"{contender.name}, first", contender.verify, batches) for contender in _contenders(issuer)]
    again = [(f"{contender.name}, repeated", contender.verify, repeated) for contender in _ours(issuer)]
    _race(algorithm, [*first, *again])


def _print_requests(algorithm: str, count: int) -> None:
    issuer = TestIssuer(algorithm=algorithm)
    batches = _mint(issuer, count)
    repeated = [[batches[0][0]] * count] * _ROUNDS
    open_app, guarded, cloud = (_asking(app) for app in _applications(issuer))
    _race(
        algorithm,
        [
            ("unguarded", open_app, batches),
            ("requires(), first", guarded, batches),
            ("requires(), repeated", guarded, repeated),
            ("fastapi-cloudauth, first", cloud, batches),
            ("fastapi-cloudauth, repeated", cloud, repeated),
        ],
    )


def _mint(issuer: TestIssuer, count: int) -> list[list[str]]:
    return [[issuer.mint(scope="read write", roles=["brewer"]) for _ in range(count)] for _ in range(_ROUNDS)]


def _race(algorithm: str, runs: list[tuple[str, Verify, list[list[str]]]]) -> None:
    """Print the best round of each; they take turns, so that a busy machine disturbs all alike."""
    for _, verify, batches in runs:
        verify(batches[0][:1])
    rounds = [[_cost(verify, batches[number]) for _, verify, batches in runs] for number in range(_ROUNDS)]
    costs = [min(found) for found in zip(*rounds, strict=True)]
    for (name, _, _), cost in zip(runs, costs, strict=True):
        _print_row(f"{algorithm} {name}", cost, costs[0])


def _applications(issuer: TestIssuer) -> list[FastAPI]:
    """Return the same endpoint three times: open, guarded by us, guarded by fastapi-cloudauth."""
    pem = issuer.key.as_pem(private=False)
    keys = JWKS(fixed_keys={str(issuer.key.kid): jose_jwk.construct(pem, issuer.algorithm)})
    cloud = ScopedAuth(keys, audience=issuer.audience, issuer=issuer.issuer, scope_name=["read"], scope_key="scope")
    apps = []
    for dependencies in ([], [Depends(requires(scope="read"))], [Depends(cloud)]):
        app = FastAPI()
        install(app, Verifier(issuer.rules, transport=issuer.transport))

        @app.get("/beers", dependencies=dependencies)
        async def list_beers() -> list[str]:
            return ["Saison", "Tripel"]

        apps.append(app)
    return apps


def _asking(app: FastAPI) -> Verify:
    """Return what asks an application once with each token. Raises `ValueError` for any answer but 200."""
    loop = asyncio.new_event_loop()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise ValueError("refused")

    async def ask(batch: list[str]) -> None:
        for token in batch:
            headers = [(b"host", b"api.test"), (b"authorization", b"Bearer " + token.encode())]
            scope = {"type": "http", "method": "GET", "path": "/beers", "raw_path": b"/beers", "query_string": b""}
            scope |= {"headers": headers, "scheme": "https", "server": ("api.test", 443), "client": ("10.0.0.7", 1)}
            await app(scope, receive, send)

    return lambda batch: loop.run_until_complete(ask(batch))


def _print_row(name: str, cost: float, reference: float) -> None:
    print(f"| {name:34} | {1e9 / cost:8,.0f} | {cost / 1000:12.1f} | {reference / cost:5.2f} |", flush=True)


def _cost(verify: Verify, batch: list[str]) -> float:
    """Return nanoseconds of CPU for one token."""
    began = time.process_time_ns()
    verify(batch)
    return (time.process_time_ns() - began) / len(batch)


def _ours(issuer: TestIssuer) -> list[Contender]:
    verifier = Verifier(issuer.rules, transport=issuer.transport)
    sync_verifier = SyncVerifier(issuer.rules, transport=issuer.transport)
    loop = asyncio.new_event_loop()

    async def verify(batch: list[str]) -> None:
        for token in batch:
            await verifier.verify(token)

    def verify_in_thread(batch: list[str]) -> None:
        for token in batch:
            sync_verifier.verify(token)

    warm = [issuer.mint()]
    loop.run_until_complete(verify(warm))
    verify_in_thread(warm)
    return [
        Contender("Verifier", lambda batch: loop.run_until_complete(verify(batch))),
        Contender("SyncVerifier", verify_in_thread),
    ]


def _contenders(issuer: TestIssuer) -> list[Contender]:
    algorithm, public = issuer.algorithm, issuer.key.public_key
    assert isinstance(public, EllipticCurvePublicKey | RSAPublicKey)
    pem = issuer.key.as_pem(private=False)
    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer.issuer}, aud={"essential": True, "value": issuer.audience}
    )

    def pyjwt(batch: list[str]) -> None:
        for token in batch:
            jwt.decode(token, public, algorithms=[algorithm], audience=issuer.audience, issuer=issuer.issuer)

    def joserfc(batch: list[str]) -> None:
        for token in batch:
            registry.validate(joserfc_jwt.decode(token, issuer.key, algorithms=[algorithm]).claims)

    def python_jose(batch: list[str]) -> None:
        for token in batch:
            jose_jwt.decode(token, pem, algorithms=[algorithm], audience=issuer.audience, issuer=issuer.issuer)

    keys = JWKS(fixed_keys={str(issuer.key.kid): jose_jwk.construct(pem, algorithm)})
    cloud = JWKsVerifier(keys, audience=issuer.audience, issuer=issuer.issuer)
    loop = asyncio.new_event_loop()

    async def ask_cloudauth(batch: list[str]) -> None:
        for token in batch:
            if not await cloud.verify_token(HTTPAuthorizationCredentials(scheme="Bearer", credentials=token)):
                raise ValueError("refused")

    return [
        Contender("PyJWT, parsed key", pyjwt),
        *_ours(issuer),
        Contender("joserfc", joserfc),
        Contender("python-jose", python_jose),
        Contender("fastapi-cloudauth", lambda batch: loop.run_until_complete(ask_cloudauth(batch))),
    ]


if __name__ == "__main__":
    sys.exit(main())
