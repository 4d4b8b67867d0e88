"""Every deployment that the parameters allow in kind, for what has to hold in all of them."""

from __future__ import annotations

from functools import cache
from itertools import product

from .templates import ENVIRONMENTS, TYPED, Deployment, Template, parameters_of

NAMES = ("foundation", "application")
# Every way through the templates: what an environment, the parts and the kind of computing choose.
WAYS = [("foundation", {}), ("foundation", {"keyOfficersObjectId": "a", "databaseAdministratorsObjectId": "b"})] + [
    ("application", {"parts": parts, "compute": compute, "hostName": host, "certificateId": certificate})
    for parts, compute, (host, certificate) in product(
        ("jobs", "all"), ("containerApps", "appService"), (("", ""), ("id.example.com", ""), ("id.example.com", "/c"))
    )
]


@cache
def every_deployment() -> list[tuple[Template, Deployment]]:
    """Return each template with each way through it, for each environment."""
    found = []
    for (name, more), environment in product(WAYS, ENVIRONMENTS):
        template = Template.read(name)
        given = {**parameters_of(environment, name), **TYPED[name], **more}
        found.append((template, template.deploy(**given)))
    return found
