"""The retrieval stage of one training run: which training clips are nearest to each of its clips, by every detector.

Queries are the generated clips of all arms, the twins, the controls, held-out clips and the ceiling (training clips after
codec and vocoder). All went through codec and vocoder, as generated clips do.

Notebook: 05_retrieval.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.arms import MAIN, full_arms
from helpers.base.mapped import Selection
from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.room import scratch_in
from helpers.base.seeds import seeded
from helpers.base.settings import EMBEDDINGS, MOST_CEILING
from helpers.copies.detectors import Detectors
from helpers.copies.reference_features import ReferenceFeatures, build_detectors, reference_audio
from helpers.sound.corpus import load_corpus, spread, subset

VARIANT_QUERIES = 500  # generated clips, and twins, whose bias is also taken from other backgrounds
BACKGROUND_SIZES = (25, 100, 250)  # clips, beside the whole background
CONTAMINATED = (1, 5, 50)  # training clips that wrongly lie in the background
VARIANT_KS = (1, 3, 10)
SCORE_COLUMNS = ["kind", "arm", "query_id", "updates", "sample_seed", "detector", "own_id", "own_score", "rank", "ref_id",
                 "score", "n_train", "draw"]  # fmt: skip
QUERY_COLUMNS = {"arm": "", "weights": "", "prompt_set": "", "guidance": np.nan, "steps": 0, "silent": False, "clipped": False,
                 "updates": 0, "sample_seed": 0}  # fmt: skip


def compute(
    out: Path, upstream: dict[str, Path], kinds: dict[str, str], profile: Profile, n_train: int, draw: int
) -> None:
    """Writes the nearest clips of every query that is not silent, and what quality is judged by.

    They are searched in the run's own training clips, or in all of the pool (`RetrievalConfig.gallery`). Arms that are not
    searched in full (`arms.full_arms`) have their nearest clip alone, no background, and no `mel_aligned`.

    scores.parquet: detector, n_train, draw, updates, sample_seed, kind, arm, query_id, own_id (the training clip whose
    caption it was made from; empty for held-out), rank (1 = nearest), ref_id, score, own_score (similarity to the own clip;
    NaN without one), for generated clips; null.parquet the same for all others (kind: twins, heldout, ceiling, altered,
    same_bed, empirical). background.parquet: detector, query_id, rank, score of the nearest background clips.
    variants.parquet: n_train, draw, query_id, size, contaminated, k, bias by the first detector with other backgrounds (draw 0).
    queries.parquet: every query with its settings; row-aligned with it clap.npy, aisfx.npy (zeros where silent) and
    clap_text.npy (of the caption).
    """
    corpus, config = load_corpus(upstream["corpus"]), profile.retrieval
    own_gallery, detectors = config.gallery == "run", build_detectors(profile, corpus)
    audio = reference_audio(corpus, upstream["roundtrip"] if own_gallery else None)
    trained_on = subset(profile.training_run(n_train, draw), len(audio["train"]))
    rows = trained_on if own_gallery else np.arange(len(audio["train"]))
    queries = _queries(upstream, kinds, trained_on if own_gallery else None)
    in_full = [part["arm"].iloc[0] in ("", *full_arms(profile, n_train, draw)) for part, _ in queries]
    table = pd.concat([part for part, _ in queries], ignore_index=True)
    ids = corpus.clips["clip_id"].to_numpy()[corpus.rows("train")]
    run = {"n_train": n_train, "draw": draw}
    scores, backgrounds = [], []
    for name in progress(config.detectors, desc=f"retrieval {profile.key(n_train, draw)}", unit="detector"):
        with scratch_in(out) as scratch:
            references = ReferenceFeatures(detectors, name, audio, upstream.get("references"), Path(scratch))
            wanted = [full or name != "mel_aligned" for full in in_full]
            features = _query_features(detectors, name, queries, wanted, references, Path(scratch))
            if name in EMBEDDINGS:
                np.save(out / f"{name}.npy", _aligned(features, table))
            for (part, _), vectors, full in zip(queries, features, in_full):
                if vectors is None:
                    continue
                sounding = part[~part["silent"]].reset_index(drop=True)
                known = _own_scores(detectors, name, sounding, vectors, references["train"], ids)
                pool = Selection(references["train"], rows)
                near = _neighbours(detectors, name, known, vectors, pool, config.top_k if full else 1)
                scores.append(near.assign(ref_id=ids[rows[near["nearest"]]], **run)[SCORE_COLUMNS])
                if full:
                    near = _neighbours(detectors, name, sounding, vectors, references["background"], config.k_max)
                    backgrounds.append(near[["detector", "query_id", "rank", "score"]])
            if name == config.detectors[0] and draw == 0:
                variants = _variants(detectors, name, queries, features, references, trained_on, profile)
                write_parquet(variants.assign(**run), out / "variants.parquet")
    best = pd.concat(scores, ignore_index=True)
    generated = best["kind"] == "generated"
    write_parquet(best[generated], out / "scores.parquet")
    write_parquet(best[~generated], out / "null.parquet")
    write_parquet(pd.concat(backgrounds, ignore_index=True), out / "background.parquet")
    if detectors.clap is not None:
        np.save(out / "clap_text.npy", detectors.clap.embed_text(table["caption"].tolist()))
    write_parquet(table, out / "queries.parquet")


def _queries(
    upstream: dict[str, Path], kinds: dict[str, str], rows: np.ndarray | None
) -> list[tuple[pd.DataFrame, Selection]]:
    """Tables of queries, each with the audio of those that are not silent; `index` is the own training clip's, or -1.

    `rows`: the training clips whose own ceiling belongs to the run; all that were round-tripped if None.
    """
    queries = []
    for key, kind in kinds.items():
        folder = upstream[key]
        table, audio = pd.read_parquet(folder / "queries.parquet"), np.load(folder / "audio.npy", mmap_mode="r")
        table["row"] = np.arange(len(table))
        if kind == "roundtrip":
            own = table["index"].where(table["split"] == "train", -1)
            table = table.assign(index=own, kind=table["split"].replace({"train": "ceiling"}))
            of_run = table[table["kind"] == "ceiling"]
            if rows is not None:
                of_run = of_run[of_run["index"].isin(rows)]
            parts = [of_run.iloc[spread(np.arange(len(of_run)), MOST_CEILING)], table[table["kind"] == "heldout"]]
        else:
            table = table.assign(kind=table["kind"] if kind == "controls" else kind)
            parts = [part for _, part in table.groupby("kind", sort=False)]
        for part in parts:
            if len(part):
                queries.append(_complete(part.reset_index(drop=True), audio, key))
    return queries


def _complete(table: pd.DataFrame, audio: np.ndarray, key: str) -> tuple[pd.DataFrame, Selection]:
    """A table with all of QUERY_COLUMNS, or their default values, and its audio without silent clips.

    A cosine to silence means nothing.
    """
    for column, value in QUERY_COLUMNS.items():
        if column not in table:
            table[column] = value
    prompted = table["prompt_set"] == "heldout"
    table["index"] = table["index"].mask(prompted, -1)
    sounding = table.loc[~table["silent"], "row"].to_numpy()
    if not len(sounding):
        raise ValueError(
            f"{key}: expected sound, got {len(table)} silent clips; was the model trained for long enough?"
        )
    return table[["query_id", "kind", "index", "caption", *QUERY_COLUMNS]], Selection(audio, sounding)


def _query_features(
    detectors: Detectors, name: str, queries: list, wanted: list[bool], references: ReferenceFeatures, scratch: Path
) -> list:
    """Features of every wanted table's clips that are not silent, else None; the references may have those of held-out and
    ceiling clips."""
    features = []
    for number, (table, audio) in enumerate(queries):
        kind = table["kind"].iloc[0]
        if not wanted[number]:
            features.append(None)
        elif kind == "heldout" and "heldout" in references:
            features.append(references["heldout"])
        elif kind == "ceiling" and "ceiling" in references:  # the first training clips, in order
            features.append(Selection(references["ceiling"], table["index"].to_numpy()))
        else:
            features.append(detectors.features(name, audio, scratch / f"{number}.npy"))
    return features


def _aligned(features: list, table: pd.DataFrame) -> np.ndarray:
    """Embeddings [Q, E] in the order of the table of all queries, zeros where silent."""
    sounding = ~table["silent"].to_numpy(bool)
    result = np.zeros((len(table), features[0].shape[1]), np.float32)
    result[sounding] = np.concatenate([np.asarray(part[0 : len(part)]) for part in features])
    return result


def _neighbours(detectors: Detectors, name: str, table: pd.DataFrame, features, references, k: int) -> pd.DataFrame:
    """The k nearest references of every query, a row each: the query's columns, detector, rank, score, and `nearest`, a row."""
    nearest = detectors.nearest(name, features, references, min(k, len(references)))
    depth = nearest.scores.shape[1]
    rows = table.loc[table.index.repeat(depth)].reset_index(drop=True)
    rank = np.tile(np.arange(1, depth + 1), len(table))
    return rows.assign(detector=name, rank=rank, score=nearest.scores.ravel(), nearest=nearest.indices.ravel())


def _own_scores(detectors: Detectors, name: str, table: pd.DataFrame, features, references, ids) -> pd.DataFrame:
    """The queries with `own_id` and `own_score`: of the training clip whose prompt was used; "" and NaN without one."""
    own, index = np.full(len(table), np.nan, np.float32), table["index"].to_numpy()
    if (known := np.flatnonzero(index >= 0)).size:
        own[known] = detectors.similarity(name, Selection(features, known), Selection(references, index[known]))
    return table.assign(own_id=np.where(index >= 0, ids[np.maximum(index, 0)], ""), own_score=own)


def _variants(
    detectors: Detectors,
    name: str,
    queries: list,
    features: list,
    references: ReferenceFeatures,
    rows: np.ndarray,
    profile: Profile,
) -> pd.DataFrame:
    """The bias of main clips and twins by a smaller background, and by one that wrongly holds training clips."""
    background, rng = np.asarray(references["background"][:]), seeded(profile.retrieval.seed, "background")
    order, intruders = rng.permutation(len(background)), rng.permutation(rows)
    sizes = [(size, 0) for size in BACKGROUND_SIZES if size < len(background)]
    cases = [*sizes, *((len(background), count) for count in (0, *CONTAMINATED) if count <= len(rows))]
    variants = []
    for (table, _), features_of in zip(queries, features):
        if table["kind"].iloc[0] != profile.nulls[0] and table["arm"].iloc[0] != MAIN:
            continue
        sounding = table[~table["silent"]]["query_id"].to_numpy()
        chosen = np.unique(np.linspace(0, len(sounding) - 1, min(VARIANT_QUERIES, len(sounding))).astype(int))
        some = np.asarray(Selection(features_of, chosen)[:])
        for size, contaminated in cases:
            extra = np.asarray(Selection(references["train"], np.sort(intruders[:contaminated]))[:])
            against = np.concatenate([background[np.sort(order[:size])], extra])
            depth = min(profile.retrieval.k_max, len(against))
            nearest = detectors.nearest(name, some, against, depth).scores
            for k in (k for k in VARIANT_KS if k <= depth):
                bias = nearest[:, :k].mean(axis=1)
                variants.append(
                    pd.DataFrame(
                        {"query_id": sounding[chosen], "size": size, "contaminated": contaminated, "k": k, "bias": bias}
                    )
                )
    return pd.concat(variants, ignore_index=True)
