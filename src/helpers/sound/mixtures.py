"""The seeded soundscape generator: recordings of the sound pack → recipes → 4-second mixtures with captions.

A *recipe* says everything about a mixture: which recordings, from which offset, where, how loud, how fast. It is drawn
from a seed of its own, so clip 17 is the same whether 20 or 5,000 are made. Recordings are dealt from shuffled decks
rather than drawn at random, so that none appears much more often than another.

Notebook: 01_corpus.
"""

import copy
import dataclasses
import json
from dataclasses import dataclass
from itertools import count

import numpy as np
import pandas as pd
import soxr

from helpers.base.seeds import seeded
from helpers.sound.pack import SAMPLE_RATE_HZ

N_FOREGROUND = (1, 2, 3)
P_FOREGROUND = (0.35, 0.45, 0.20)
P_BED = 0.8  # the rest has none: a bed that is recognised would pass for a copied clip
REPEATABLE_S = 0.8  # only a short event can honestly be said to sound "twice"
SOFT_DB = (-16.0, -12.0)
NORMAL_DB = (-6.0, 0.0)
BED_DB = (-20.0, -8.0)
BED_WINDOWS_PER_DEAL = 20  # a two-minute recording of rain must not crowd out a short one
FADE_S = 0.01
COUNTED = ("once", "twice", "times", "several", "repeatedly", "again")
SHARES = {"train": 0.7, "heldout": 0.15, "background": 0.15}
GENERIC = {
    "alarm": "an alarm sounds", "ambience": "the surroundings are heard", "animal": "an animal makes a sound",
    "bell": "a bell rings", "bird": "a bird calls", "crash": "something breaks", "door": "a door moves",
    "fire": "a fire burns", "footsteps": "someone takes a step", "gun_explosion": "something explodes",
    "human": "a person makes a sound", "impact": "something is struck", "insect": "an insect makes a sound",
    "keyboard": "a keyboard is used", "machine": "a machine runs", "misc": "something is heard", "music": "music plays",
    "rustle": "something rustles", "speech": "a person speaks", "synth": "an electronic sound plays",
    "tool": "a tool is used", "vehicle": "a vehicle moves", "water": "water moves", "weather": "the weather is heard",
    "whoosh": "something rushes by",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One recording in a mixture. Times in seconds, gains in dB, rate as a factor of speed and pitch."""

    source_id: str
    role: str
    caption: str
    start_s: float
    offset_s: float
    gain_db: float
    rate: float
    tilt_db: float = 0.0  # per octave, about 1 kHz
    repeats: int = 1
    soft: bool = False


@dataclass(frozen=True)
class Recipe:
    """A mixture: its caption and its layers in the order in which they are heard, the bed last."""

    caption: str
    layers: tuple[Layer, ...]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "Recipe":
        data = json.loads(text)
        return Recipe(data["caption"], tuple(Layer(**layer) for layer in data["layers"]))


def split_sources(pack: pd.DataFrame, seed: int = 0) -> pd.Series:
    """The split of every recording, by source group, balanced within each role and class.

    Groups are dealt, in seeded order, to the split that is furthest below its share of the group's stratum (the role and
    class of most of its recordings), counted in recordings. Neither mel nor CLAP similarity takes part.
    """
    stratum = pack["role"] + "/" + pack["class"]
    groups = pd.DataFrame({"stratum": stratum, "group": pack["source_group"]}).groupby("group")["stratum"]
    table = pd.DataFrame({"stratum": groups.agg(lambda s: s.mode().iloc[0]), "size": groups.size()})
    table["order"] = seeded(seed, "split").permutation(len(table))
    names, target = list(SHARES), np.array(list(SHARES.values()))
    split_of = {}
    for _, part in table.groupby("stratum"):
        filled = np.zeros(len(names))
        # large groups first: dealt last they would overfill a split
        for group, row in part.sort_values(["size", "order"], ascending=[False, True]).iterrows():
            choice = int(np.argmax(target * (filled.sum() + row["size"]) - filled))
            filled[choice] += row["size"]
            split_of[group] = names[choice]
    return pack["source_group"].map(split_of)


def join_captions(layers: tuple[Layer, ...], ends_s: list[float]) -> str:
    """What is heard, in order: "a dog barks twice, then a door closes while rain falls"."""
    text, last_end = "", 0.0
    for layer, end in zip(layers, ends_s):
        if layer.role == "bed":
            text = f"{text} while {layer.caption}"
            continue
        manner = {1: "", 2: " twice", 3: " three times"}[layer.repeats] + (" softly" if layer.soft else "")
        link = "" if not text else (", then " if layer.start_s >= last_end - 0.2 else " and ")
        text, last_end = f"{text}{link}{layer.caption}{manner}", end
    return text


class Generator:
    """Draws recipes from one pool of recordings (a split of the sound pack).

    Args:
        pool: rows of the sound pack (id, role, class, caption, seconds).
        seed, name: which corpus and which set; together with the clip's index they decide everything.
        clip_s: length of a mixture in seconds.
        generic: replace each recording's caption by its class's (`GENERIC`).
    """

    def __init__(self, pool: pd.DataFrame, seed: int, name: str, clip_s: float, generic: bool = False):
        self.key: tuple[int | str, ...] = (seed, name)
        self.clip_s = clip_s
        pool = pool.assign(caption=pool["class"].map(GENERIC).fillna(GENERIC["misc"])) if generic else pool
        records = pool.to_dict("records")
        self.sources = {r["id"]: r for r in records}
        self.foregrounds = [r["id"] for r in records if r["role"] == "foreground"]
        self.beds = [r["id"] for r in records if r["role"] == "bed"]
        if not self.foregrounds or not self.beds:
            raise ValueError(
                f"sound pool {name!r}: expected foregrounds and beds, got {len(self.foregrounds)} and {len(self.beds)}"
            )
        self._decks: dict[tuple[str, int], list] = {}
        self.by_caption: dict[tuple[str, str], list[str]] = {}
        for r in records:
            self.by_caption.setdefault((r["role"], r["caption"]), []).append(r["id"])

    def recipes(self, n: int, unique: bool = True) -> list[Recipe]:
        """The first `n` recipes; with `unique`, no two have one caption (a later clip is drawn again)."""
        seen, result = set(), []
        for index in range(n):
            for attempt in count():
                recipe = self._draw(index, attempt)
                if not unique or recipe.caption not in seen or attempt == 200:
                    break
            seen.add(recipe.caption)
            result.append(recipe)
        return result

    def twin(self, recipe: Recipe, index: int, seed: int) -> Recipe:
        """The same caption rendered anew: other takes where there are any, other offsets, gains and bed window."""
        rng = seeded(*self.key, "twin", index, seed)
        layers = []
        n_slots = sum(layer.role == "foreground" for layer in recipe.layers)
        for slot, layer in enumerate(recipe.layers):
            takes = self.by_caption[layer.role, layer.caption]
            others = [t for t in takes if t != layer.source_id] or takes
            source = self.sources[others[rng.integers(len(others))]]
            if layer.role == "bed":
                layers.append(self._bed(source, rng, self._free_offset(source, rng)))
            else:
                layers.append(self._foreground(source, rng, slot, n_slots, layer.repeats, layer.soft))
        return Recipe(recipe.caption, tuple(layers))

    def same_bed(self, recipe: Recipe, index: int, seed: int) -> Recipe:
        """The recipe's bed exactly as it is, under other events: the foregrounds of a recipe drawn anew.

        None of their captions is one of the recipe's own, so none of its foreground recordings is heard. Raises
        ValueError where the recipe has no bed, or where the pool has no other events.
        """
        beds = tuple(layer for layer in recipe.layers if layer.role == "bed")
        if not beds:
            raise ValueError(f"same bed: expected a recipe with a bed, got {recipe.caption!r}")
        taken = {layer.caption for layer in recipe.layers if layer.role == "foreground"}
        for attempt in range(200):
            other = copy.copy(self)  # deals from decks of its own, as evenly as this one
            other.key, other._decks = (*self.key, "same bed", seed, attempt), {}
            events = tuple(layer for layer in other._draw(index, 0).layers if layer.role == "foreground")
            if taken.isdisjoint(layer.caption for layer in events):
                ends = [layer.start_s + layer.repeats * self._length(layer) for layer in events + beds]
                return Recipe(join_captions(events + beds, ends), events + beds)
        raise ValueError(f"same bed: expected other events than {sorted(taken)} in the pool, got none in 200 draws")

    def _deal(self, kind: str, position: int):
        """Card `position` of an endless sequence of shuffled decks of foregrounds or bed windows."""
        size = len(self._deck(kind, 0))
        return self._deck(kind, position // size)[position % size]

    def _deck(self, kind: str, cycle: int) -> list:
        if (kind, cycle) not in self._decks:
            rng = seeded(*self.key, kind, cycle)
            cards = self.foregrounds if kind == "foreground" else self._bed_windows(rng)
            self._decks[kind, cycle] = [cards[i] for i in rng.permutation(len(cards))]
        return self._decks[kind, cycle]

    def _bed_windows(self, rng) -> list[tuple[str, float]]:
        windows = []
        for bed in self.beds:
            starts = np.arange(0.0, self._last_offset(self.sources[bed]) + 1e-9, self.clip_s / 2)
            chosen = rng.permutation(len(starts))[:BED_WINDOWS_PER_DEAL]
            windows += [(bed, float(starts[i])) for i in sorted(chosen)]
            # every deck has the same length, whatever was chosen, so that positions stay put
        return windows

    def _draw(self, index: int, attempt: int) -> Recipe:
        rng = seeded(*self.key, index, attempt)
        n_fg = int(rng.choice(N_FOREGROUND, p=P_FOREGROUND))
        if attempt > 2:
            n_fg = max(n_fg, 2)  # short captions run out first
        n_max = max(N_FOREGROUND)
        shift = 0 if attempt <= 10 else int(rng.integers(1, 10_000))
        ids = [self._deal("foreground", (index + shift) * n_max + slot) for slot in range(n_fg)]
        layers, captions = [], set()
        for slot, source_id in enumerate(ids):
            source = self.sources[source_id]
            if source["caption"] in captions:
                continue
            captions.add(source["caption"])
            repeats = self._repeats(source, rng, n_fg)
            soft = bool(rng.random() < 0.2) and n_fg > 1
            layers.append(self._foreground(source, rng, slot, n_fg, repeats, soft))
        layers.sort(key=lambda layer: layer.start_s)
        if rng.random() < P_BED:
            bed, start = self._deal("bed", index + shift)
            jitter = rng.uniform(0, self.clip_s / 2)
            offset = min(start + jitter, self._last_offset(self.sources[bed]))
            layers.append(self._bed(self.sources[bed], rng, offset))
        ends = [layer.start_s + layer.repeats * self._length(layer) for layer in layers]
        return Recipe(join_captions(tuple(layers), ends), tuple(layers))

    def _repeats(self, source: dict, rng, n_fg: int) -> int:
        fits = source["seconds"] < min(REPEATABLE_S, 0.25 * self.clip_s / n_fg * 1.2)
        if not fits or any(word in source["caption"].split() for word in COUNTED):
            return 1
        return int(rng.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))

    def _length(self, layer: Layer) -> float:
        return min(self.sources[layer.source_id]["seconds"] / layer.rate, self.clip_s)

    def _last_offset(self, source: dict) -> float:
        """From where on, in seconds, a recording lasts for a mixture, with what a faster rate takes; 0 for a shorter one."""
        return max(source["seconds"] - 1.1 * self.clip_s, 0.0)

    def _free_offset(self, source: dict, rng) -> float:
        return float(rng.uniform(0, self._last_offset(source)))

    def _foreground(self, source: dict, rng, slot: int, n_slots: int, repeats: int, soft: bool) -> Layer:
        rate = float(np.exp2(rng.uniform(-1, 1) / 12))  # within a semitone
        length = min(source["seconds"] / rate * repeats, self.clip_s)
        slot_s = self.clip_s / n_slots
        begin = slot * slot_s + rng.uniform(0, max(slot_s - length, 0.05 * slot_s))
        start = float(min(begin, max(self.clip_s - length, 0.0)))
        offset = self._free_offset(source, rng) if self._last_offset(source) else 0.0
        gain = float(rng.uniform(*(SOFT_DB if soft else NORMAL_DB)))
        return Layer(source["id"], "foreground", source["caption"], start, offset, gain, rate, 0.0, repeats, soft)

    def _bed(self, source: dict, rng, offset_s: float) -> Layer:
        rate = float(np.exp2(rng.uniform(-1, 1) / 12))
        gain, tilt = float(rng.uniform(*BED_DB)), float(rng.uniform(-3, 3))
        return Layer(source["id"], "bed", source["caption"], 0.0, offset_s, gain, rate, tilt)


def vary(recipe: Recipe, rng: np.random.Generator, semitones: float, tilt_db: float) -> Recipe:
    """The recipe with every layer's rate changed by up to `semitones` and its tilt by up to `tilt_db`, either way."""

    def varied(layer: Layer) -> Layer:
        rate = layer.rate * float(np.exp2(rng.uniform(-semitones, semitones) / 12))
        return dataclasses.replace(layer, rate=rate, tilt_db=layer.tilt_db + float(rng.uniform(-tilt_db, tilt_db)))

    return Recipe(recipe.caption, tuple(varied(layer) for layer in recipe.layers))


def level_recording(audio: np.ndarray) -> np.ndarray:
    """A recording at 0.1 RMS over its active part (20 ms frames within 30 dB of the loudest), float32 [S]."""
    frame = SAMPLE_RATE_HZ // 50
    power = np.add.reduceat(np.square(audio, dtype=np.float64), np.arange(0, len(audio), frame)) / frame
    active = power[power > power.max() * 1e-3]
    return (audio * (0.1 / np.sqrt(active.mean() + 1e-12))).astype(np.float32)


def render(recipe: Recipe, recordings: dict[str, np.ndarray], clip_samples: int) -> np.ndarray:
    """The mixture of a recipe, int16 [clip_samples], mean removed, peak at 0.5 of full scale (as TANGO prepares its clips).

    `recordings` are levelled (`level_recording`), by id, float32 [S] at 16 kHz.
    """
    mixture = np.zeros(clip_samples, np.float32)
    for layer in recipe.layers:
        sound = _play(layer, recordings[layer.source_id], clip_samples)
        position = round(layer.start_s * SAMPLE_RATE_HZ)
        for _ in range(layer.repeats):
            room = clip_samples - position
            if room <= 0:
                break
            mixture[position : position + len(sound)] += sound[:room]
            position += len(sound)
    mixture -= mixture.mean()
    return np.round(mixture * (0.5 * 32767 / np.abs(mixture).max())).astype(np.int16)


def _play(layer: Layer, recording: np.ndarray, clip_samples: int) -> np.ndarray:
    """The part of a recording that a layer uses: cut, resampled to its rate, filtered, faded at its edges, at its gain."""
    begin = round(layer.offset_s * SAMPLE_RATE_HZ)
    part = recording[begin : begin + int(np.ceil(clip_samples * layer.rate)) + 64]
    part = soxr.resample(part, SAMPLE_RATE_HZ * layer.rate, SAMPLE_RATE_HZ, quality="MQ")[:clip_samples]
    if layer.role == "bed" and len(part) < clip_samples:
        part = np.resize(part, clip_samples)
    if layer.tilt_db:
        spectrum = np.fft.rfft(part)
        octaves = np.log2(np.maximum(np.fft.rfftfreq(len(part), 1 / SAMPLE_RATE_HZ), 60.0) / 1000)
        part = np.fft.irfft(spectrum * 10 ** (layer.tilt_db * octaves / 20), len(part)).astype(np.float32)
    fade = min(round(FADE_S * SAMPLE_RATE_HZ), len(part) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        part = part.copy()
        part[:fade] *= ramp
        part[-fade:] *= ramp[::-1]
    return part * np.float32(10 ** (layer.gain_db / 20))
