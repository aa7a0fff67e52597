"""Every stage's digest is the one that a committed list holds: no edit makes finished results stale by mistake.

A published study's list (`results/<profile>/digests.json`) is written by `publish` alone. The other profiles' is
`tests/digests.json`, which `UPDATE_DIGESTS=1 make test PYTEST_ARGS=tests/test_digests.py` writes anew where a change is
meant.
"""

import json
import os
from pathlib import Path

import pytest

from helpers.sound.profiles import load_profile
from helpers.study import manifest, publication, registry

OTHERS = Path(__file__).with_name("digests.json")
PROFILES = sorted(
    {*json.loads(OTHERS.read_text()), *(path.parent.name for path in publication.RESULTS.glob("*/digests.json"))}
)


def _compare(profile: str, listed: dict[str, str], computed: dict[str, str], remedy: str) -> str:
    """One line of what differs; "" for nothing."""
    changed = sorted(title for title in listed.keys() | computed.keys() if listed.get(title) != computed.get(title))
    if not changed:
        return ""
    named = ", ".join(
        f"{title} ({listed.get(title, 'none')[:12]} in the list, {computed.get(title, 'none')[:12]} by the code)"
        for title in changed[:5]
    )
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return f"{profile}: results of {len(changed)} stages are made stale: {named}{more}. If that is meant, {remedy}"


@pytest.mark.parametrize("profile", PROFILES)
def test_no_digest_has_changed(profile):
    stages = registry.build_all(load_profile(profile))
    computed = {stage.title: stage.digest for stage in stages}
    assert len(computed) > 20
    if published := publication.find(profile):
        listed = json.loads((published / publication.DIGESTS).read_text())
        remedy = "compute the study anew and `publish` it, which writes its list"
        whole, optional = "findings" in listed, {stage.title for stage in stages if stage.optional}
        # a study in the making may lack any stage: what there is must stay
        computed = {
            title: one for title, one in computed.items() if title in listed or (whole and title not in optional)
        }
    else:
        every = json.loads(OTHERS.read_text())
        if os.environ.get("UPDATE_DIGESTS"):
            manifest.write_json(OTHERS, {**every, profile: computed})
            return
        listed, remedy = every[profile], "write the list anew with UPDATE_DIGESTS=1"
    if line := _compare(profile, listed, computed, remedy):
        pytest.fail(line, pytrace=False)


def test_every_profile_has_its_list(repository):
    profiles = {path.stem for path in (repository / "profiles").glob("*.yml")}
    assert {"pocket", "smoke", "tiny", "pilot"} <= set(PROFILES) <= profiles


def test_the_published_list_is_the_manifests():
    folder = publication.find("pocket")
    listed = json.loads((folder / publication.DIGESTS).read_text())
    assert sorted(listed.values()) == sorted(entry["digest"] for entry in publication.read_entries(folder).values())


def test_what_differs_is_named():
    line = _compare("tiny", {"a": "1" * 64, "b": "2" * 64}, {"a": "1" * 64, "b": "3" * 64, "c": "4" * 64}, "renew it")
    assert line == (
        "tiny: results of 2 stages are made stale: b (222222222222 in the list, 333333333333 by the code), "
        "c (none in the list, 444444444444 by the code). If that is meant, renew it"
    )
    assert _compare("tiny", {"a": "1"}, {"a": "1"}, "") == ""
