"""Says what IAM would say, by the rules of "Policy evaluation logic" in the IAM User Guide.

It knows what the templates use, and refuses to judge what it does not know. It is no proof about AWS; it is one about
what the documents say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Principal:
    """Who asks: a role of an account, by its ARN, with its tags and its policies; or a service of AWS by its name."""

    arn: str
    account: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    policies: Sequence[Document] = ()

    @property
    def is_service(self) -> bool:
        return self.arn.endswith(".amazonaws.com")

    def context(self) -> dict[str, str]:
        """The condition keys that every request of this principal has."""
        known = {"aws:PrincipalIsAWSService": str(self.is_service).lower(), "aws:SecureTransport": "true"}
        if not self.is_service:
            known |= {"aws:PrincipalAccount": self.account, "aws:PrincipalArn": self.arn}
        return known | {f"aws:PrincipalTag/{name}": value for name, value in self.tags.items()}


def is_allowed(
    principal: Principal,
    action: str,
    resource: str,
    *,
    attached: Document | None = None,
    delegates: bool = False,
    **context: str,
) -> bool:
    """Say whether a principal may do this.

    Args:
        principal: who asks.
        action: `secretsmanager:GetSecretValue`.
        resource: an ARN; its account is the owner's.
        attached: the resource's own policy.
        delegates: whether identity policies count only if the resource's own policy names the account, as with keys.
        context: condition keys, with `__` for the colon and `_` for the slash.
    """
    known = principal.context() | {key.replace("__", ":").replace("_", "/"): value for key, value in context.items()}
    own = list(_effects(principal.policies, action, resource, known))
    named, account_named = [], False
    for statement in _statements(attached):
        if _matches(statement, action, resource, known, is_attached=True):
            match = _names(statement["Principal"], principal)
            if match == "account":
                account_named = account_named or statement["Effect"] == "Allow"
            elif match:
                named.append(statement["Effect"])
    if "Deny" in own or "Deny" in named:
        return False
    if principal.is_service or not _is_same_account(principal, resource):
        return "Allow" in named and (principal.is_service or "Allow" in own)
    by_identity = "Allow" in own and (account_named or not delegates)
    return by_identity or "Allow" in named


def _is_same_account(principal: Principal, resource: str) -> bool:
    return resource.split(":")[4] == principal.account


def _names(who: Any, principal: Principal) -> str:
    """Return whether a statement names this principal, its account, or neither."""
    if who == "*":
        return "yes"
    for kind, listed in who.items():
        for each in _listed(listed):
            if kind == "Service" and each == principal.arn:
                return "yes"
            if kind == "AWS" and each in ("*", principal.arn):
                return "yes"
            if kind == "AWS" and each == f"arn:aws:iam::{principal.account}:root":
                return "account"
    return ""


def _effects(documents: Sequence[Document], action: str, resource: str, context: Mapping[str, str]) -> Iterator[str]:
    for document in documents:
        for statement in _statements(document):
            if _matches(statement, action, resource, context):
                yield statement["Effect"]


def _statements(document: Document | None) -> list[Mapping[str, Any]]:
    return [] if document is None else _listed(document["Statement"])


def _matches(
    statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str], *, is_attached: bool = False
) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}
    if unknown:
        raise NotImplementedError(", ".join(sorted(unknown)))
    resources = ["*"] if is_attached and "Resource" not in statement else _listed(statement["Resource"])
    return (
        any(_like(pattern.lower(), action.lower()) for pattern in _listed(statement["Action"]))
        and any(_like(pattern, resource) for pattern in resources)
        and all(
            _holds(operator, key, _listed(values), context)
            for operator, wanted in statement.get("Condition", {}).items()
            for key, values in wanted.items()
        )
    )


def _holds(operator: str, key: str, values: list[Any], context: Mapping[str, str]) -> bool:
    found = context.get(key)
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    match operator:
        case "Null":
            return (found is None) == (texts == ["true"])
        case "StringEquals" | "ArnEquals" | "Bool" | "ForAnyValue:StringEquals":
            return found is not None and found in texts
        case "StringNotEquals":
            # A key that is not there is different from everything.
            return found not in texts
        case "StringLike" | "ArnLike":
            return found is not None and any(_like(text, found) for text in texts)
    raise NotImplementedError(operator)


def _like(pattern: str, value: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
