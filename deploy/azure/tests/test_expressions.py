"""The evaluator of expressions: what it computes, and what it refuses because Azure would, or because nobody looked."""

from __future__ import annotations

from typing import Any

import pytest

from .expressions import GROUP, Scope, TemplateError, is_expression
from .templates import Template, known, object_id

ME = "resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'me')"
SCOPE = Scope({"name": "tegata", "many": ["a", "b"]}, {"prefix": "[format('{0}-x', parameters('name'))]"}, known)


@pytest.mark.parametrize(
    ("written", "computed"),
    [
        ("plain", "plain"),
        ("[[not computed]", "[not computed]"),
        ("[parameters('name')]", "tegata"),
        ("[variables('prefix')]", "tegata-x"),
        ("[format('{1}-{0}', 'a', 7)]", "7-a"),
        ("[if(equals(parameters('name'), 'tegata'), 'yes', 'no')]", "yes"),
        ("[parameters('many')[1]]", "b"),
        ("[createObject('key', createArray(1, 2)).key[0]]", 1),
        ("[split('10.20.0.0/16', '.')[1]]", "20"),
        ("[json('0.5')]", 0.5),
        ("[div(mul(35, 4), 5)]", 28),
        ("[take('abcdef', 3)]", "abc"),
        ("['it''s']", "it's"),
        ("[not(empty(parameters('many')))]", True),
        ("[null()]", None),
        (
            "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'net', 'part')]",
            f"{GROUP}/providers/Microsoft.Network/virtualNetworks/net/subnets/part",
        ),
        (f"[reference({ME}, '2024-11-30').principalId]", object_id("me")),
    ],
)
def test_an_expression_comes_to(written: str, computed: Any) -> None:
    assert SCOPE.evaluate(written) == computed


def test_the_branch_that_is_not_taken_is_not_computed() -> None:
    assert SCOPE.evaluate("[if(equals(1, 1), 'here', parameters('nowhere'))]") == "here"


@pytest.mark.parametrize(
    "written",
    [
        "[parameters('nothing')]",
        "[variables('nothing')]",
        "[listKeys('x', '2020-01-01')]",
        "[format('{{0}}', 'a')]",
        "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'net')]",
        "[createObject('a', 1).b]",
        "[parameters('name'']",
        "[parameters('name') and more]",
        "[copyIndex()]",
        "[name]",
    ],
)
def test_what_cannot_be_computed_is_refused(written: str) -> None:
    assert is_expression(written)
    with pytest.raises(TemplateError):
        SCOPE.evaluate(written)


@pytest.mark.parametrize("place", ["name", "condition"])
def test_what_is_known_only_later_stands_in_no_name_and_no_condition(place: str) -> None:
    """Resource Manager plans a deployment before it makes anything."""
    resource = {"type": "Microsoft.Network/privateDnsZones", "apiVersion": "2024-06-01", "name": "zone"}
    later = f"[reference({ME}, '2024-11-30').principalId]"
    with pytest.raises(TemplateError, match="not allowed here"):
        assert Template({"parameters": {}, "resources": [{**resource, place: later}]}).deploy().resources
