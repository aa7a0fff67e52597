"""Whether a distance that was trained on what listeners said tells near-exact clips from honest ones, as the rule does.

    pip install --no-deps cdpam==0.0.6
    python tools/judge_perceptual.py

Writes benchmarks/perceptual.csv, a row a pair, and benchmarks/perceptual_summary.csv. For maintainers: about an hour of one
core; what is made is kept in `--work`, and a killed run goes on after its last part.

The plan, written before any pair was measured. It was written for the first study. Since then, and still before any pair, the
model and the position became those of `pocket`, where one median of the twins of all sizes serves every size:

- Model: the published denoiser of the smallest training set (profile `pocket`, n100_d0). All clips went through codec and
  vocoder, and each is compared with its own training clip as that was mixed, all brought to one peak.
- Kinds, three clips for each of the 100 training clips: `near_exact`, generated from its caption with the study's noise seeds,
  and kept if its nearest training clip by log-mel is its own and the position reaches the profile's theta; `twins`, its
  caption mixed anew, as the study's twins are; `altered`, known copies as the study alters them. One clip for each: `replay`, the clip itself; `other`, another training clip, the far end.
- The distance is CDPAM 0.0.6 as it is published. Nothing is tuned or chosen by its outcome, and it is run once.
- Areas under the ROC curve, the chance that a clip of the first kind is farther than one of the second: twins over near-exact,
  altered over near-exact, twins over altered, other over near-exact; and of the altered copies, those that the
  rule refuses over those that it accepts. The same by log-mel similarity, for comparison: what the rule selected by it is told
  well by it, so there it is no finding. 95 % intervals draw leading source groups anew, and kinds of alteration.
- "Tells apart": the whole interval lies above 0.5. "Agrees with the rule": it tells twins from near-exact with an area
  of 0.9 or more. Spearman's correlation of distance and log-mel similarity, over the three kinds and within each.
- Expected: the distance uses the half of CDPAM's embedding that was trained on recording conditions, not the half for content, and
  it learned from speech. So altered copies should be told from near-exact clips, and twins less surely.
- Embeddings are computed in bfloat16. How far that moves a distance is measured on nine pairs, and stands in the summary.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from perceptual_distance import PerceptualDistance
from scipy.stats import spearmanr

from helpers.base.cosine import row_cosines
from helpers.base.parts import make_parts
from helpers.base.paths import ROOT, runs_root
from helpers.base.profile import Profile
from helpers.base.seeds import seeded
from helpers.copies.detection_metrics import resampled_aurocs
from helpers.copies.detectors import Detectors
from helpers.copies.pooled import twins_and_ceiling
from helpers.copies.rates import cluster_bootstrap, exact_interval
from helpers.copies.replication import position
from helpers.models.codec import load_codec
from helpers.models.denoiser import load_unet
from helpers.models.sampler import sample_latents
from helpers.models.text import encode_captions
from helpers.models.vocoder import load_vocoder
from helpers.sound.altered_copies import alter, plan_alterations
from helpers.sound.corpus import Corpus, leading_groups, load_corpus, render_all, subset, twin_recipes
from helpers.sound.mel import log_mel
from helpers.sound.profiles import load_profile
from helpers.stages.generation import plan_queries
from helpers.study import publication, registry

PAIRS, SUMMARY = (ROOT / "benchmarks" / f"perceptual{part}.csv" for part in ("", "_summary"))
N_TRAIN, DRAW, EACH, STEP = 100, 0, 3, 20  # clips of a kind for each training clip; clips of a part
N_CHECKED = 3  # of each kind, in float32 as well
KINDS = ("near_exact", "altered", "twins")
AREAS = (  # farther, nearer
    ("twins", "near_exact"), ("altered", "near_exact"), ("twins", "altered"), ("other", "near_exact"),
    ("altered_refused", "altered_accepted"),
)  # fmt: skip


class Clips(NamedTuple):
    """One kind: `table` (own, a row number among the training clips; transform, "" for none), and what makes its audio,
    int16 [n, S], of some of the rows."""

    table: pd.DataFrame
    make: Callable[[slice], np.ndarray]


def kinds(profile: Profile, data: Corpus, indices: np.ndarray) -> dict[str, Clips]:
    """The clips of every kind but `other`, which are replays of other training clips; `indices` are those of the model's clips
    among the training clips of the corpus."""
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    rate_hz = profile.corpus.sample_rate_hz
    vocode = load_vocoder(profile.codec, profile.mel, rate_hz)

    def through(audio: np.ndarray) -> np.ndarray:
        return vocode(codec.decode(codec.encode(log_mel(audio, profile.mel, rate_hz))))

    members, place = data.rows("train")[indices], pd.Series(np.arange(len(indices)), indices)

    def own(rows: slice) -> np.ndarray:
        return np.stack([np.asarray(data.audio[row]) for row in members[rows]])

    config = dataclasses.replace(profile.generation, n_train=N_TRAIN, draw=DRAW, seeds_per_prompt=EACH)
    folder = registry.denoiser_folder(profile, N_TRAIN, DRAW)
    unet, prompts = load_unet(folder), plan_queries(folder, data, profile, config)

    def generate(rows: slice) -> np.ndarray:
        captions, seeds = prompts["caption"][rows].tolist(), prompts["noise_seed"][rows].tolist()
        states, mask = encode_captions([*captions, ""], profile.text)
        text = states[:-1], mask[:-1], states[-1], mask[-1]
        return vocode(codec.decode(sample_latents(unet, *text, seeds, config)))

    twins, recipes = twin_recipes(profile.corpus, data.clips, indices, EACH * N_TRAIN)
    plan = plan_alterations(profile.replace("controls", n_altered=EACH * N_TRAIN), N_TRAIN, DRAW)

    def altered(rows: slice) -> np.ndarray:
        copies = zip(range(len(plan))[rows], plan[rows].to_dict("records"))
        return np.stack([alter(data, profile, N_TRAIN, DRAW, number, copy) for number, copy in copies])

    def table(index: pd.Series, transform="") -> pd.DataFrame:
        return pd.DataFrame({"own": place[index].to_numpy(), "transform": transform})

    everyone = table(indices)
    return {
        "own": Clips(everyone, own),
        "replay": Clips(everyone, lambda rows: through(own(rows))),
        "generated": Clips(table(prompts["index"]), generate),
        "twins": Clips(
            table(twins["index"]),
            lambda rows: through(np.concatenate(list(render_all(recipes[rows], profile.corpus)))),
        ),
        "altered": Clips(table(plan["index"], plan["transform"]), lambda rows: through(altered(rows))),
    }


def measure(profile: Profile, work: Path) -> tuple[pd.DataFrame, float]:
    """All pairs (kind, clip_id, group, transform, distance, similarity, position), and the largest change of a distance by
    bfloat16, as a share of it. `group`: a number for the own clip's leading source group, which intervals draw anew."""
    distance, data = PerceptualDistance(), load_corpus(registry.finished("corpus", profile).path)
    indices = subset(profile.training_run(N_TRAIN, DRAW), profile.corpus.n_train)
    members = data.rows("train")[indices]
    rate_hz, audio, heard, made = profile.corpus.sample_rate_hz, {}, {}, kinds(profile, data, indices)
    for kind, clips in made.items():
        parts = make_parts(work, len(clips.table), STEP, clips.make, name=f"{kind}_audio_")
        audio[kind] = np.concatenate([np.load(part) for part in parts])
    for kind, sounds in audio.items():
        embed = lambda rows, sounds=sounds: distance.embed(sounds[rows], rate_hz)  # noqa: E731
        parts = make_parts(work, len(sounds), STEP, embed, name=f"{kind}_heard_")
        heard[kind] = np.concatenate([np.load(part) for part in parts])
    order = seeded(profile.retrieval.seed, "perceptual", "other").permutation(N_TRAIN)
    others = np.empty(N_TRAIN, np.int64)
    others[order] = np.roll(order, 1)  # of each clip another one, each once
    made["other"], audio["other"], heard["other"] = made["replay"], audio["replay"][others], heard["replay"][others]
    originals, own, tables = audio.pop("own"), heard.pop("own"), []
    judge = _rule(profile, data, members, originals)
    for kind, sounds in audio.items():
        table = made[kind].table.assign(kind=kind, distance=distance.between(heard[kind], own[made[kind].table["own"]]))
        tables.append(table.assign(**judge(sounds, table["own"].to_numpy())))
    pairs = pd.concat(tables, ignore_index=True)
    checked = pd.concat([table.head(N_CHECKED) for table in tables if table["kind"].iloc[0] in ("generated", *KINDS)])
    sounds = np.concatenate([audio[kind][:N_CHECKED] for kind in checked["kind"].unique()])
    moved = _moved(checked["distance"].to_numpy(), sounds, originals[checked["own"]], rate_hz)
    pairs = pairs[(pairs["kind"] != "generated") | (pairs["top1"] & (pairs["position"] >= profile.thresholds.theta))]
    ids = data.clips["clip_id"].to_numpy()[members]
    pairs = pairs.assign(
        kind=pairs["kind"].replace("generated", "near_exact"),
        clip_id=ids[pairs["own"]],
        group=pd.factorize(leading_groups(data.clips)[ids])[0][pairs["own"]],  # numbered: their names are long
    )
    columns = ["kind", "clip_id", "group", "transform", "distance", "similarity", "position"]
    return pairs[columns], moved


def _moved(fast: np.ndarray, sounds: np.ndarray, originals: np.ndarray, rate_hz: int) -> float:
    """By what share bfloat16 moves a distance at most: distances [n] in it, of pairs of clips int16 [n, S]."""
    exact = PerceptualDistance(fast=False)
    return float(np.abs(fast / exact.between(exact.embed(sounds, rate_hz), exact.embed(originals, rate_hz)) - 1).max())


def _rule(profile: Profile, data: Corpus, members: np.ndarray, own: np.ndarray):
    """A function from clips int16 [n, S] and the rows of their own training clips to similarity to that clip by log-mel,
    position, and whether it is the nearest."""
    detectors = Detectors(
        dataclasses.replace(profile.retrieval, detectors=("mel",)),
        profile.mel,
        profile.corpus.sample_rate_hz,
        np.empty(0),
    )
    twins, ceilings = twins_and_ceiling(
        pd.read_parquet(registry.finished("scores", profile).path / "null.parquet"), "mel"
    )
    ceiling = ceilings.set_index("clip_id")["own_score"][data.clips["clip_id"].to_numpy()[members]].to_numpy()
    median, references = float(twins["own_score"].median()), detectors.features("mel", own)

    def judge(sounds: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        features = detectors.features("mel", sounds)
        similarity = row_cosines(features, references[rows], np.float64)
        nearest = detectors.nearest("mel", features, references, 1).indices[:, 0]
        where = position(similarity, ceiling[rows], median)
        return {"similarity": similarity, "position": where, "top1": nearest == rows}

    return judge


def summarise(pairs: pd.DataFrame, theta: float, n_bootstrap: int, seed: int) -> pd.DataFrame:
    """measure, of, over, n, n_over, value, low, high. `distance`, `similarity`: median and quartiles of a kind; `area` and
    `area_by_mel`: that clips `of` a kind are farther than those it is `over`; `spearman`: of distance and similarity."""
    rows = []
    for kind, part in pairs.groupby("kind", sort=False):
        for name in ("distance", "similarity"):
            low, middle, high = part[name].quantile([0.25, 0.5, 0.75])
            rows.append((name, kind, "", len(part), 0, middle, low, high))
    altered = pairs[pairs["kind"] == "altered"].assign(
        kind=lambda t: np.where(t["position"] >= theta, "altered_accepted", "altered_refused")
    )
    of = dict(tuple(pd.concat([pairs, altered]).groupby("kind")))
    for farther, nearer in AREAS:
        for measure, score in (("area", lambda t: t["distance"]), ("area_by_mel", lambda t: -t["similarity"])):
            value = _area(of[farther], of[nearer], score, n_bootstrap, seed)
            rows.append((measure, farther, nearer, len(of[farther]), len(of[nearer]), *value))
    for kind in ("all", *KINDS):
        part = pairs[pairs["kind"].isin(KINDS)] if kind == "all" else of[kind]
        values = part[["distance", "similarity"]].to_numpy()
        limits = cluster_bootstrap(values, part["group"], _spearman, n_bootstrap, seed=seed)
        rows.append(("spearman", kind, "", len(part), 0, _spearman(values), *limits))
    return pd.DataFrame(rows, columns=["measure", "of", "over", "n", "n_over", "value", "low", "high"])


def _spearman(values: np.ndarray) -> float:
    return float(spearmanr(values[:, 0], values[:, 1]).statistic)


def _area(
    farther: pd.DataFrame, nearer: pd.DataFrame, score, n_bootstrap: int, seed: int
) -> tuple[float, float, float]:
    """The area under the ROC curve, and its 95 % interval; the exact binomial one of its groups where it is 1 or 0."""
    pos, neg = score(farther).to_numpy(), score(nearer).to_numpy()
    area = float((pos[:, None] > neg[None, :]).mean())
    if area in (0, 1):
        n = min(farther["group"].nunique(), nearer["group"].nunique())
        return area, *exact_interval(n * area, n)
    draws = resampled_aurocs(pos, neg, farther["transform"], farther["group"], nearer["group"], n_bootstrap, seed)
    return area, *map(float, np.nanquantile(draws, [0.025, 0.975]))


def main() -> None:
    """Measures, and writes both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=runs_root() / "perceptual", help="where parts are kept")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    profile = load_profile("pocket")
    # its model is measured as published, never trained anew
    publication.use_publication(publication.find(profile.name))
    try:
        pairs, moved = measure(profile, work)
    except ModuleNotFoundError as error:
        raise SystemExit(str(error)) from None
    pairs.round({"distance": 6, "similarity": 6, "position": 4}).to_csv(PAIRS, index=False)
    chosen = profile.thresholds
    table = summarise(pd.read_csv(PAIRS, keep_default_na=False), chosen.theta, chosen.n_bootstrap, chosen.seed)
    table.loc[len(table)] = ("bfloat16", "all", "", len(KINDS) * N_CHECKED, 0, moved, math.nan, math.nan)
    table.round(4).to_csv(SUMMARY, index=False)


if __name__ == "__main__":
    main()
