"""The soundscape generator: seeds, splits, captions, rendering, twins."""

import re

import numpy as np
import pandas as pd
import pytest

from helpers.sound.mixtures import Generator, Layer, Recipe, join_captions, level_recording, render, split_sources

RATE = 16_000


@pytest.fixture(scope="module")
def pool():
    """Sixty made-up recordings: 48 foregrounds in 24 groups, 12 beds in 6 groups."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        bed = i >= 48
        kind = "bg_weather" if bed else ("animal", "door", "tool")[i % 3]
        rows.append({
            "id": f"s{i:02d}", "role": "bed" if bed else "foreground", "class": kind,
            "caption": f"rain of kind {i - 48} falls" if bed else f"thing {i // 2} sounds",
            "seconds": 20.0 if bed else float(rng.uniform(0.2, 3.0)), "source_group": f"g{i // 2}",
        })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def recordings(pool):
    rng = np.random.default_rng(1)
    return {
        r.id: level_recording(rng.standard_normal(int(r.seconds * RATE)).astype(np.float32)) for r in pool.itertuples()
    }


def maker(pool, **options):
    return Generator(pool, seed=3, name="train", clip_s=4.096, **options)


def test_a_clip_is_the_same_however_many_are_made(pool):
    assert maker(pool).recipes(40)[:10] == maker(pool).recipes(10)


def test_seed_and_set_change_every_clip(pool):
    here = maker(pool).recipes(10)
    other_seed = Generator(pool, seed=4, name="train", clip_s=4.096).recipes(10)
    other_set = Generator(pool, seed=3, name="heldout", clip_s=4.096).recipes(10)
    assert all(a != b and a != c for a, b, c in zip(here, other_seed, other_set))


def test_captions_are_unique_and_follow_the_order_of_sounds(pool):
    recipes = maker(pool).recipes(300)
    assert len({r.caption for r in recipes}) == 300
    for recipe in recipes:
        starts = [layer.start_s for layer in recipe.layers if layer.role == "foreground"]
        places = [recipe.caption.index(layer.caption) for layer in recipe.layers if layer.role == "foreground"]
        assert starts == sorted(starts) and places == sorted(places)
        assert (" while " in recipe.caption) == (recipe.layers[-1].role == "bed")


def test_no_recording_is_used_much_more_often_than_another(pool):
    used = pd.Series(
        [
            layer.source_id
            for r in maker(pool).recipes(480, unique=False)
            for layer in r.layers
            if layer.role == "foreground"
        ]
    )
    counts = used.value_counts().reindex(pool.loc[pool.role == "foreground", "id"], fill_value=0)
    assert counts.max() <= 30  # 480 clips deal 1,440 cards to 48 recordings: 30 decks
    assert counts.min() >= 5


def test_split_keeps_groups_whole_and_shares_near(pool):
    split = split_sources(pool)
    assert pool.assign(split=split).groupby("source_group")["split"].nunique().max() == 1
    assert set(split) == {"train", "heldout", "background"}
    assert 0.6 <= (split == "train").mean() <= 0.8
    assert {"train", "heldout", "background"} == set(split[pool.role == "bed"])


def test_generic_captions_name_only_the_class(pool):
    recipes = maker(pool, generic=True).recipes(20, unique=False)
    assert not any(re.search(r"thing \d|kind \d", r.caption) for r in recipes)


def test_twin_keeps_the_caption_and_changes_the_sound(pool, recordings):
    generator = maker(pool)
    for index, recipe in enumerate(generator.recipes(20)):
        twin = generator.twin(recipe, index, seed=0)
        assert twin.caption == recipe.caption and twin != recipe
        assert twin == generator.twin(recipe, index, seed=0) != generator.twin(recipe, index, seed=1)
        takes = [(a, b) for a, b in zip(recipe.layers, twin.layers) if len(generator.by_caption[a.role, a.caption]) > 1]
        assert all(a.source_id != b.source_id for a, b in takes)  # another take wherever there is one
        a, b = (render(r, recordings, 65_536).astype(float) for r in (recipe, twin))
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.5


def test_same_bed_keeps_the_bed_alone(pool):
    generator = maker(pool)
    recipes = generator.recipes(60)
    counts = set()
    for index, recipe in enumerate(recipes):
        if recipe.layers[-1].role != "bed":
            with pytest.raises(ValueError, match=f"expected a recipe with a bed, got {recipe.caption!r}"):
                generator.same_bed(recipe, index, seed=0)
            continue
        other = generator.same_bed(recipe, index, seed=0)
        assert other.layers[-1] == recipe.layers[-1]
        old, events = ([layer for layer in r.layers if layer.role == "foreground"] for r in (recipe, other))
        assert events and not {layer.caption for layer in old} & {layer.caption for layer in events}
        assert [layer.start_s for layer in events] == sorted(layer.start_s for layer in events)
        places = [other.caption.index(layer.caption) for layer in other.layers]
        assert places == sorted(places) and other.caption.endswith(f" while {recipe.layers[-1].caption}")
        assert other == maker(pool).same_bed(recipe, index, seed=0) != generator.same_bed(recipe, index, seed=1)
        counts.add(len(events))
    assert counts == {1, 2, 3}
    assert generator.recipes(60) == recipes == maker(pool).recipes(60)  # nothing is dealt from the corpus's decks


def test_same_bed_without_other_events_is_refused(pool):
    one = pool[(pool.role == "bed") | (pool.caption == "thing 3 sounds")]
    generator = maker(one)
    recipe = next(r for r in generator.recipes(20, unique=False) if r.layers[-1].role == "bed")
    with pytest.raises(ValueError, match=r"expected other events than \['thing 3 sounds'\] in the pool"):
        generator.same_bed(recipe, 0, seed=0)


def test_render_places_levels_and_normalises(recordings, pool):
    sound = pool[pool.role == "foreground"].iloc[0]
    layer = Layer(sound.id, "foreground", sound.caption, 2.0, 0.0, 0.0, 1.0)
    clip = render(Recipe("x", (layer,)), recordings, 65_536)
    assert clip.dtype == np.int16 and clip.shape == (65_536,)
    assert np.abs(clip).max() == pytest.approx(0.5 * 32767, abs=2)
    assert np.abs(clip[: int(1.99 * RATE)]).max() < 0.02 * np.abs(clip).max()  # silent before its start


def test_recipe_survives_json(pool):
    recipe = maker(pool).recipes(1)[0]
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_join_captions_by_hand():
    dog = Layer("a", "foreground", "a dog barks", 0.0, 0.0, 0.0, 1.0, repeats=2)
    door = Layer("b", "foreground", "a door closes", 2.0, 0.0, -14.0, 1.0, soft=True)
    rain = Layer("c", "bed", "rain falls", 0.0, 0.0, -10.0, 1.0)
    assert (
        join_captions((dog, door, rain), [1.0, 3.0, 4.0])
        == "a dog barks twice, then a door closes softly while rain falls"
    )
    assert join_captions((dog, door), [3.0, 3.0]) == "a dog barks twice and a door closes softly"


def test_a_pool_without_beds_is_refused(pool):
    with pytest.raises(ValueError, match="expected foregrounds and beds, got 48 and 0"):
        Generator(pool[pool.role == "foreground"], 0, "train", 4.096)
