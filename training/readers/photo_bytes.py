"""The bytes of the photo that a row names, which is a file or a member of a tar shard."""

from __future__ import annotations

import errno
import stat
import tarfile
from functools import lru_cache
from pathlib import Path

TAR = ".tar"
MAX_PHOTO_BYTES = 200_000_000  # ten times a large photo of a phone; more is no photo, and would fill the memory


def read_photo(folder: Path, path: str) -> bytes:
    """The bytes of `folder / path`. If a part of `path` is a plain tar file, the rest is the name of a member.

    A process reads a shard's headers once; after that a photo costs one seek.

    Raises:
        OSError: there is no such file or member, it is no plain file or too large, or the shard ends inside it.
    """
    shard, member = split_shard(folder, path)
    if member is None:
        return _plain(shard).read_bytes()
    places = _places(shard, shard.stat().st_mtime_ns)
    if member not in places:
        raise FileNotFoundError(f"{shard} has no member {member}")
    start, size = places[member]
    if size > MAX_PHOTO_BYTES:
        raise _too_large(shard / member)
    with shard.open("rb") as file:
        file.seek(start)
        data = file.read(size)
    if len(data) != size:
        raise OSError(f"{shard} ends within {member}")
    return data


def _plain(file: Path) -> Path:
    """The file if it is a plain one of a bearable size: reading a pipe or a device may never end."""
    about = file.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "no plain file", str(file))
    if about.st_size > MAX_PHOTO_BYTES:
        raise _too_large(file)
    return file


def _too_large(file: Path) -> OSError:
    return OSError(errno.EFBIG, f"larger than {MAX_PHOTO_BYTES // 1_000_000} MB", str(file))


def split_shard(folder: Path, path: str) -> tuple[Path, str | None]:
    """The file with the photo, and the name of the member in it, which is None if the file is the photo."""
    parts = path.split("/")
    for depth, part in enumerate(parts[:-1], start=1):
        if part.endswith(TAR):
            shard = folder.joinpath(*parts[:depth])
            if shard.is_file():
                return shard, "/".join(parts[depth:])
    return folder / path, None


def member_name(name: str) -> str:
    """A member's name without the `./` or the first `/` that some archive programs write, and without `..`."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


@lru_cache(maxsize=64)  # of shards with 1,000 photos each: about 10 MB of names
def _places(shard: Path, modified_ns: int) -> dict[str, tuple[int, int]]:
    """Member → (start, size) in the file. Of a damaged shard, the members before the damage."""
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isfile():
                    places.setdefault(member_name(member.name), (member.offset_data, member.size))
    except (tarfile.TarError, ValueError):
        pass  # the reader has reported the shard already
    return places
