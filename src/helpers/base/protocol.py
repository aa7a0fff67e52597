"""The frozen plan of analysis, `profiles/protocol.yml`: what was fixed before the study ran, and what was added later, dated."""

from helpers.base import plain_yaml
from helpers.base.paths import PROFILES

PROTOCOL = PROFILES / "protocol.yml"


def read_protocol() -> dict:
    """The whole plan. Its rules of `verdicts`, the `detectors` and the `exponent` decide results, `first_prediction` and
    `second_prediction` are what was predicted."""
    return plain_yaml.parse(PROTOCOL.read_bytes(), PROTOCOL.stem)
