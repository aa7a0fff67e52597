"""An audit of clips that some model made: which come nearer to its training clips than honest clips do.

Files are compared whole: by the book's detectors over overlapping windows, and by a local one that finds excerpts
(`copies.landmarks`). All detectors together give each clip one p-value (`copies.evidence`), calibrated on honest clips: such
as the model could have made, but did not learn from, one a recording. Where these differ from the generated ones in length,
silence, bandwidth or noise, no rate holds, and none is stated (`sound.likeness`). What the audit could find is told by copies
that it plants itself (`copies.planting`). Twins and ceiling need the recordings behind the clips and the codec, so nothing is
called near-exact here.
"""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.mapped import chunks
from helpers.base.progress import progress
from helpers.base.settings import Profile, ThresholdsConfig
from helpers.copies.audit_folders import KINDS, Folders, account, read_folders
from helpers.copies.audit_search import PLACES, gather, global_matches, local_matches
from helpers.copies.calibration import calibrate_threshold, flag
from helpers.copies.detectors import Detectors
from helpers.copies.evidence import Tail, combined, honest_needed, p_values, q_values, smallest_p
from helpers.copies.planting import ALTERATIONS
from helpers.copies.rates import Rate, flagged_rate
from helpers.models import aisfx
from helpers.sound.likeness import MEASURES, Difference
from helpers.sound.mel import level, log_mel, mean_of_bands
from helpers.sound.profiles import load_profile
from helpers.sound.sounds import Windows

LOCAL, TOGETHER = "landmarks", "combined"  # what the local detector and the verdict over all are called in tables
COLUMNS = [
    *("kind", "clip", "detector", "nearest", "similarity", "bias", "score", "tau", "flagged", "part", "p", "q"),
    *PLACES,
]
MATCH_COLUMNS = ["kind", "clip", "detector", "rank", "nearest", "score", *PLACES]
CHUNK = 64
ONE_LANDMARK, COSINES_APART = 10.0, 1e-3  # least differences of scores that mean anything: what sets a scale
WEAK = 0.5  # power below which the words say what would raise it


class Verdict(NamedTuple):
    """What one detector, or all of them combined, flags at tau: of generated clips, of honest ones set aside, and of planted
    exact copies beside the right clip; `beta` and `k` are the weights it was given (NaN and 0: none)."""

    detector: str
    tau: float
    flagged: Rate
    verified: Rate
    copies: Rate
    beta: float
    k: int


class Audit(NamedTuple):
    """What `audit` returns.

    `table` has a row for each generated clip, honest one of parts C2 and C3 and planted copy, by detector (COLUMNS); rows of
    the detector "combined" are the verdict. `matches` has the K_BEST of each (MATCH_COLUMNS). `rates` has a row for each
    detector and rate: what is flagged, verified and, of planted copies, found. `power` has a row for each alteration: the
    share that each detector flags beside the right clip. `left_out` has reasons by file, for each folder; `measures` the
    medians of the folders; `differing` what forbids to state a rate. As text: `in_words`, and how many files were left out.
    """

    table: pd.DataFrame
    verdicts: list[Verdict]
    left_out: dict[str, dict[str, str]]
    matches: pd.DataFrame
    rates: pd.DataFrame
    power: pd.DataFrame
    measures: pd.DataFrame
    differing: list[Difference]

    def __str__(self) -> str:
        return "\n".join([*in_words(self), *(account(kind, why) for kind, why in self.left_out.items())])

    def summary(self) -> dict:
        """All but the tables of clips, as JSON takes it: rates, power, folders, what differs, and every file left out."""
        null = self.table[(self.table["detector"] == TOGETHER) & (self.table["part"] == "C2")]
        return {
            "verdicts": [{**one._asdict(), **{name: vars(one._asdict()[name]) for name in Verdict._fields[2:5]}} for one in self.verdicts],
            "rates": self.rates.to_dict("records"),
            "power": self.power.to_dict("records"),
            "smallest_p": smallest_p(len(null)),
            "folders": self.measures.to_dict("index"),
            "differing": [one._asdict() for one in self.differing],
            "left_out": self.left_out,
        }  # fmt: skip


def audit(
    generated: str | Path,
    training: str | Path,
    honest: str | Path | None = None,
    profile: Profile | str = "pocket",
    report: Path | None = None,
    match_honest: bool = False,
    **thresholds,
) -> Audit:
    """Which clips of a model come nearer to its training clips than honest clips do: folders of audio, one call.

    Args:
        generated: the folder of the clips that the model made; a folder is searched with all its subfolders.
        training: the folder of those that it was trained on.
        honest: the folder of clips of the same kind that it was not trained on, through its codec if it has one. Without
            one, training clips that have no duplicate stand in.
        profile: length of windows, sample rate, detectors and thresholds. A name stands for `profiles/<name>.yml`, less the
            detector `aisfx` where its package is not installed.
        report: a file to write what is left out to, as JSON, as soon as the folders are read: it outlives a failure.
        match_honest: whether honest clips are cut, padded and filtered to be like the generated ones.
        thresholds: fields of `ThresholdsConfig` over the profile's, as `fpr=0.02`.

    Returns:
        Tables, verdicts and what was left out. Printed, it says what was flagged and how far that can be trusted.

    Raises:
        FileNotFoundError: a folder that is missing.
        ValueError: a setting out of range, or folders that cannot be compared (`read_folders` says which).
        ModuleNotFoundError: a detector whose package is not installed.
        OSError: too little room in the folder for temporary files, or a file that cannot be read.
        RuntimeError: the comparison failed after all of these were in order.

    Source: the score is that of chapters 05 and 06 (`copies.bias`); for p-values see `copies.evidence`.
    """
    if isinstance(profile, str):
        profile = leave_out_missing(load_profile(profile))
    if thresholds:
        profile = profile.replace("thresholds", **thresholds)
    aisfx.require(profile.retrieval.detectors)
    with tempfile.TemporaryDirectory() as folder:
        scratch, detectors = Path(folder), load_detectors(profile)
        given = dict(zip(KINDS, (generated, training, honest)))
        folders = read_folders(given, profile, scratch, report, match_honest)  # type: ignore[arg-type]  # paths as text
        _check_room(folders, profile, scratch)
        try:
            return judge(folders, detectors, profile, scratch)
        except (ValueError, TypeError, FileNotFoundError) as error:  # what is raised above speaks of the caller's input
            raise RuntimeError(f"audit: the comparison failed: {error}") from error


def leave_out_missing(profile: Profile) -> Profile:
    """The profile without the detector whose package is optional, where that is not installed."""
    names = profile.retrieval.detectors
    if aisfx.NAME not in names or aisfx.installed():
        return profile
    return profile.replace("retrieval", detectors=tuple(name for name in names if name != aisfx.NAME))


def load_detectors(profile: Profile) -> Detectors:
    """The profile's detectors, each tried on noise of the profile's clip length; `judge` sets their mean.

    Raises ValueError for none, one twice, or one that takes clips of another length.
    """
    names, corpus = profile.retrieval.detectors, profile.corpus
    if not names or len(set(names)) < len(names):
        raise ValueError(f"detectors: expected one or more different ones, got {list(names)}")
    mean = np.zeros(profile.mel.n_mels, np.float32)
    detectors = Detectors(profile.retrieval, profile.mel, corpus.sample_rate_hz, mean, sounding_only=True)
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, corpus.clip_samples), dtype=np.int16)
    for name in names:
        try:
            detectors.features(name, noise)
        except ValueError as error:
            raise ValueError(f"detector {name} takes no such clips ({error}); detectors=[...] leaves it out") from None
    return detectors


def _check_room(folders: Folders, profile: Profile, scratch: Path) -> None:
    samples, mel = profile.corpus.clip_samples, profile.mel
    heard = sum(clips.measures["seconds"].sum() for clips in folders.clips.values()) * profile.corpus.sample_rate_hz
    files = sum(len(clips.names) for clips in folders.clips.values())
    needed = (2 * heard / samples + files) * 4 * samples // mel.hop_length * mel.n_mels  # one detector's features
    if needed > (free := shutil.disk_usage(scratch).free):
        raise OSError(
            f"expected {needed / 1e9:.1f} GB free for {files} files, got {free / 1e9:.1f}; TMPDIR=... names a folder for them"
        )


def judge(folders: Folders, detectors: Detectors, profile: Profile, scratch: Path) -> Audit:
    """Compares every generated clip with every training clip by each detector, and all of them together.

    A quarter of the honest clips (part C1) is the background that the bias is taken from, and sets with planted copies
    each detector's weights and scale; a half (C2) gives p-values; a quarter (C3) is set aside, as a check. One detector's
    features lie in `scratch` at a time.
    """
    used, clips = profile.thresholds, folders.clips
    searched = np.setdiff1d(np.arange(len(clips["training"].names)), folders.stand_ins)
    queries = gather(clips, searched, profile, scratch)
    size = profile.corpus.clip_samples
    windows = {
        "training": Windows(clips["training"].sounds, range(len(clips["training"].names)), size),
        "queries": Windows(queries.sounds, range(len(queries.about)), size),
    }
    detectors.mean = mean_of_bands(
        log_mel(level(audio), profile.mel, profile.corpus.sample_rate_hz)
        for _, audio in chunks(windows["training"], CHUNK)
    )
    found, weights = [], {}
    for name in progress((*detectors.names, LOCAL), desc="audit", unit="detector"):
        if name == LOCAL:
            matches, weights[name] = local_matches(queries, clips["training"], folders.stand_ins, profile), (np.nan, 0)
        else:
            matches, *weights[name] = global_matches(
                detectors, name, queries, windows, folders.stand_ins, used, scratch
            )
            for column in PLACES:
                matches[column] /= profile.corpus.sample_rate_hz
        found.append(matches.assign(detector=name))
    matches = pd.concat(found, ignore_index=True)
    matches["nearest"] = clips["training"].names[matches["reference"]]
    table = _verdicts(matches, queries.about)
    return _account_of(table, matches, queries.about, weights, folders, used)


def _verdicts(matches: pd.DataFrame, about: pd.DataFrame) -> pd.DataFrame:
    """The best match of each query by each detector, and all detectors' together, as rows of the detector "combined"; each
    with its p-value beside the honest clips of C2."""
    best = matches.drop_duplicates(["detector", "row"]).join(about, on="row")
    first = (best["part"] == "C1").to_numpy()
    best["evidence"] = 0.0
    for name, rows in best.groupby("detector").groups.items():
        least = ONE_LANDMARK if name == LOCAL else COSINES_APART
        tail = Tail.of(best.loc[rows, "score"][first[best.index.get_indexer(rows)]], least)
        best.loc[rows, "evidence"] = tail.evidence(best.loc[rows, "score"])
    together = combined(best).rename(columns={"evidence": "score"}).assign(detector=TOGETHER)
    together = together.merge(about.assign(row=about.index), on=["kind", "clip"])
    # the time of the match: by the detector with most evidence for this clip, the local one before others
    order = best.assign(local=best["detector"] == LOCAL).sort_values(["local", "evidence"], ascending=False)
    places = order.drop_duplicates(["row", "nearest"])[["row", "nearest", "reference", *PLACES]]
    together = together.merge(places, on=["row", "nearest"], how="left").assign(similarity=np.nan, bias=np.nan)
    table = pd.concat([best.drop(columns="evidence"), together], ignore_index=True)
    for _, rows in table.groupby("detector").groups.items():
        scores = table.loc[rows, "score"]
        table.loc[rows, "p"] = p_values(scores, scores[table.loc[rows, "part"] == "C2"])
    return table[table["part"] != "C1"].reset_index(drop=True)


def _account_of(
    table: pd.DataFrame,
    matches: pd.DataFrame,
    about: pd.DataFrame,
    weights: dict,
    folders: Folders,
    used: ThresholdsConfig,
) -> Audit:
    """The audit's tables. Where generated and honest clips differ, p, q, tau and flags are missing: no rate would hold."""
    table["right"] = table["reference"] == table["of"]
    rates, verdicts, power = [], [], {}
    names = [TOGETHER, *weights]
    for name in names:
        rows = table["detector"] == name
        null = table.loc[rows & (table["part"] == "C2"), "score"]
        for fpr in (used.fpr, *used.further_fprs):
            tau = None if folders.differing else calibrate_threshold(null, fpr)
            hits = flag(table.loc[rows, "score"], tau) if tau is not None else np.full(rows.sum(), None)
            some = table[rows].assign(flagged=hits)
            planted = some[some["role"] == "power"]
            found = planted["flagged"].where(planted["right"], False) if tau is not None else planted["flagged"]
            flagged, verified, copies, exact = (
                flagged_rate(flags, used.confidence)
                for flags in (
                    some.loc[some["kind"] == "generated", "flagged"],
                    some.loc[some["part"] == "C3", "flagged"],
                    found,
                    found[planted["part"] == "exact"],
                )
            )
            rates.append(
                {"detector": name, "fpr": fpr, "tau": np.nan if tau is None else tau}
                | {f"{what}_{field}": getattr(rate, field) for what, rate in (("flagged", flagged), ("verified", verified), ("planted", copies)) for field in ("count", "n", "rate", "low", "high")}
            )  # fmt: skip
            if fpr != used.fpr:
                continue
            table.loc[rows, "flagged"], table.loc[rows, "tau"] = hits, tau
            verdicts.append(Verdict(name, np.nan if tau is None else tau, flagged, verified, exact, *weights.get(name, (np.nan, 0))))  # fmt: skip
            power[name] = found.astype(float).groupby(planted["part"], sort=False).mean()
        made = rows & (table["kind"] == "generated")
        table.loc[made, "q"] = q_values(table.loc[made, "p"])
    if folders.differing:
        table[["p", "q"]] = np.nan
    table["flagged"] = table["flagged"].astype("boolean")
    order = table["detector"].map({name: place for place, name in enumerate(names)})
    table = table.assign(order=order).sort_values(
        ["order", "kind", "score"], ascending=[True, True, False], kind="stable"
    )
    listed = matches.join(about, on="row")
    listed["rank"] = listed.groupby(["detector", "row"]).cumcount() + 1
    middle = pd.DataFrame({kind: clips.measures[list(MEASURES)].median() for kind, clips in folders.clips.items()}).T
    return Audit(
        table[COLUMNS].reset_index(drop=True),
        verdicts,
        {kind: clips.left_out for kind, clips in folders.clips.items()},
        listed.loc[listed["kind"] != "planted", MATCH_COLUMNS].reset_index(drop=True),
        pd.DataFrame(rates),
        pd.DataFrame(power).reindex([*ALTERATIONS]).rename_axis("alteration").reset_index(),
        middle,
        folders.differing,
    )


def in_words(found: Audit) -> list[str]:
    """Lines on what all detectors together flag, what each does, how far that can be trusted, and what would raise it."""
    if found.differing:
        named = "; ".join(map(str, found.differing))
        return [
            f"no rate is stated: generated and honest clips differ in {named}, so false alarms could be of any number",
            "--match-honest cuts, pads and filters the honest clips to be like the generated ones; or choose others",
        ]
    together, *alone = found.verdicts
    null = int(((found.table["detector"] == TOGETHER) & (found.table["part"] == "C2")).sum())
    lines = [f"all detectors together: flagged {together.flagged} of the generated clips; of honest ones set aside {together.verified}"]  # fmt: skip
    rates = found.rates[found.rates["detector"] == TOGETHER]
    for one in rates[1:].to_dict("records"):
        reached = (
            f"{one['flagged_count']} of {one['flagged_n']} flagged, of planted copies {one['planted_rate']:.0%} found"
        )
        needed = f"needs at least {2 * honest_needed(one['fpr'])} honest clips"
        lines.append(f"at a rate of {one['fpr']:g}: {needed if np.isnan(one['tau']) else reached}")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(found.power["alteration"], found.power[TOGETHER]))
    lines.append(f"of copies planted in the training clips it finds {rates.iloc[0]['planted_rate']:.0%}: {shares}")
    if weak := [name for name, share in zip(found.power["alteration"], found.power[TOGETHER]) if share < WEAK]:
        lines.append(
            f"few of these are found: {', '.join(weak)}. More honest clips, and such as are less like the training clips, raise "
            f"that; without it, few flags mean little"
        )
    lines.append(f"the smallest p that {null} honest clips can give is {smallest_p(null):.2g}")
    lines += [
        f"{detector}: flagged {flagged}; of honest ones set aside {verified}; of planted exact copies {copies}; tau {tau:.4f}"
        + (f"; beta {beta:g}, K {k}" if k else "")
        for detector, tau, flagged, verified, copies, beta, k in alone
    ]
    return lines
