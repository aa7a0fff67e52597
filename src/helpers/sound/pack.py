"""Read the sound pack: the recordings that every soundscape of the book is mixed from.

The pack is one Parquet file, `data/sounds.parquet`: a row per recording with its source, author, licence, class, role
(bed or foreground), caption and `source_group`, and its sound as Ogg Vorbis. `tools/build_soundpack.py` builds it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import soundfile

from helpers.base.paths import not_carried
from helpers.base.settings import PACK_RATE_HZ
from helpers.sound.silence import RECORDING_RMS

SAMPLE_RATE_HZ = PACK_RATE_HZ
N_THREADS = 4  # that decode; libsndfile works outside Python's lock
METADATA_COLUMNS = (
    "id", "package", "version", "path", "sha256", "author", "licence", "title", "class", "role", "caption",
    "confidence", "seconds", "source_group",
)  # fmt: skip
LICENCES = frozenset({"CC0-1.0", "CC-BY-3.0", "CC-BY-SA-3.0", "LAL-1.3"})  # all may be mixed into CC BY-SA 4.0
ROLES = frozenset({"bed", "foreground"})


def load_soundpack(path: str | Path) -> pd.DataFrame:
    """The pack's METADATA_COLUMNS, a row a recording in the order of the file, without the sounds; `seconds` as packed.

    Raises FileNotFoundError where there is no such file, ValueError for a missing column, and as `check_metadata`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"expected the sound pack at {path}, found none{not_carried(path)}")
    available = pq.read_schema(path).names
    missing = [name for name in (*METADATA_COLUMNS, "audio") if name not in available]
    if missing:
        raise ValueError(
            f"{Path(path).name}: expected the columns {(*METADATA_COLUMNS, 'audio')}, got none of {missing}"
        )
    table = pq.read_table(path, columns=list(METADATA_COLUMNS)).to_pandas()
    check_metadata(table, Path(path).name)
    return table


def check_metadata(table: pd.DataFrame, name: str) -> None:
    """Raises ValueError where ids repeat, or where a row lacks an author, a known licence or a known role."""
    repeated = table["id"][table["id"].duplicated()].tolist()
    if repeated:
        raise ValueError(f"{name}: expected unique ids, got {repeated[:5]} more than once")
    nameless = table["id"][table["author"].fillna("").str.strip() == ""].tolist()
    if nameless:
        raise ValueError(f"{name}: expected an author in every row, got none for {nameless[:5]}")
    for column, allowed in (("licence", LICENCES), ("role", ROLES)):
        wrong = table[~table[column].isin(allowed)]
        if len(wrong):
            got = dict(zip(wrong["id"].head(5), wrong[column].head(5), strict=True))
            raise ValueError(f"{name}: expected a {column} of {sorted(allowed)} in every row, got {got}")


def decode_sounds(path: str | Path, ids: Iterable[str]) -> dict[str, np.ndarray]:
    """The recordings with these ids, each decoded once: float32 [n], mono, at SAMPLE_RATE_HZ, peak at most about 1.

    Raises ValueError for an id that is not in the pack, and for a sound that does not decode, is silent, or has another
    rate, number of channels or length than stated.
    """
    if not (distinct := list(dict.fromkeys(ids))):
        return {}
    table = pq.read_table(path, columns=["id", "seconds", "audio"], filters=[("id", "in", distinct)])
    rows = {row["id"]: row for row in table.to_pylist()}
    unknown = [id_ for id_ in distinct if id_ not in rows]
    if unknown:
        raise ValueError(f"{Path(path).name}: expected ids of the pack, got {unknown[:5]} ({len(unknown)} unknown)")
    with ThreadPoolExecutor(N_THREADS) as pool:
        waveforms = pool.map(lambda id_: _decode(id_, rows[id_]["audio"], rows[id_]["seconds"]), distinct)
        return dict(zip(distinct, waveforms, strict=True))


def _decode(id_: str, audio: bytes, seconds: float) -> np.ndarray:
    """Decode and check one recording; returns shape (n_samples,)."""
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(audio), dtype="float32", always_2d=True)  # (n_samples, channels)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{id_}: expected Ogg Vorbis, got {len(audio)} bytes that do not decode ({error})") from error
    if rate_hz != SAMPLE_RATE_HZ or samples.shape[1] != 1:
        raise ValueError(
            f"{id_}: expected mono at {SAMPLE_RATE_HZ} Hz, got {samples.shape[1]} channels at {rate_hz} Hz"
        )
    if abs(len(samples) / rate_hz - seconds) > 0.01:
        raise ValueError(f"{id_}: expected {seconds} s, got {len(samples) / rate_hz:.4f} s")
    rms = float(np.sqrt(np.mean(samples**2)))
    if not rms > RECORDING_RMS:  # catches NaN too
        raise ValueError(f"{id_}: expected a sound with an RMS above {RECORDING_RMS}, got {rms:.2g}")
    return samples[:, 0]
