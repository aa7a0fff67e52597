"""Configurations that check themselves: fields with a unit and a permitted range, refused by name where a value is wrong.

A field carries its unit and its range in its metadata (`option`), so that the range check, the notebooks' parameter
check and the error message all have one source.
"""

import math
import typing
from dataclasses import field, fields


def option(default, *, unit="", low=None, high=None, choices=None, digest=True):
    """A dataclass field with a default, a unit for humans and a permitted range or set of choices."""
    meta = {"unit": unit, "low": low, "high": high, "choices": choices, "digest": digest}
    return field(default=default, metadata=meta)


def _matches(value, kind) -> bool:
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_matches(v, typing.get_args(kind)[0]) for v in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _type_name(kind) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list of {typing.get_args(kind)[0].__name__}"
    return kind.__name__


class Checked:
    """Base of every configuration: refuses a wrong type or a value out of range, naming the field."""

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, f.name, value)
            if not _matches(value, f.type):
                raise TypeError(f"{f.name}: expected {_type_name(f.type)}, got {value!r} ({type(value).__name__})")
            self._check_range(f, value)

    @staticmethod
    def _check_range(f, value):
        low, high, choices = (f.metadata.get(key) for key in ("low", "high", "choices"))
        unit = f" {f.metadata['unit']}" if f.metadata.get("unit") else ""
        for item in value if isinstance(value, tuple) else (value,):
            if choices is not None and item not in choices:
                raise ValueError(f"{f.name}: expected one of {', '.join(map(str, choices))}, got {item!r}")
            if low is not None and item < low or high is not None and item > high:
                raise ValueError(f"{f.name}: expected {_range_text(low, high)}{unit}, got {item!r}")

    def digest_fields(self) -> dict:
        """The fields that decide the result, as JSON-ready values."""
        return {
            f.name: list(value) if isinstance(value := getattr(self, f.name), tuple) else value
            for f in fields(self)
            if f.metadata.get("digest", True)
        }


def _range_text(low, high) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"
