"""Settings that check themselves: frozen pydantic dataclasses whose errors are one line and name the field.

A field carries its unit, range and choices in its metadata (`option`): pydantic's constraints and the messages are both
made from there.
"""

import functools
from dataclasses import MISSING, Field, field, fields
from types import GenericAlias
from typing import Annotated, Any, ClassVar, dataclass_transform, get_args, get_origin

import pydantic
import pydantic.dataclasses
from annotated_types import Predicate
from pydantic_core import PydanticCustomError, PydanticKnownError

CONFIG = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)
LIMITS = ("greater_than_equal", "less_than_equal", "predicate_failed")  # pydantic's names for errors of value
LISTS = ("too_short", "repeated")  # and those of whole lists; the second is ours
LARGEST = 2**63 - 1  # of a whole number without a limit of its own: what tables and generators can hold


def option(
    default, *, unit="", low=None, high=None, choices=None, min_items=0, distinct=False, digest=True, before=MISSING
):
    """A field with a default, a unit for humans and a permitted range or set of choices; of a list, they are its items'.

    A list has at least `min_items`; where `distinct`, each only once.
    `digest=False`: no result depends on the field. `before` is for a field that is added when there are results already:
    the value that means "as before the field existed", which need not be the default. At that value the field is left
    out of the digest, so that these results stay valid.
    """
    meta = {"unit": unit, "low": low, "high": high, "choices": choices, "min_items": min_items, "distinct": distinct}
    return field(default=default, metadata=meta | {"digest": digest, "before": _as_tuple(before)})


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls):
    """Makes a frozen dataclass of a class with annotated fields, which checks its values when it is constructed.

    A list becomes a tuple; an int stays an int in a field of floats. Raises TypeError for a value of the wrong type or
    an unknown field, ValueError for a value out of range or, as `section.field`, for an unknown field of a section.
    """
    metadata = {name: getattr(vars(cls).get(name), "metadata", {}) for name in cls.__annotations__}
    cls.__annotations__ = {name: _constrained(kind, metadata[name]) for name, kind in cls.__annotations__.items()}
    cls = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=CONFIG)(cls)
    validate = cls.__init__

    @functools.wraps(validate)
    def init(self, **given):
        try:
            validate(self, **given)
        except pydantic.ValidationError as error:
            raise _in_one_line(cls, error.errors(include_url=False), given) from None

    cls.__init__ = init
    for f in fields(cls):
        if f.metadata.get("before", MISSING) is not MISSING:
            cls(**{f.name: f.metadata["before"]})  # a value that nobody can choose would never be left out
    return cls


class Checked:
    """Base of the settings of one section, all of whose fields are made by `option`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def digest_fields(self) -> dict:
        """The fields that decide the result, as JSON-ready values; without those that are as before they existed."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["digest"]}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != self.__dataclass_fields__[name].metadata["before"]
        }

    def pick(self, *names: str) -> dict:
        """Some of the fields by name: what a stage of another section depends on."""
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_digest_fields(cls, given: dict):
        """The settings whose `digest_fields` are `given`; what does not enter a digest has its default."""
        before = {f.name: f.metadata["before"] for f in fields(cls) if f.metadata["before"] is not MISSING}
        return cls(**before | given)


def _constrained(kind, meta: dict):
    """A field's type with its limits as pydantic reads them. A section's type stays: it has limits of its own."""
    if get_origin(kind) is tuple:
        items = GenericAlias(tuple, (_constrained(get_args(kind)[0], meta), ...))
        checks = [pydantic.Field(min_length=meta.get("min_items", 0)), pydantic.BeforeValidator(_as_tuple)]
        if meta.get("distinct"):
            checks.append(pydantic.AfterValidator(_each_once))
        return Annotated[items, pydantic.Strict(), *checks]
    if kind not in (str, bool, int, float):
        return kind
    high = LARGEST if kind is int and meta.get("high") is None else meta.get("high")
    limits = [pydantic.Field(strict=True, ge=meta.get("low"), le=high)]
    if meta.get("choices"):
        limits.append(Predicate(meta["choices"].__contains__))
    if kind is float:
        limits.append(pydantic.WrapValidator(_as_given))
    return Annotated[kind, *limits]


def _as_tuple(value):
    return tuple(value) if isinstance(value, list) else value


def _each_once(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "repeated")
    return values


def _as_given(value, check):
    if not isinstance(value, (int, float)):
        raise PydanticKnownError("float_type")  # pydantic takes NumPy's scalars too, which no digest can hold
    check(value)
    return value  # pydantic would make 3.0 of 3, and another digest


def _in_one_line(cls, errors: list[dict], given: dict) -> Exception:
    """The first wrong field as the error to raise: what was expected there and what was given."""
    path = [key for key in errors[0]["loc"] if isinstance(key, str)]  # a number is a place in a list
    if errors[0]["type"] == "value_error":  # raised by a __post_init__
        return ValueError(".".join([*path, str(errors[0]["ctx"]["error"])]))
    where = ".".join(path)
    *sections, name = path
    for section in sections:
        cls, given = cls.__dataclass_fields__[section].type, given[section]
    own = cls.__dataclass_fields__.get(name)
    if not own:
        return (ValueError if sections else TypeError)(f"{where} is not a setting of {cls.__name__}")
    if errors[0]["type"] == "missing":
        return TypeError(f"{where}: expected {_type_name(own.type)}, got nothing")
    got = errors[0]["input"]
    if errors[0]["type"] in LISTS:
        wish = "each value once" if errors[0]["type"] == "repeated" else f"at least {own.metadata['min_items']} value"
        return ValueError(f"{where}: expected {wish}, got {list(got)!r}")
    if any(e["type"] not in (*LIMITS, *LISTS) for e in errors if e["loc"][: len(path)] == tuple(path)):
        value = _as_tuple(given.get(name, own.default))
        return TypeError(f"{where}: expected {_type_name(own.type)}, got {value!r} ({type(value).__name__})")
    if errors[0]["type"] == "less_than_equal" and own.metadata["high"] is None:
        return ValueError(f"{where}: expected at most {LARGEST}, got {got!r}")
    return ValueError(f"{where}: expected {_limits_text(**own.metadata)}, got {got!r}")


def _type_name(kind) -> str:
    if get_origin(kind) is Annotated:
        return _type_name(get_args(kind)[0])
    return f"a list of {_type_name(get_args(kind)[0])}" if get_origin(kind) is tuple else kind.__name__


def _limits_text(unit, low, high, choices, **_) -> str:
    if choices:
        return f"one of {', '.join(map(str, choices))}"
    limits = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
    return f"{limits} {unit}" if unit else limits
