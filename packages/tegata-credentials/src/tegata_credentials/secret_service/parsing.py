"""Makes a model of a secret's text, or says what is wrong with it: the field and the kind of fault, never the input.

Frames that hold the text in clear return what is wrong instead of raising it, so that no traceback shows them.
"""

from __future__ import annotations

import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tegata_credentials.errors import SecretMalformed
from tegata_credentials.secret_service.slot import Reading
from tegata_credentials.versions import SecretVersion

Model = TypeVar("Model", bound=BaseModel)


def as_model(reading: Reading, model: type[Model]) -> Model:
    """Return what was read as `model`, made once for each version. Raises `SecretMalformed`."""
    found: Model | None = reading.entry.models.get(model)
    if found is None:
        found = reading.entry.models[model] = parse(reading.version, model)
    return found


def parse(version: SecretVersion, model: type[Model]) -> Model:
    """Return the value as `model`. Raises `SecretMalformed`."""
    found = _validate(version, model)
    if isinstance(found, str):
        raise SecretMalformed(version.secret, found)
    return found


def _validate(version: SecretVersion, model: type[Model]) -> Model | str:
    try:
        return model.model_validate(version.document())
    except ValidationError as error:
        return describe(error, model)
    except SecretMalformed as error:
        return error.hint
    except Exception as error:  # noqa: BLE001 - of a validator of somebody else's; its text may repeat the value
        return f"its model failed: {type(error).__name__}"


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Name each field and the kind of its fault.

    A place is named only by words that the model itself knows: the keys of a mapping come from the secret. Messages
    are left out, because those of validators may repeat what they were given; only our own are kept.
    """
    known = _names(model)
    told = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) if isinstance(part, int) or part in known else "*" for part in fault["loc"])
        told.append(f"{place or 'value'}: {fault['type']}")
    return ", ".join(dict.fromkeys(told))


def _names(model: type[BaseModel], seen: frozenset[type] = frozenset()) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        names |= {name, field.alias or name}
        if isinstance(field.validation_alias, str):
            names.add(field.validation_alias)
        for inner in _models_in(field.annotation):
            if inner not in seen:
                names |= _names(inner, seen | {model, inner})
    return names


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for part in typing.get_args(annotation) for model in _models_in(part)}
