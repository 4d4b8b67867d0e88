"""docs/reference/rotation-plans.md says of each field what the models say, and its examples are plans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from tegata_credentials.rotation import plans
from tegata_credentials.rotation.plans import PlanError, read_plans

DOCS = Path(__file__).resolve().parents[4] / "docs"
PAGE = (DOCS / "reference/rotation-plans.md").read_text(encoding="utf-8")
MODELS = {
    "alternating-users": plans.AlternatingUsersPlan,
    "single-user": plans.SingleUserPlan,
    "signing-keys": plans.SigningKeysPlan,
    "generic-token": plans.GenericTokenPlan,
}
COMMON = ("secret", "every")
FORMS = {plans.Duration: "duration", plans.Role: "role", str: "text", float: "seconds"}


def rows(model: Any, names: Any) -> Iterator[str]:
    """One row of the table for each field."""
    hints = get_type_hints(model, include_extras=True)
    for name in names:
        field = model.model_fields[name]
        default = "needed" if field.is_required() else shown(field.default)
        yield f"| `{name}` | {form(hints[name])} | {default} | {field.description} |"


def form(hint: Any) -> str:
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) is Literal:
        return ", ".join(f"`{kind}`" for kind in kinds)
    if get_origin(hint) is tuple:
        return "two roles"
    return FORMS[hint] if hint in FORMS else form(kinds[0]) if kinds[0] not in FORMS else FORMS[kinds[0]]


def shown(value: object) -> str:
    if value is None:
        return "none"
    if not isinstance(value, timedelta):
        return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
    seconds = int(value.total_seconds())
    return next(
        f"`{seconds // unit}{word}`" for unit, word in ((86_400, "d"), (3600, "h"), (60, "m")) if not seconds % unit
    )


def section(name: str) -> str:
    """Return what stands below one heading."""
    (found,) = re.findall(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def examples(text: str) -> list[str]:
    return re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def table(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_the_page_has_every_strategy() -> None:
    kinds = get_args(get_args(plans.Plan)[0])
    assert set(kinds) == set(MODELS.values())
    assert re.findall(r"^## `(.*)`$", PAGE, re.MULTILINE) == list(MODELS)


def test_the_fields_of_all_plans_stand_in_the_first_table() -> None:
    assert table(PAGE.partition("\n## ")[0]) == list(rows(plans.SigningKeysPlan, COMMON))


@pytest.mark.parametrize("strategy", MODELS)
def test_the_fields_of_a_strategy_stand_in_its_table(strategy: str) -> None:
    model = MODELS[strategy]
    own = [name for name in model.model_fields if name not in (*COMMON, "strategy")]
    assert table(section(f"`{strategy}`")) == list(rows(model, own))


@pytest.mark.parametrize("strategy", MODELS)
def test_the_example_of_a_strategy_is_a_plan(strategy: str) -> None:
    (example,) = examples(section(f"`{strategy}`"))
    (plan,) = read_plans(example)
    assert plan.strategy == strategy
    needed = {name for name, field in type(plan).model_fields.items() if field.is_required()}
    assert needed <= set(json.loads(example))
    for name in needed - {"strategy"}:
        with pytest.raises(PlanError, match=f"{name}: Field required"):
            read_plans(json.dumps({key: value for key, value in json.loads(example).items() if key != name}))


def test_the_examples_together_are_what_one_function_takes() -> None:
    every = [json.loads(example) for example in examples(PAGE)]
    assert [plan.strategy for plan in read_plans(json.dumps(every))] == list(MODELS)


@pytest.mark.parametrize(
    "page", ["how-to/rotate-secrets-on-aws.md", "how-to/rotate-without-lambda.md", "reference/credentials.md"]
)
def test_the_page_is_reached_from_where_plans_are_written(page: str) -> None:
    assert re.search(r"\]\((\.\./reference/)?rotation-plans\.md\)", (DOCS / page).read_text(encoding="utf-8"))


def test_the_page_leads_to_pages_that_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE)
    assert links
    assert all((DOCS / "reference" / link).resolve().exists() for link in links)
