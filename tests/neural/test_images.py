"""Image pools: crops and flips against torchvision's, files on disk against torchvision's readers."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from neural_cases import made_pool
from PIL import Image
from torchvision import datasets
from torchvision.transforms import functional as transforms

from teach_gym.data.datasets import data_dir, load_mnist
from teach_gym.errors import DamagedDataError, DataNotFoundError, TooLargeError
from teach_gym.neural import images as image_module
from teach_gym.neural.image_files import kept_pool, load_pool
from teach_gym.neural.images import ImagePool, Images, accuracy, crop_and_flip, scale, shrunk


def test_crops_and_flips_are_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, asked = made_pool(40).train.pixels, []
    shifted = image_module._shifted
    monkeypatch.setattr(image_module, "_shifted", lambda *a: asked.append(a) or shifted(*a))
    found = crop_and_flip(pixels, [torch.Generator().manual_seed(1)])
    _, down, right, mirrored = asked[0]
    for i in range(40):
        crop = transforms.crop(transforms.pad(pixels[i], [4]), int(down[i]), int(right[i]), 8, 8)
        assert torch.equal(found[i], transforms.hflip(crop) if mirrored[i] else crop)
    assert set(down.tolist()) == set(right.tolist()) == set(range(9)) and 10 < mirrored.sum() < 30


def test_a_seeds_crops_do_not_depend_on_the_others() -> None:
    pixels = made_pool(12).train.pixels.expand(2, -1, -1, -1, -1)
    both = crop_and_flip(pixels, [torch.Generator().manual_seed(s) for s in (1, 2)])
    second = crop_and_flip(pixels[1], [torch.Generator().manual_seed(2)])
    assert torch.equal(both[1], second) and not torch.equal(both[0], both[1])


def test_pixels_are_scaled_to_plus_minus_one() -> None:
    found = scale(torch.arange(256, dtype=torch.uint8))
    np.testing.assert_allclose(found.numpy(), np.arange(256) / 127.5 - 1, atol=1e-6)


def test_validation_split_takes_training_images_only() -> None:
    pool = made_pool()
    split = pool.validation(20)
    assert (len(split.train), len(split.held_out)) == (76, 20)
    rows = torch.cat([split.train.pixels, split.held_out.pixels]).flatten(1)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, pool.train.pixels.flatten(1).tolist()))
    with pytest.raises(ValueError, match=r"must be in \[1, 95\], got 96"):
        pool.validation(96)


def test_accuracy_is_the_share_of_right_answers() -> None:
    images = made_pool().held_out
    images.labels[::4] = 0

    def brightest(x: Any) -> Any:
        return x.mean((-1, -2))

    expected = 100 * (images.pixels.double().mean((-1, -2)).argmax(-1) == images.labels).double().mean().item()
    assert accuracy(brightest, images, block=7) == pytest.approx([expected])
    assert accuracy(brightest, images, runs=2, block=25) == pytest.approx([expected, expected])
    assert 50 < expected < 100


def test_pools_name_what_does_not_fit() -> None:
    good = made_pool()
    with pytest.raises(ValueError, match="train must be pixels"):
        ImagePool("bad", Images(good.train.pixels.float(), good.train.labels), good.held_out, good.classes)
    with pytest.raises(ValueError, match=r"labels of train must be int64 in \[0, 2\)"):
        ImagePool("bad", good.train, good.held_out, ("a", "b"))
    with pytest.raises(ValueError, match="must be of one size"):
        ImagePool("bad", good.train, made_pool(size=10).held_out, good.classes)


def write_tree(root: Path, size: int = 8) -> dict[tuple[str, str, str], np.ndarray]:
    rng, written = np.random.default_rng(0), {}
    for part, label, name in (
        ("train", "cat", "1"),
        ("train", "ant", "0"),
        ("train", "ant", "1"),
        ("test", "cat", "0"),
    ):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        path = root / part / label / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        written[part, label, name] = pixels
    return written


def test_folder_pool_is_torchvisions_image_folder(tmp_path: Path) -> None:
    write_tree(tmp_path)
    pool = load_pool("folder", path=str(tmp_path))
    for part, images in (("train", pool.train), ("test", pool.held_out)):
        tree = datasets.ImageFolder(str(tmp_path / part))
        assert pool.classes == ("ant", "cat")
        for i, (image, label) in enumerate(tree):
            assert torch.equal(images.pixels[i], transforms.pil_to_tensor(image))
            assert pool.classes[int(images.labels[i])] == tree.classes[label]
    assert load_pool("folder", path=str(tmp_path), size=(4, 6)).image == (3, 4, 6)


def test_kept_images_are_those_of_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("first", "second", "first")]
    write_tree(folders[0], 8), write_tree(folders[1], 12)
    found = []
    for folder in folders:
        monkeypatch.setenv("TEACH_GYM_DATA", str(folder))
        found.append(kept_pool("folder", {}, shrink=2))
        for part in ("train", "held_out"):
            assert torch.equal(getattr(found[-1], part).pixels, shrunk(getattr(load_pool("folder"), part), 2).pixels)
    assert [pool.image for pool in found] == [(3, 4, 4), (3, 6, 6), (3, 4, 4)] and found[2] is found[0]


def test_jpeg_archive_and_tree_give_the_same_pool(tmp_path: Path) -> None:
    write_tree(tmp_path / "a" / "cifar10-jpeg")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar10-jpeg.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "a" / "cifar10-jpeg", arcname="cifar10-jpeg")
    tree, packed = (load_pool("cifar10_jpeg", tmp_path / name) for name in "ab")
    assert torch.equal(tree.train.pixels, packed.train.pixels) and torch.equal(tree.train.labels, packed.train.labels)
    assert tree.classes == packed.classes == ("ant", "cat")
    (tmp_path / "b" / "cifar10-jpeg.tar.xz").write_bytes(b"\xfd7zXZ\x00 cut")
    with pytest.raises(DamagedDataError, match=r"not a complete \.tar\.xz"):
        load_pool("cifar10_jpeg", tmp_path / "b")


def test_missing_and_bad_images_are_told_with_the_layout(tmp_path: Path) -> None:
    for name, layout in (
        ("mnist", "train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py/"),
        ("cifar100", "cifar-100-python/"),
        ("cifar10_jpeg", r"cifar10-jpeg/\{train,test\}/<class>/\*.jpg"),
        ("folder", r"expected train/<class>/\*.jpg"),
    ):
        with pytest.raises(DataNotFoundError, match=layout):
            load_pool(name, tmp_path)
    with pytest.raises(ValueError, match="unknown image pool 'cifar'"):
        load_pool("cifar", tmp_path)
    with pytest.raises(TypeError, match="has no option size"):
        load_pool("mnist", size=(8, 8))
    write_tree(tmp_path)
    Image.fromarray(np.zeros((5, 5, 3), dtype=np.uint8)).save(tmp_path / "test" / "cat" / "9.png")
    with pytest.raises(ValueError, match=r"of 2 sizes.*give size="):
        load_pool("folder", tmp_path)
    (tmp_path / "test" / "cat" / "9.png").write_bytes(b"no image")
    with pytest.raises(DamagedDataError, match="test/cat"):
        load_pool("folder", tmp_path)


def test_cifar100_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files of the same format; torchvision opens pickles of the published MD5 only, here these files' MD5."""
    root, sums = tmp_path / "cifar-100-python", {}
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = {part: rng.integers(0, 256, (4, 3072), dtype=np.uint8) for part in ("train", "test")}
    entries: dict[str, Any] = {p: {"data": x, "fine_labels": [0, 1, 1, 0]} for p, x in rows.items()}
    for part, entry in {**entries, "meta": {"fine_label_names": ["apple", "bee"]}}.items():
        (root / part).write_bytes(pickle.dumps(entry))
        sums[part] = hashlib.md5((root / part).read_bytes()).hexdigest()
    with pytest.raises(DataNotFoundError, match="CIFAR100 not found or damaged"):
        load_pool("cifar100", tmp_path)
    for part in ("train", "test"):
        monkeypatch.setattr(datasets.CIFAR100, f"{part}_list", [[part, sums[part]]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    pool = load_pool("cifar100", tmp_path)
    assert pool.classes == ("apple", "bee") and pool.train.labels.tolist() == [0, 1, 1, 0]
    assert torch.equal(pool.train.pixels.flatten(1), torch.tensor(rows["train"]))


def test_mnist_is_torchvisions() -> None:
    pool = load_pool("mnist")
    theirs = datasets.MNIST(str(data_dir()), train=False)
    assert torch.equal(pool.held_out.pixels[:, 0], theirs.data) and torch.equal(pool.held_out.labels, theirs.targets)
    assert len(pool.train) == len(load_mnist(train=True)[1]) and pool.image == (1, 28, 28)


@pytest.mark.slow
@pytest.mark.skipif(not (data_dir() / "cifar10-jpeg.tar.xz").is_file(), reason="no cifar10-jpeg.tar.xz in the data")
def test_cifar10_jpeg_archive_holds_cifar10() -> None:
    pool = load_pool("cifar10_jpeg")
    assert (len(pool.train), len(pool.held_out), pool.image) == (50_000, 10_000, (3, 32, 32))
    assert pool.classes == tuple(sorted(pool.classes)) and len(pool.classes) == 10
    assert torch.bincount(pool.train.labels).tolist() == [5000] * 10
    with tarfile.open(data_dir() / "cifar10-jpeg.tar.xz") as archive:
        member = next(m for m in archive if m.name.endswith("test/airplane/0000.jpg"))
        expected = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
    assert torch.equal(pool.held_out.pixels[0], transforms.pil_to_tensor(expected))


def huge_png(side: int) -> bytes:
    """A PNG of four pixels that claims to be that large."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


@pytest.mark.parametrize("side", [5_000, 20_000, 60_000])
def test_images_of_too_many_pixels_are_refused_before_they_are_decoded(side: int, tmp_path: Path) -> None:
    for part in ("train", "test"):
        path = tmp_path / part / "cat" / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(huge_png(side))
    with pytest.raises(TooLargeError, match=r"an image of .*pixels"):
        load_pool("folder", path=str(tmp_path))


def test_an_archive_that_would_grow_too_much_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar10-jpeg.tar.xz", "w:xz", preset=0) as archive:
        info = tarfile.TarInfo("cifar10-jpeg/train/cat/a.jpg")
        info.size = 65 * 1024**2
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    assert (tmp_path / "cifar10-jpeg.tar.xz").stat().st_size < 100_000
    with pytest.raises(TooLargeError, match=r"'cifar10-jpeg/train/cat/a.jpg' .*65 MiB of memory; at most 64 MiB"):
        load_pool("cifar10_jpeg", str(tmp_path))


@pytest.mark.parametrize("size", [(8,), (8, 8, 8), (0, 8), (10**6, 10**6), "8"])
def test_bad_sizes_are_named(size: Any, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=r"size|pixels"):
        load_pool("folder", path=str(tmp_path), size=size)


def test_fewer_images_are_some_of_the_training_images() -> None:
    pool = made_pool()
    found = pool.fewer(30)
    kept, all_of_them = ([*map(tuple, part.train.pixels.flatten(1).tolist())] for part in (found, pool))
    assert len(kept) == len(set(kept)) == 30 and set(kept) < set(all_of_them) and kept != all_of_them[:30]
    of = dict(zip(all_of_them, pool.train.labels.tolist(), strict=True))
    assert found.train.labels.tolist() == [of[image] for image in kept]
    assert found.held_out is pool.held_out
    with pytest.raises(ValueError, match=r"must be in \[1, 96\], got 97"):
        pool.fewer(97)


def test_a_share_of_the_training_labels_is_wrong() -> None:
    images = Images(torch.zeros((3000, 1, 8, 8), dtype=torch.uint8), torch.arange(3000) % 3)
    pool = ImagePool("made", images, images, ("a", "b", "c"))
    found = pool.mislabelled(0.2)
    moved = (found.train.labels - images.labels) % 3
    counts = torch.bincount(moved, minlength=3).tolist()
    assert counts[0] == 2400 and abs(counts[1] - 300) < 60, "a fifth, spread over the other classes"
    assert torch.equal(found.train.pixels, images.pixels) and torch.equal(found.held_out.labels, images.labels)
