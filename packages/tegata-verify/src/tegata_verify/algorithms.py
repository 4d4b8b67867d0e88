"""Which signatures are understood, and under which names (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2)."""

from __future__ import annotations

from collections.abc import Iterable

_ED25519 = ("Ed25519", "EdDSA")

# Asymmetric only: with HS256 every service could also issue. RFC 8725 §3.1, §3.2.
SUPPORTED_ALGORITHMS = frozenset({"ES256", "RS256", "PS256", *_ED25519})


def name_fully(algorithms: Iterable[str]) -> tuple[str, ...]:
    """Return the algorithms, and the full name of `EdDSA` where that is one of them. RFC 9864 §2.2.

    `EdDSA` leaves the curve to the key. Here it has only ever meant Ed25519: a key of Ed448 is none of ours. Who allows
    `Ed25519` alone wants tokens that say so.

    >>> name_fully(["ES256", "EdDSA"]), name_fully(["Ed25519"])
    (('ES256', 'Ed25519', 'EdDSA'), ('Ed25519',))
    """
    given = tuple(algorithms)
    if "EdDSA" not in given or "Ed25519" in given:
        return given
    return tuple(name for one in given for name in (_ED25519 if one == "EdDSA" else (one,)))


def find_names(algorithm: str) -> frozenset[str]:
    """Return each name of an algorithm, as a key may state it. RFC 7517 §4.4.

    >>> sorted(find_names("EdDSA")), sorted(find_names("ES256"))
    (['Ed25519', 'EdDSA'], ['ES256'])
    """
    return frozenset(_ED25519 if algorithm in _ED25519 else (algorithm,))
