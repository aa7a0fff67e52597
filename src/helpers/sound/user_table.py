"""The table of a user's clips: a CSV as people and spreadsheets write it, and the file of each of its rows.

Every cell is text: an id is no number, and `None` or `NA` is a caption if someone wrote it. A name in the table is looked
up among the files of the folder, never opened as a path.

Notebook: 01_corpus.
"""

import codecs
import csv
import io
import posixpath
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from helpers.base.paths import resolve
from helpers.base.settings import CorpusConfig
from helpers.sound.audio_folder import Listing, list_files

# Raise it when the readers of users' own data change what they read. It is in the digests of own corpora alone, so that
# mending a reader touches no published study.
READERS_VERSION = 9
COLUMNS = {"audiofolder": ("file_name", "text"), "audiocaps": ("audiocap_id", "youtube_id", "start_time", "caption")}
SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}  # AudioCaps' own, as people write them
FILES = ("train.csv", "val.csv", "test.csv")  # as AudioCaps comes
WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class UserDataError(ValueError):
    """What is wrong with a user's data, in one line that names the file and the remedy: not a fault of the program."""


def places(config: CorpusConfig) -> tuple[tuple[Path, ...], Path]:
    """The tables of a user's corpus, one or AudioCaps' three, and the folder of its audio, absolute.

    Raises FileNotFoundError where one is missing.
    """
    path, whole = resolve(config.path), config.kind == "audiofolder"
    names = ("metadata.csv",) if whole else FILES
    tables = tuple(path / name for name in names) if path.is_dir() else (path,)
    if missing := next((table for table in tables if not table.is_file()), None):
        expected = "metadata.csv in a folder of audio" if whole else f"a CSV file, or a folder with {', '.join(FILES)}"
        raise FileNotFoundError(f"corpus.path: expected {expected}, found none at {missing}")
    folder = tables[0].parent if whole else resolve(config.audio_path)
    if not folder.is_dir():
        raise FileNotFoundError(f"corpus.audio_path: expected a folder of audio files, found none at {folder}")
    return tables, folder


def read_tables(paths: tuple[Path, ...], kind: str) -> dict[int | str, dict[str, str]]:
    """`read_table` of each; of several files the rows of all, each of the split that its file is named after."""
    rows: dict[int | str, dict[str, str]] = {}
    for path in paths:
        for line, cells in read_table(path, kind).items():
            if len(paths) == 1:
                rows[line] = cells
            else:
                rows[f"{line} of {path.name}"] = cells | {"split": path.stem}
    return rows


def read_table(path: Path, kind: str) -> dict[int, dict[str, str]]:
    """The CSV of a user's corpus: the cells of COLUMNS by name, of each line that is not empty, by its number.

    A start time is in seconds: `0:10` is ten. Where AudioCaps' rows have a column `split`, it is one of SPLITS.

    Raises UserDataError, with file, line and remedy, for what is not comma-separated UTF-8 with these columns.
    """
    rows = read_cells(path, COLUMNS[kind], optional=("split",) if kind == "audiocaps" else ())
    for line, cells in rows.items():
        if "start_time" in cells:
            cells["start_time"] = _seconds(cells["start_time"])
        if any(cells.values()) and "split" in cells:
            cells["split"] = cells["split"].strip().casefold()
            if cells["split"] not in SPLITS:
                raise UserDataError(
                    f"{path}, line {line}: expected split {', '.join(SPLITS)}, got {cells['split']!r}; "
                    "without that column the clips are split at random"
                )
    return rows


def read_cells(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> dict[int, dict[str, str]]:
    """The cells of these columns, of each line of a CSV that is not empty, by its number; of `optional` ones, where there.

    Raises UserDataError, with file, line and remedy, for what is not comma-separated UTF-8 with these columns.
    """
    text = _decode(path)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = {}
    try:
        header = next(lines, [])
        missing = [name for name in columns if header.count(name) != 1]
        if missing:
            raise UserDataError(
                f"{path}, line 1: expected each of the columns {', '.join(columns)} once, separated by commas, "
                f"got {', '.join(map(repr, header)) or 'nothing'}"
            )
        for row in lines:
            if any(row) and len(row) != len(header):
                raise UserDataError(
                    f"{path}, line {lines.line_num}: expected {len(header)} values, as the first line has, got {len(row)}; "
                    f'a text with a comma needs quotes, as in "A dog barks, a car passes"'
                )
            if row:
                named = [name for name in (*columns, *optional) if name in header]
                rows[lines.line_num] = {name: row[header.index(name)] if any(row) else "" for name in named}
    except csv.Error as error:
        raise UserDataError(
            f"{path}, line {lines.line_num}: cannot be read as CSV ({error}); within quotes a quote is written twice"
        ) from None
    return rows


def _decode(path: Path) -> str:
    content = path.read_bytes()
    for mark, name in WIDE.items():
        if content.startswith(mark):
            raise UserDataError(f"{path}, line 1: expected UTF-8, got {name}; save it as CSV UTF-8")
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise UserDataError(
            f"{path}, line {line}: expected text, got a zero byte; remove it, or save the table anew as UTF-8"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserDataError(
            f"{path}, line {line}: expected UTF-8, got byte 0x{content[error.start]:02x}, perhaps of cp1252; save it as CSV UTF-8"
        ) from None


def names_of(row: dict[str, str]) -> tuple[str, ...]:
    """The names that a row's file may have: of AudioCaps those in use, all without their suffix.

    <audiocap_id>, <youtube_id>_<start_time> and <youtube_id>, the last two also after a Y.
    """
    if "file_name" in row:
        return (row["file_name"],)
    number, video, start = row["audiocap_id"], row["youtube_id"], row["start_time"]
    videos = (f"{video}_{start}", f"Y{video}_{start}", video, f"Y{video}") if video else ()
    return tuple(name for name in (number, *videos) if name)


def _seconds(text: str) -> str:
    """ "30" of "30", "30.0" or "0:30"; what is no time stays as it is."""
    try:
        seconds = sum(float(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))
        return f"{int(seconds)}" if seconds.is_integer() else f"{seconds}"
    except (ValueError, OverflowError):
        return text


def locate(names: Iterable[tuple[str, ...]], listing: Listing, folder: Path, kind: str) -> list[Path | str]:
    """The file of each row by the first of its names that is there; for the others the reason why there is none.

    Of several files with a name of AudioCaps', which has no suffix, it is the first that can be decoded.
    `folder` is what a name of an audio folder may begin with.
    """
    from helpers.sound.audio_file import holds_sound  # librosa, which the command line needs only where clips are read

    whole = kind == "audiofolder"
    there: dict[str, list[Path]] = {}
    for name, path in listing.files.items():
        there.setdefault(name if whole else _bare(name, str), []).append(path)
    near = {_bare(name): name for name in listing.files}
    found: list[Path | str] = []
    for wanted in names:
        forms = [posixpath.normpath(unicodedata.normalize("NFC", name).removeprefix(f"{folder}/")) for name in wanted]
        paths = next((there[form] for form in forms if form in there), [])
        # features may lie beside the sound that they are of, as abc.npy beside abc.flac
        sounds = paths if len(paths) < 2 else [path for path in paths if holds_sound(path)]
        found.append(next(iter(sounds or paths), None) or _missing(wanted, forms, near, listing))
    return found


def named_files(found: Iterable[Path | str], listing: Listing) -> dict[str, Path]:
    """The files that a row names (`found`: see `locate`), by their names in the folder: no other has a say in the corpus."""
    named = {file for file in found if isinstance(file, Path)}
    return {name: file for name, file in listing.files.items() if file in named}


def listed_files(config: CorpusConfig) -> dict[str, Path]:
    """`named_files` of a user's corpus. Raises what `places` and `read_tables` raise."""
    tables, folder = places(config)
    rows, listing = read_tables(tables, config.kind).values(), list_files(folder)
    return named_files(locate(map(names_of, rows), listing, folder, config.kind), listing)


def _missing(wanted, forms: list[str], near: dict[str, str], listing: Listing) -> str:
    if not any(wanted):
        return "missing: the row names no file"
    reason = f"missing: no file {' or '.join(map(repr, wanted))}"
    if why := next((listing.left_out[form] for form in forms if form in listing.left_out), ""):
        return f"{reason} that may be read: {why}"
    instead = next((near[_bare(form)] for form in forms if _bare(form) in near), "")
    return f"{reason}, but {instead!r}" if instead else reason


def _bare(name: str, form=str.casefold) -> str:
    """What two names have in common that differ in folder, suffix, kind of slash and, by `form`, in case."""
    return form(posixpath.splitext(name.replace("\\", "/").rpartition("/")[2])[0])
