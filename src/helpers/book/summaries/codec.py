"""Tables of the codec and the vocoders: what each keeps of a clip, here and as it was measured once.

Notebook: 02_codec.
"""

import json
import math
from pathlib import Path

import pandas as pd

from helpers.base.paths import ROOT
from helpers.book.tables import captioned
from helpers.book.words import SPLITS

MEASURES = {
    "codec_cosine": "codec: cosine",
    "codec_mae": "codec: error",
    "vocoder_cosine": "both: cosine",
    "vocoder_mae": "both: error",
}
DB = 20 / math.log(10)  # decibels in a neper, of which log-mels are: natural logarithms of magnitudes
JUDGED = {
    "stft_distance": "STFT distance",
    "mel_error_nepers": "mel error, dB",
    "aisfx_distance": "aisfx distance",
    "loudness_difference_db": "loudness difference, dB",
}
VOCODERS = {"Griffin-Lim": "griffin_lim", "spectral": "spectral", "adversarial": "adversarial"}


def medians_by_split(queries: pd.DataFrame) -> pd.DataFrame:
    """Clips and the median of each of MEASURES, a row a split."""
    splits = queries.groupby("split")
    medians = splits[list(MEASURES)].median().rename(columns=MEASURES).reset_index()
    medians.insert(1, "clips", splits.size().to_numpy())
    medians["split"] = medians["split"].replace(SPLITS)
    errors = [name for name in MEASURES.values() if name.endswith("error")]
    medians[errors] *= DB
    caption = "Medians over clips: centred cosine, and mean absolute error of the log-mel in dB."
    return captioned(medians, caption, dict.fromkeys(MEASURES.values(), ".3f") | dict.fromkeys(errors, ".2f"))


def rank_correlations(held: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of two properties of a clip, departure and change, with what is kept of it."""
    shown = list(MEASURES.values())[:3]
    ranks = held.rename(columns=MEASURES)[[*shown, "departure", "change"]].corr("spearman")
    caption = f"Rank correlation with each measure, {len(held)} held-out clips."
    table = ranks.loc[["departure", "change"], shown].reset_index(names="property")
    return captioned(table, caption, dict.fromkeys(shown, "+.2f"))


def kept_worst(held: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame | None:
    """The six sound classes of lowest median similarity, of those heard in four at least of the clips in `held`.

    None where no class is heard as often, or it is not known what clips hold.
    """
    shown = list(MEASURES.values())[:3]
    heard = held.rename(columns=MEASURES).merge(clips[["clip_id", "classes"]]).explode("classes")
    heard = heard[heard["classes"] != ""]
    by_class = heard.drop_duplicates(["clip_id", "classes"]).groupby("classes")
    medians = by_class[shown].median().assign(clips=by_class.size())
    medians[[name for name in shown if name.endswith("error")]] *= DB
    worst = medians[medians["clips"] >= 4].nsmallest(6, "both: cosine").reset_index(names="sound")
    if worst.empty:
        return None
    caption = "The sounds kept worst: medians over the held-out clips that hold them, errors in dB, for classes heard in four clips or more."
    return captioned(worst, caption, dict.fromkeys(shown, ".3f"))


def codec_yardstick(folder: Path) -> pd.DataFrame | None:
    """The codec beside a linear one on held-out clips, from the codec's metrics.json; None where it was not measured."""
    if not (folder / "metrics.json").is_file():
        return None
    measured = json.loads((folder / "metrics.json").read_text())["heldout"]
    names = {"codec": "this codec", "pca": "linear codec"}
    rows = [{"round trip of the log-mel": text} | measured[name] for name, text in names.items()]
    table = pd.DataFrame(rows)
    table["mean_absolute_error_nepers"] *= DB
    words = {"_": " ", "nepers": "dB", "cosine 5 percent": "cosine that 5 % stay below"}
    for old, new in words.items():
        table.columns = table.columns.str.replace(old, new)
    caption = f"{measured['n_clips']} held-out clips, without vocoder; measured once, by tools/judge_codec.py."
    return captioned(table, caption, dict.fromkeys(table.columns[1:], ".3f"))


def size_curve(folder: Path) -> pd.DataFrame | None:
    """Codecs of several sizes and what generators made of their latents, from the codec's curve.json; None without it."""
    if not (folder / "curve.json").is_file():
        return None
    curve = json.loads((folder / "curve.json").read_text())
    return pd.DataFrame([
        {"codec": codec["codec"], "latent_numbers": codec["latent_numbers"], "error": DB * codec["mean_absolute_error_nepers"],
         "own_cosine": [made["median_own_centred_cosine"] for made in codec["generators"]],
         "distance": [made["aisfx_kernel_distance_generated_to_training"] for made in codec["generators"]]}
        for codec in curve["codecs"]
    ]).assign(n_heldout=curve["n_heldout"])  # fmt: skip


def vocoders(source: str) -> pd.DataFrame:
    """The vocoders by every measure, from the vocoder's metrics.json; `source` is "from_mel" or "from_codec".

    The networks' means stand with the paired difference to Griffin-Lim and its interval.
    """
    judged, rows = json.loads((ROOT / "models/vocoder/metrics.json").read_text()), []
    for measure, title in JUDGED.items():
        row = {"measure": title}
        scale = DB if measure.endswith("nepers") else 1
        for name, key in VOCODERS.items():
            mean = {part: scale * value for part, value in judged[source][key][measure].items()}
            row[name] = f"{mean['mean']:.3g}"
            if key != "griffin_lim":
                row[name] += (
                    f" ({mean['difference']:+.2g}, {mean['difference_low']:+.2g} to {mean['difference_high']:+.2g})"
                )
        rows.append(row)
    times = {name: f"{judged['times_real_time'][key]:.0f}" for name, key in VOCODERS.items()}
    text = {"from_mel": "its own log-mel", "from_codec": "its log-mel after the codec, as in this book"}[source]
    caption = f"From {text}: means over {judged['n_clips']} held-out clips; in brackets the paired difference to Griffin-Lim, 95 % interval."
    return captioned(pd.DataFrame([*rows, {"measure": "times real time, two CPU cores"} | times]), caption)
