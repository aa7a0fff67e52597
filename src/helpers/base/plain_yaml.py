"""YAML as people mean it: numbers are decimal, as in YAML 1.2, words are words, and nothing is given twice.

PyYAML reads YAML 1.1, in which 010 is eight, 1:30 is ninety, `no` is false and 1e-4 is a word, and of a key that is given
twice it drops the first.
"""

import re

import yaml

NUMBERS = "-+.0123456789"
# YAML 1.2's core schema, but for octal and hexadecimal numbers: the tag, what it looks like, how it may begin.
PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list(NUMBERS)),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list(NUMBERS),
    ),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # none of YAML 1.1's

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for tag, pattern, first in PLAIN:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})\\Z"), first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def parse(text: str | bytes, what: str):
    """The value that `text` states. Raises ValueError, in one line that names `what` and the line of the mistake."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{what}, line {mark.line + 1}" if mark else what
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ValueError(f"{where}: cannot be read as YAML: {why}") from None
