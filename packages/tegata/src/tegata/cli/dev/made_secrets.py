"""Secrets of the example tenants: made at the first start, one for each reference, and kept in the home."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from tegata.crypto.digests import new_secret
from tegata.crypto.keys import generate_key, parse_private, private_bytes, public_jwk
from tegata.flows.admin.documents import ClientDocument, Document, UserDocument

# Without characters that look alike; three groups of four are 59 bits and easy to type.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def complete(documents: Sequence[Document], known: Mapping[str, str]) -> dict[str, str]:
    """Return `known` with a value for every reference of the example tenants that has none yet."""
    values = dict(known)
    for document in documents:
        content = document.content
        if isinstance(content, ClientDocument):
            for reference in content.spec.secret_refs or ():
                values.setdefault(_name(reference), new_secret())
            if content.spec.jwks_ref is not None and _name(content.spec.jwks_ref) not in values:
                values[_name(content.spec.jwks_ref)] = new_private_jwks()
        elif isinstance(content, UserDocument) and content.spec.password_ref is not None:
            values.setdefault(_name(content.spec.password_ref), new_password())
    return values


def as_references(values: Mapping[str, str]) -> dict[str, str]:
    """Return what the references of documents lead to: the values, but of key sets only the public part."""
    return {name: _public(value) if value.startswith("{") else value for name, value in values.items()}


def value_of(reference: str, values: Mapping[str, str]) -> str:
    """Return the secret that a reference of an example tenant stands for."""
    return values[_name(reference)]


def private_jwks(reference: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the private key set behind a reference."""
    found: dict[str, Any] = json.loads(values[_name(reference)])
    return found


def new_password() -> str:
    """Return a random password of three groups."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3))


def new_private_jwks() -> str:
    """Return a JWK set with one private key for client assertions."""
    return json.dumps({"keys": [json.loads(private_bytes(generate_key("ES256")))]})


def _public(text: str) -> str:
    keys = [public_jwk(parse_private(json.dumps(key).encode())) for key in json.loads(text)["keys"]]
    return json.dumps({"keys": keys})


def _name(reference: str) -> str:
    return reference.removeprefix("env:")
