"""Which files of a folder may be audio: what corpora and `audit` read, and what they leave out unread.

What a file holds decides whether it is read (`audio_file`), not its suffix; only what its name calls text, an image or the
like is passed over.

Notebook: 01_corpus.
"""

import hashlib
import mimetypes
import os
import unicodedata
from collections.abc import Container
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

TYPES = mimetypes.MimeTypes()  # Python's own table: the system's would make one folder another on another machine


class Listing(NamedTuple):
    """The files of a folder by their names in it, sorted; and what is left out unread, with the reason."""

    files: dict[str, Path]
    left_out: dict[str, str]


def fingerprint(files: dict[str, Path]) -> str:
    """sha256 of names, sizes and times of files, and whether they can be read: to read thousands anew would take minutes."""
    stats = [
        (name, (stat := file.stat()).st_size, stat.st_mtime_ns, os.access(file, os.R_OK))
        for name, file in files.items()
    ]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def list_files(folder: Path) -> Listing:
    """All files below `folder` that may be audio: all but those whose names say that they are text, images or the like.

    Folders behind links are listed once, under the link where the folder itself lies elsewhere; a link to the folder or
    to one above it is left out. Names are POSIX paths, in Unicode's composed form.
    """
    folder = Path(folder)
    home, seen, pending = folder.resolve(), set(), [folder]
    files: dict[str, Path] = {}
    left_out: dict[str, str] = {}

    def refused(error: OSError):
        left_out[_name(Path(os.fsdecode(error.filename)), folder)] = f"cannot be opened ({error.strerror})"

    while pending:  # first all that lies in the folder, then what its links lead to
        links = []
        for top in pending:
            target = top.resolve()
            if target in seen or top != folder and home.is_relative_to(target):
                left_out[_name(top, folder)] = "a link to a folder that is listed without it, or to one above"
                continue
            for place, folders, names in os.walk(top, onerror=refused):
                seen.add(Path(place).resolve())
                links += [Path(place, name) for name in folders if os.path.islink(os.path.join(place, name))]
                folders[:] = sorted(name for name in folders if Path(place, name).resolve() not in seen)
                for path in (Path(place, name) for name in sorted(names)):
                    kind = TYPES.guess_type(path.name)[0] or "audio/unknown"
                    if not os.path.isfile(path):
                        left_out[_name(path, folder)] = "no file, or a link that leads nowhere"
                    elif kind.startswith(("audio", "video")):
                        files[_free_name(_name(path, folder), files)] = path
                    else:
                        left_out[_name(path, folder)] = f"no audio by its name ({kind})"
        pending = sorted(links)
    return Listing(dict(sorted(files.items())), left_out)


def without_links(listing: Listing) -> Listing:
    """The listing without links to files that it has anyway, and without all but one of the links to one file: else a clip would
    count twice, or be called a duplicate of itself."""
    places: dict[Path, str] = {}
    for name, path in sorted(listing.files.items(), key=lambda item: item[1].is_symlink()):
        places.setdefault(path.resolve(), name)
    kept = set(places.values())
    links = {
        name: f"a link to {places[path.resolve()]!r}, which is listed"
        for name, path in listing.files.items()
        if name not in kept
    }
    files = {name: path for name, path in listing.files.items() if name in kept}
    return Listing(files, listing.left_out | links)


def _free_name(name: str, files: Container[str]) -> str:
    """The name, or one with a number where another file has it: two names may be one in composed form."""
    return next(one for one in chain([name], (f"{name} ({n})" for n in count(2))) if one not in files)


def _name(path: Path, folder: Path) -> str:
    """The path in its folder, as text that can be written anywhere."""
    return readable(path.relative_to(folder).as_posix())


def readable(name: str) -> str:
    """A name from the disk as text that can be written anywhere: names need not be UTF-8."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))
