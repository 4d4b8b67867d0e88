"""Says whom the application trusts, from the environment; `tegata_verify` does the verifying.

    COGNITO_USER_POOL_ID    the user pool, such as eu-central-1_AbCdEfGhI
    COGNITO_REGION          its region; without it the one that the pool's id begins with
    COGNITO_APP_CLIENT_ID   the app client that the front load balancer logs users in with; several by commas

Behind Tegata instead of Cognito, this one is set and the three above are not:

    TEGATA_ISSUER           the issuer, such as https://id.example.com/demo
    TEGATA_AUDIENCE         with it: this application's own name in the tokens' aud
    TEGATA_CLIENT_ID        with it, and with ALB_ARNS: the client that the front load balancer logs users in with

Without the next two, access tokens are taken from the Authorization header only:

    ALB_ARNS                the load balancers that log users in (in Plan B: the front one), by commas
    TRUSTED_PEERS           networks from which the connections to this application come (in Plan B: the subnets of
                            the back load balancer), by commas, such as 10.0.32.0/20,10.0.48.0/20

For tests and demonstrations on one machine:

    COGNITO_ENDPOINT_URL    where the pool's keys are instead of at AWS, such as http://127.0.0.1:5000
    ALB_KEY_URL             where the load balancer's keys are, such as http://127.0.0.1:5001/{kid}
    ALLOW_LOOPBACK_HTTP     1: http on loopback addresses is good enough for TEGATA_ISSUER and ALB_KEY_URL

The server must not take the peer's address from headers. uvicorn does for connections from FORWARDED_ALLOW_IPS, which
is loopback if unset: with ALB_ARNS, set it to something that no trusted peer is in, such as `none`. The application
does not start otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from tegata_verify import ClientCertificates, Guard, Verifier
from tegata_verify.alb import Alb, AlbVerifier
from tegata_verify.issuers import Cognito, Generic, Tegata


def build_guard(environment: Mapping[str, str]) -> Guard:
    """Return what lets requests in. Raises `ValueError` for an environment that says too little, or too much."""
    issuer, client_ids = find_issuer(environment)
    alb = find_load_balancers(environment, issuer.issuer, client_ids)
    # Services come with a certificate that nginx has checked, at a port of their own, and tokens bound to it.
    certificates = ClientCertificates.nginx(split(environment, "TRUSTED_PEERS")) if alb is not None else None
    return Guard(Verifier(issuer), realm="plan-b", alb=alb, certificates=certificates)


def find_issuer(environment: Mapping[str, str]) -> tuple[Generic, list[str]]:
    """Return the rules for access tokens, and the clients of the load balancer."""
    pool_id, tegata = environment.get("COGNITO_USER_POOL_ID"), environment.get("TEGATA_ISSUER")
    if bool(pool_id) == bool(tegata):
        raise ValueError("set either COGNITO_USER_POOL_ID or TEGATA_ISSUER")
    if tegata:
        audiences = split(environment, "TEGATA_AUDIENCE")
        return Tegata(tegata, audiences, allow_loopback_http=allows_loopback(environment)), split(
            environment, "TEGATA_CLIENT_ID"
        )
    assert pool_id is not None
    client_ids = split(environment, "COGNITO_APP_CLIENT_ID")
    region = environment.get("COGNITO_REGION") or pool_id.partition("_")[0]
    return Cognito(
        region, pool_id, client_ids=client_ids, endpoint_url=environment.get("COGNITO_ENDPOINT_URL")
    ), client_ids


def find_load_balancers(environment: Mapping[str, str], issuer: str, client_ids: list[str]) -> AlbVerifier | None:
    """Return the load balancers whose headers are believed, None if there are none."""
    alb_arns, peers = split(environment, "ALB_ARNS"), split(environment, "TRUSTED_PEERS")
    if not alb_arns and not peers:
        return None
    if not alb_arns or not peers:
        raise ValueError("set ALB_ARNS and TRUSTED_PEERS, or neither")
    check_server(environment, peers)
    return AlbVerifier(
        Alb(
            alb_arns,
            issuer,
            client_ids,
            trusted_peers=peers,
            key_url=environment.get("ALB_KEY_URL"),
            allow_loopback_http=allows_loopback(environment),
        )
    )


def check_server(environment: Mapping[str, str], peers: list[str]) -> None:
    """Refuse to start where anybody could write the address of a trusted peer into X-Forwarded-For."""
    forwarded = environment.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
    for believed in (part.strip() for part in forwarded.split(",")):
        if believed == "*" or any(overlap(believed, peer) for peer in peers):
            raise ValueError(
                "set FORWARDED_ALLOW_IPS=none: the server would take a trusted peer's address from a header"
            )


def overlap(first: str, second: str) -> bool:
    """Tell whether two networks share an address; what is no network shares none."""
    try:
        a, b = ip_network(first, strict=False), ip_network(second)
    except ValueError:
        return False
    return a.version == b.version and a.overlaps(b)


def allows_loopback(environment: Mapping[str, str]) -> bool:
    """Tell whether http on this machine is good enough."""
    return environment.get("ALLOW_LOOPBACK_HTTP") == "1"


def split(environment: Mapping[str, str], name: str) -> list[str]:
    """Return the values between commas."""
    return [value for part in environment.get(name, "").split(",") if (value := part.strip())]
