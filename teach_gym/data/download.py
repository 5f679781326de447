"""Fetching data sets with the standard library: https only, and only verified content is written."""

from __future__ import annotations

import hashlib
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from tqdm import tqdm

from teach_gym.data.datasets import DATASETS, DataSet, KnownFile, data_dir, read
from teach_gym.errors import DamagedDataError, DataNotFoundError, lookup_name, quoted
from teach_gym.files import writing

TIMEOUT = 30.0
"""Seconds without a response after which a mirror counts as failed."""

_GZIP = 31
"""zlib's window bits for a gzip stream."""


class _HttpsOnly(urllib.request.BaseHandler):
    """Refuses every request that is not https, redirects included."""

    def default_open(self, req: urllib.request.Request) -> None:
        if req.type != "https":
            raise URLError(f"{req.full_url} is not https")


def download(name: str, folder: str | Path | None = None) -> None:
    """Fetch the files of a data set that are missing or damaged.

    Each file is tried on the mirrors in turn, and written only if its content matches the published one.

    Args:
        name: a key of ``DATASETS``.
        folder: data folder (default: ``data_dir()``).

    Raises:
        ValueError: unknown data set.
        DataNotFoundError: no mirror provided a file; the message says where to place the files by hand.
    """
    dataset = lookup_name("data set", name, DATASETS)
    for file, known in dataset.files.items():
        try:
            read(name, file, folder)
        except (DataNotFoundError, DamagedDataError):
            content = _fetch(name, dataset, file, known, folder)
            with writing(data_dir(folder) / dataset.folder / file) as target:
                target.write(content)


def _fetch(name: str, dataset: DataSet, file: str, known: KnownFile, folder: str | Path | None) -> bytes:
    """The content of one file from the first mirror that has it.

    Raises:
        DataNotFoundError: no mirror has it.
    """
    failures = []
    for mirror in dataset.mirrors:
        url = f"{mirror}{file}.gz"
        try:
            return _unpacked(url, file, known)
        except (OSError, ValueError, zlib.error, HTTPException) as error:  # URLError and timeouts are OSErrors
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    root = data_dir(folder)
    files = ", ".join(f"{f} ({k.size:,} bytes)" for f, k in dataset.files.items())
    raise DataNotFoundError(
        f"{name}: no mirror provided {file} ({'; '.join(failures)}). To place the files by hand, unpack {files} into "
        f"{quoted(root / dataset.folder)}, then run: teach-gym data {name} --check --data-dir {root}"
    )


def _unpacked(url: str, file: str, known: KnownFile) -> bytes:
    """Fetch and unpack a .gz file, showing progress on a terminal.

    Raises:
        OSError: no response, or an error response.
        ValueError: the content differs from the published one.
    """
    opener = urllib.request.build_opener(_HttpsOnly)
    unpacker, content, received = zlib.decompressobj(_GZIP), bytearray(), 0
    bar = tqdm(total=known.size, desc=file, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None)
    with opener.open(url, timeout=TIMEOUT) as answer, bar:
        while max(received, len(content)) <= known.size and (piece := answer.read(1 << 16)):
            unpacked = unpacker.decompress(piece, known.size + 1 - len(content))
            content += unpacked
            received += len(piece)
            bar.update(len(unpacked))
    if (found := hashlib.sha256(content).hexdigest()) != known.sha256:
        raise ValueError(f"{len(content):,} bytes with SHA-256 {found}, expected {known.size:,} with {known.sha256}")
    return bytes(content)
