"""Reading image data sets from disk into image pools: MNIST, CIFAR-10, CIFAR-100 and trees of image files.

Nothing is downloaded, and nothing is unpacked to disk. torchvision's CIFAR files are Python pickles; torchvision opens
them only if their MD5 is the published one.
"""

from __future__ import annotations

import functools
import io
import json
import lzma
import struct
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from teach_gym.arguments import Count, chosen
from teach_gym.data.datasets import cifar10_jpeg, data_dir, load_mnist
from teach_gym.errors import (
    DATA_MEMORY,
    DamagedDataError,
    DataNotFoundError,
    TooLargeError,
    affordable,
    quoted,
    shown,
)
from teach_gym.neural.images import ImagePool, Images, shrunk
from teach_gym.neural.patterns import patterns

Bytes = npt.NDArray[np.uint8]
Parts = tuple[Images, Images, tuple[str, ...]]
LARGEST_FILE = 64 * 1024**2
"""Maximum number of bytes of an image file."""
LARGEST_IMAGE = 1 << 24
"""Maximum number of pixels of an image."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


def load_pool(name: str, data_dir: str | Path | None = None, *, device: str = "cpu", **options: Any) -> ImagePool:
    """Read an image pool onto a device.

    Args:
        name: ``mnist``, ``cifar10`` and ``cifar100`` (torchvision's layout), ``cifar10_jpeg`` (a tree of JPEG files,
            unpacked or as .tar.xz), ``folder`` (any tree of image files) or ``patterns`` (made-up images).
        data_dir: the data folder (default: ``TEACH_GYM_DATA``, else the user's cache folder).
        device: a torch device.
        **options: for ``folder``: ``path`` of a folder with ``train/<class>/*`` and ``test/<class>/*`` (or
            ``val/<class>/*``), and ``size`` (height, width) that images are resized to; for ``patterns`` see there.

    Raises:
        ValueError: unknown name, or images of several sizes.
        TooLargeError: a file, an image or all of them together need more memory than is allowed.
        TypeError: an option the pool does not have.
        DataNotFoundError: files are missing; the message names the layout.
        DamagedDataError: files that cannot be read.
        ImportError: torchvision is not installed.
    """
    train, held_out, classes = chosen("image pool", name, READERS, options)(data_dir)
    return ImagePool(name, train, held_out, classes).to(device)


def kept_pool(name: str, options: Mapping[str, Any], *, shrink: int = 1) -> ImagePool:
    """``load_pool`` from the default data folder; images read last are kept, as 60,000 JPEG files take half a minute.

    Args:
        name: see ``load_pool``.
        options: see ``load_pool``.
        shrink: average this many pixels in each direction.

    Raises:
        ValueError: shrink does not divide the height and width.
    """
    return _kept(name, json.dumps(dict(options), sort_keys=True), str(data_dir()), shrink)


@functools.lru_cache(maxsize=2)
def _kept(name: str, options: str, folder: str, factor: int) -> ImagePool:
    pool = load_pool(name, folder, **json.loads(options))
    return replace(pool, train=shrunk(pool.train, factor), held_out=shrunk(pool.held_out, factor))


def _images(pixels: Bytes, labels: Any) -> Images:
    """Pixels (N, H, W, C) or (N, H, W) and their classes as tensors."""
    channels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return Images(torch.tensor(np.ascontiguousarray(channels)), torch.tensor(np.asarray(labels, dtype=np.int64)))


def _mnist(folder: str | Path | None) -> Parts:
    train, test = (_images(*load_mnist(folder, train=part)) for part in (True, False))
    return train, test, tuple("0123456789")


def _cifar(name: str, subfolder: str) -> Callable[[str | Path | None], Parts]:
    """A reader of torchvision's CIFAR10 or CIFAR100."""

    def read(folder: str | Path | None) -> Parts:
        try:
            from torchvision import datasets
        except ImportError as error:
            raise ImportError(f"reading {name} needs torchvision: pip install 'teach_gym[vision]'") from error
        root = data_dir(folder)
        try:
            train, test = (getattr(datasets, name)(str(root), train=part, download=False) for part in (True, False))
        except RuntimeError as error:
            raise DataNotFoundError(
                f"{name} not found or damaged in {quoted(root / subfolder)}: expected torchvision's layout, "
                f"{subfolder}/ with the files of the Python version, in the folder given by data_dir or TEACH_GYM_DATA"
            ) from error
        return _images(train.data, train.targets), _images(test.data, test.targets), tuple(train.classes)

    return read


def _cifar10_jpeg(folder: str | Path | None) -> Parts:
    """CIFAR-10 as JPEG files: ``cifar10-jpeg/{train,test}/<class>/*.jpg`` or ``cifar10-jpeg.tar.xz`` with that."""
    path = cifar10_jpeg(folder)
    return _folder(folder, path=path) if path.is_dir() else _tree(str(path), _archive_files(path), None)


def _folder(folder: str | Path | None, *, path: str | Path | None = None, size: Sequence[Count] | None = None) -> Parts:
    """A tree of image files; ``path`` defaults to the data folder."""
    root = data_dir(folder) if path is None else Path(path)
    if size is not None:
        if len(size) != 2:
            raise ValueError(f"size must be (height, width), got {shown(size)}")
        affordable(f"an image of {size[0]:,} x {size[1]:,} pixels", *_bytes((size[0], size[1])))
    return _tree(str(root), _tree_files(root), size)


def _tree_files(root: Path) -> Iterator[tuple[str, str, bytes]]:
    """(part, class, content) of every image file under a folder, in order."""
    for path in sorted(root.glob("*/*/*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            affordable(f"the image {quoted(path)}", path.stat().st_size, LARGEST_FILE)
            yield path.parts[-3], path.parts[-2], path.read_bytes()


def _archive_files(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """(part, class, content) of every image file in a .tar.xz, in the order of their names."""
    found, held = [], 0
    try:
        with tarfile.open(path, "r:xz") as archive:
            for member in archive:
                affordable(f"the file {shown(member.name)} in {quoted(path)}", member.size, LARGEST_FILE)
                name = PurePosixPath(member.name)
                file = archive.extractfile(member) if member.isfile() and name.suffix.lower() in SUFFIXES else None
                if file is not None and len(name.parts) >= 3:
                    held += member.size
                    affordable(f"the images in {quoted(path)}", held, DATA_MEMORY)
                    found.append((member.name, name.parts[-3], name.parts[-2], file.read()))
    except TooLargeError:
        raise
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, UnicodeError) as error:
        raise DamagedDataError(f"{quoted(path)} is not a complete .tar.xz archive: {error}") from error
    for _, part, label, content in sorted(found, key=lambda entry: entry[0]):
        yield part, label, content


def _tree(root: str, files: Iterator[tuple[str, str, bytes]], size: Sequence[int] | None) -> Parts:
    """Images of the parts train and test (or val)."""
    parts: dict[str, tuple[list[Bytes], list[str]]] = {}
    for part, label, content in files:
        images, labels = parts.setdefault("test" if part == "val" and "test" not in parts else part, ([], []))
        images.append(_decode(content, size, f"{root} ({part}/{label})"))
        labels.append(label)
    if not {"train", "test"} <= set(parts):
        raise DataNotFoundError(
            f"no images in {root!r}: expected train/<class>/*.jpg and test/<class>/*.jpg (or val/<class>/*.jpg; "
            f"{', '.join(SUFFIXES)}), found {sorted(parts) or 'nothing'}"
        )
    classes = sorted(set(parts["train"][1]))
    unknown = sorted(set(parts["test"][1]) - set(classes))
    if unknown:
        raise ValueError(f"classes {unknown} in {root!r} have test images but no training images")
    sizes = {image.shape[:2] for images, _ in parts.values() for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images in {root!r} are of {len(sizes)} sizes, such as {sorted(sizes)[:3]}; give size=(h, w)")
    number = {label: k for k, label in enumerate(classes)}
    train, test = (_images(np.stack(parts[p][0]), [number[k] for k in parts[p][1]]) for p in ("train", "test"))
    return train, test, tuple(classes)


def _bytes(size: tuple[int, int]) -> tuple[int, int]:
    """Bytes that an image of a size needs, and the most that are allowed."""
    return 3 * size[0] * size[1], 3 * LARGEST_IMAGE


def _decode(content: bytes, size: Sequence[int] | None, where: str) -> Bytes:
    """One image file as (H, W, 3) bytes."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(content))
        with opened:
            affordable(f"an image of {where} with {opened.size[0]:,} x {opened.size[1]:,} pixels", *_bytes(opened.size))
            image = opened.convert("RGB")
    except TooLargeError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(f"an image of {where} has too many pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, OverflowError, RuntimeError, struct.error, zlib.error) as error:
        raise DamagedDataError(f"an image of {where} cannot be read: {error}") from error
    if size is not None:
        height, width = size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


READERS: dict[str, Callable[..., Parts]] = {
    "mnist": _mnist,
    "cifar10": _cifar("CIFAR10", "cifar-10-batches-py"),
    "cifar100": _cifar("CIFAR100", "cifar-100-python"),
    "cifar10_jpeg": _cifar10_jpeg,
    "folder": _folder,
    "patterns": patterns,
}
