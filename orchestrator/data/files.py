"""Find the files of a data set, and read what they hold: bytes, and their text."""

import glob
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from shared.errors import InputError

GZIP = b"\x1f\x8b"
"""What a file that is compressed with gzip begins with (RFC 1952, section 2.3.1)."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""What UTF-16 begins with: its byte order mark."""
EXCEL = b"PK\x03\x04"
"""What an Excel workbook begins with, which is a ZIP archive."""
START = 1024
"""Bytes of a file that are looked at for zeros, which UTF-8 has none of."""


def files_at(given: Path) -> list[Path]:
    """Return the file of this name, or the files that match it as a pattern, by name; else none."""
    if given.exists():
        return [given]
    return sorted(map(Path, glob.glob(str(given), recursive=True)))  # noqa: PTH207  may be absolute


def find_files(given: Sequence[Path]) -> list[Path]:
    """Return all files that names and patterns stand for, in order; raises InputError for none."""
    found: list[Path] = []
    for one in given:
        files = files_at(one)
        if not files:
            is_pattern = glob.has_magic(str(one))
            what = "matches no file" if is_pattern else "cannot be read: No such file or directory"
            raise InputError(f"{one} {what}.")
        found += files
    twice = next((path for path in found if found.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is named twice, and its rows would be: leave it out once.")
    return found


def read_bytes(path: Path) -> tuple[bytes, bool]:
    """Return what a file holds, unpacked, and whether it was compressed with gzip."""
    try:
        content = path.read_bytes()
        is_packed = content.startswith(GZIP)
        return (gzip.decompress(content) if is_packed else content), is_packed
    except IsADirectoryError as error:
        raise InputError(
            f"{path} is a folder: name its files, as '{path}/*.csv' or '{path}/*.arrow'."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked: {error}. Copy it anew.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def decode(content: bytes, encoding: str | None, path: Path) -> tuple[str, str]:
    """Return a file's text and its encoding: the one named, or UTF-16 by its mark, or UTF-8.

    Raises InputError with the line of the first byte that is not of it.
    """
    if content.startswith(EXCEL):
        raise InputError(
            f"{path} is an Excel workbook or another ZIP archive. Save its table as CSV UTF-8."
        )
    if encoding is None and b"\0" in content[:START] and not content.startswith(UTF_16):
        raise InputError(
            f"{path} has zero bytes, as no text in UTF-8 has. Name its encoding with --encoding"
            " (data.encoding) if it is text, such as utf-16-le."
        )
    encoding = encoding or ("utf-16" if content.startswith(UTF_16) else "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].decode(encoding, errors="replace").count("\n")
        raise InputError(
            f"{path}, line {line}: the file must be {encoding.upper()}, but is not: {error.reason}."
            " Name its encoding with --encoding (data.encoding), cp1252 for what Excel saves as CSV"
            " in Western Europe and America, or save it as UTF-8."
        ) from error
    return text.removeprefix("\ufeff"), encoding.upper()
