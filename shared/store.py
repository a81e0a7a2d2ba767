"""Keep files where all machines of a study find them: a folder, or an object store by its URL."""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from shared.errors import InputError, TagsweepError
from shared.files import temporary_name, writing

LOCAL = ("file://", "local://")
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci"}
"""Where an object appears only when all of it is there; elsewhere readers see a file grow."""

_SEAL = Struct(">8sQ32s")
"""What a sealed file ends with: a mark, and the length and SHA-256 of the content before it.

So archives stay archives to all other programs."""
_MARK = b"tagsweep"

logger = logging.getLogger(__name__)


class StoreError(TagsweepError):
    """Report that a store cannot be used, whatever its own library raised."""


class MissingError(StoreError):
    """Report that a store has no such file."""


class TornError(StoreError):
    """Report that a file of a store is not as it was written."""


@dataclass(frozen=True)
class Store:
    """A folder, or a folder in an object store or on another machine, by its URL.

    Written files appear as a whole: whoever reads meanwhile finds the old one, or none. All methods
    raise StoreError when the store cannot be used. Credentials are the environment's.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        """Return the URL as it may be shown: a password in it is replaced by stars."""
        return re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", self.url)

    def url_of(self, name: str) -> str:
        """Return where others find a file or a folder of the store, as it may be shown."""
        return f"{str(self).rstrip('/')}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        with self._writing(name) as (files, path):
            files.pipe_file(path, content)

    def read(self, name: str) -> bytes:
        """Read a file; raise MissingError when there is none."""
        with self._reaching(name) as (files, path):
            content: bytes = files.cat_file(path)
        return content

    def write_sealed(self, name: str, content: bytes) -> None:
        """Write a file with its length and hash, by which `read_sealed` knows it again."""
        self.write(name, content + _seal_of(content))

    def write_once(self, name: str, make: Callable[[], bytes]) -> None:
        """Write a sealed file whose name says what is in it, unless it is there and whole."""
        try:
            self.read_sealed(name)
        except MissingError:
            self.write_sealed(name, make())
        except TornError as error:
            logger.warning("%s It is written again.", error)
            self.write_sealed(name, make())

    def read_sealed(self, name: str) -> bytes:
        """Read what `write_sealed` wrote; raise MissingError, or TornError when it is not that."""
        sealed = self.read(name)
        content, seal = sealed[: -_SEAL.size], sealed[-_SEAL.size :]
        if seal != _seal_of(content):
            raise TornError(
                f"{name} in the store {self} is torn: its {len(sealed)} bytes do not end with their"
                " length and hash."
            )
        return content

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has, or None when there is none."""
        try:
            with self._reaching(name) as (files, path):
                return int(files.size(path))
        except MissingError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with suppress(MissingError), self._reaching(name) as (files, path):
            files.rm_file(path)

    def upload(self, name: str, path: Path) -> None:
        """Copy a file of this machine into the store."""
        with self._writing(name) as (files, target):
            files.put_file(str(path), target)

    def download(self, name: str, path: Path) -> bool:
        """Copy a file of the store to this machine, as a whole; return False when there is none."""
        try:
            with self._reaching(name) as (files, source), writing(path) as unfinished:
                files.get_file(source, str(unfinished))
        except MissingError:
            return False
        return True

    def require(self) -> None:
        """Write a file and remove it; raise InputError when that does not work from here."""
        probe = temporary_name("probe")
        try:
            self.write(probe, b"")
            self.remove(probe)
        except StoreError as error:
            raise InputError(
                f"{error} workers.store must be a folder or a URL that can be written; s3:// and"
                " gs:// need the extra s3 or gs and credentials."
            ) from error

    @contextmanager
    def _reaching(self, name: str) -> Iterator[tuple[Any, str]]:
        """Yield the filesystem and the path of a file; what they raise becomes a StoreError."""
        try:
            yield self._locate(name)
        except FileNotFoundError as error:
            raise MissingError(f"The store {self} has no {name}.") from error
        except Exception as error:  # each kind of store raises its own library's
            raise self._failure(error) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[tuple[Any, str]]:
        """Yield the filesystem and where to write, which becomes the file when the block ends."""
        try:
            files, path = self._locate(name)
            if isinstance(files, LocalFileSystem):
                with writing(Path(path)) as unfinished:
                    yield files, str(unfinished)
            elif _is_object_store(files):
                yield files, path
            else:
                with _moving(files, path) as moved:
                    yield files, moved
        except Exception as error:  # each kind of store raises its own library's
            raise self._failure(error) from error

    def _locate(self, name: str) -> tuple[Any, str]:
        """Return the filesystem and the path of a file on it; a local path is just that."""
        scheme = next((scheme for scheme in LOCAL if self.url.startswith(scheme)), "")
        if scheme or "://" not in self.url:
            folder = os.path.expanduser(self.url.removeprefix(scheme))  # noqa: PTH111  of a str
            return LocalFileSystem(), str(Path(folder).absolute() / name)
        # fsspec takes what follows a `::` for another filesystem; here it is a part of the path.
        scheme, _, place = self.url.partition("://")
        start, colons, rest = place.partition("::")
        # A listing that is kept would not show what other machines write meanwhile.
        files, root = url_to_fs(f"{scheme}://{start}", use_listings_cache=False)
        return files, f"{f'{root}{colons}{rest}'.rstrip('/')}/{name}"

    def _failure(self, error: Exception) -> StoreError:
        said = " ".join(str(error).replace(self.url, str(self)).split())
        return StoreError(
            f"The store {self} cannot be used from here: {type(error).__name__}: {said}."
        )


def _seal_of(content: bytes) -> bytes:
    return _SEAL.pack(_MARK, len(content), hashlib.sha256(content).digest())


def _is_object_store(files: Any) -> bool:
    names = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
    return not OBJECT_STORES.isdisjoint(names)


@contextmanager
def _moving(files: Any, path: str) -> Iterator[str]:
    """Yield a name of this writer's alone, and move what was written there to `path`."""
    files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    unfinished = temporary_name(path)
    try:
        yield unfinished
        with suppress(FileNotFoundError):  # few filesystems rename over a file
            files.rm_file(path)
        files.mv(unfinished, path)
    except Exception:
        with suppress(Exception):
            files.rm_file(unfinished)
        raise
