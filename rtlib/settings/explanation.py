"""pydantic's validation errors in the words of the operator who must correct them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rtlib.settings.problem import suggestion
from rtlib.settings.schema import flag, section_of

Location = tuple[str | int, ...]

_NOT: Final = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text in quotes",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}

_LIMIT: Final = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
    "string_pattern_mismatch": ("pattern", "must match {}"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "too_short": ("min_length", "must have at least {} items"),
    "too_long": ("max_length", "must have at most {} items"),
}


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[Location, str]]:
    """Where and why, for each error of a validation. Values of secret settings are left out."""
    return [(tuple(detail["loc"]), _reason(detail, model)) for detail in error.errors(include_url=False)]


def key_text(location: Location) -> str:
    """A location as an operator writes it: `tls[2].certificate`."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _reason(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return _unknown(tuple(detail["loc"]), model)
    secret = _is_secret(tuple(detail["loc"]), model)
    cause = detail.get("ctx", {}).get("error")
    if cause is not None:
        return "is not valid" if secret else str(cause)
    return _shown(detail["input"], secret) + _demand(detail)


def _demand(detail: ErrorDetails) -> str:
    """What the value would have to be."""
    kind = detail["type"]
    if kind in _LIMIT:
        name, text = _LIMIT[kind]
        return text.format(detail["ctx"][name])
    if kind in {"enum", "literal_error"}:
        return f"must be {detail['ctx']['expected']}"
    return f"must be {_NOT[kind]}" if kind in _NOT else detail["msg"]


def _shown(value: object, secret: bool) -> str:
    return "" if secret or isinstance(value, dict | list) else f"{value!r} "


def _unknown(location: Location, model: type[BaseModel]) -> str:
    parent = _walk(location[:-1], model)
    names = [field.alias or name for name, field in parent.model_fields.items()] if parent else []
    return f"unknown key{suggestion(str(location[-1]), names)}"


def _is_secret(location: Location, model: type[BaseModel]) -> bool:
    names = [part for part in location if isinstance(part, str)]
    parent = _walk(tuple(names[:-1]), model)
    field = _field(parent, names[-1]) if parent and names else None
    return field is not None and flag(field, "secret")


def _walk(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    """The model at a location; list indexes do not matter."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, str) and current is not None:
            field = _field(current, part)
            current = section_of(field.annotation) if field is not None else None
    return current


def _field(model: type[BaseModel], name: str) -> Any:
    fields = model.model_fields
    return fields.get(name) or next((field for field in fields.values() if field.alias == name), None)
