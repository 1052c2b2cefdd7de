"""A folder of files as one `.tar.zst`, and back."""

import tarfile
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

ARCHIVE = ".tar.zst"


def is_archive(path: Path) -> bool:
    """Say whether a path names an archive by its ending."""
    return path.name.endswith(ARCHIVE)


def pack(folder: Path, archive: Path) -> None:
    """Write the files of `folder` into `archive`."""
    with (
        pa.OSFile(str(archive), "wb") as file,
        pa.CompressedOutputStream(file, "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name, recursive=False, filter=_anonymous)


def unpack(archive: Path, folder: Path, expected: Collection[str]) -> None:
    """Write the files of `archive` that are `expected` into `folder`, and nothing else.

    Raises
    ------
    OSError, EOFError, tarfile.TarError
        If it is damaged or not such an archive.
    """
    with (
        pa.OSFile(str(archive), "rb") as file,
        pa.CompressedInputStream(file, "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            if member.isfile() and member.name in expected:
                tar.extract(member, folder, filter="data")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
