"""Files that users bring: data, policies, images."""

from __future__ import annotations

import functools
import io
import itertools
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from campaign import NonsenseError, Target
from hypothesis import strategies as st
from nonsense import FLOATS, HUGE, JSON, TEXTS, VALUES, arrays, as_json, damaged, edited
from PIL import Image

from teach_gym import pretrained
from teach_gym.data.pools import make_pool
from teach_gym.neural.image_files import load_pool
from teach_gym.teachers import make_teacher

_numbers = itertools.count()


def _save(folder: Path, name: str, content: bytes) -> Path:
    """A file under a name never used before, since pools are cached by path."""
    path = folder / f"{next(_numbers)}-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ------------------------------------------------------------------------------------------------------ .npz files


@st.composite
def _sets(draw: st.DrawFn) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of a data set: good ones, of which up to two are replaced or changed in one entry."""
    n, k = draw(st.integers(5, 12)), draw(st.integers(2, 3))
    found: dict[str, np.ndarray[Any, Any]] = {"X": np.linspace(-1, 1, 2 * n).reshape(n, 2), "y": np.arange(n) % k}
    if draw(st.booleans()):
        found["soft"] = np.full((n, k), 1.0 / k)
    if draw(st.booleans()):
        found["y"] = found["y"].astype(draw(st.sampled_from(["f4", "f8", "f2", "u1", "i8", "u8", "?"])))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(found)))
        shape = found[name].shape
        kind = draw(st.sampled_from(["entry", "array", "dtype", "missing", "extra"]))
        if kind == "entry" and found[name].dtype.kind == "f" and found[name].size:
            changed = found[name].copy()
            with np.errstate(over="ignore"):
                changed.flat[0] = draw(FLOATS)
            found[name] = changed
        elif kind == "array":
            found[name] = draw(arrays(st.just(shape)) | arrays())
        elif kind == "dtype":
            found[name] = draw(arrays(st.just(shape)))
        elif kind == "missing" and len(found) > 1:
            del found[name]
        else:
            found[draw(st.sampled_from(["Z", "soft"]))] = draw(arrays())
    return found


def _npz(held: dict[str, np.ndarray[Any, Any]], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, array in held.items():
            inner = io.BytesIO()
            np.lib.format.write_array(inner, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", inner.getvalue())
    return buffer.getvalue()


def _with_header(content: bytes, header: bytes) -> bytes:
    """An .npz whose X has another header."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "X.npy":
                data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data[128:]
            new.writestr(info.filename, data)
    return buffer.getvalue()


_HEADERS = [
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000000, 1), }\n",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }\n",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1e300, 2), }\n",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (5, 2), }\n",
    b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (5, 2), }\n",
    b"{'descr': '<f8', 'fortran_order': 3, 'shape': 5, }\n",
    b"{'descr': __import__('os'), 'shape': (5, 2), }\n",
    b"{" * 1000 + b"\n",
    b"\xff\xfe\n",
]


@functools.cache
def _bomb() -> bytes:
    """A small file whose X would be 5 GiB of zeros."""
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece, out = bytes(1 << 24), []
    for _ in range(16):
        out.append(squeezed.compress(piece))
    out.append(squeezed.flush())
    body, size = b"".join(out), 5 * 2**30
    name = b"X.npy"
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(body), 0xFFFFFFFF, len(name), 20)
    extra = struct.pack("<HHQQ", 1, 16, size, len(body))
    head = local + name + extra + body
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        *(b"PK\1\2", 45, 45, 0, 8, 0, 0, 0, len(body), 0xFFFFFFFF, len(name), 12),
        *(0, 0, 0, 0, 0),
    )
    central += name + struct.pack("<HHQ", 1, 8, size)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(head), 0)
    return head + central + end


@st.composite
def _data_files(draw: st.DrawFn) -> tuple[dict[str, np.ndarray[Any, Any]] | None, bytes]:
    """The content of a file, and the arrays it holds where it was not tampered with."""
    held = draw(_sets())
    content = _npz(held, draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])))
    kind = draw(st.sampled_from(["whole"] * 4 + ["damaged", "header", "bytes", "bomb", "method"]))
    if kind == "damaged":
        return None, draw(damaged(content))
    if kind == "header":
        return None, _with_header(content, draw(st.sampled_from(_HEADERS) | st.binary(max_size=40)))
    if kind == "bytes":
        return None, draw(st.binary(max_size=60))
    if kind == "bomb":
        return None, _bomb()
    if kind == "method":
        return None, content.replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63"
        )
    return held, content


def _good_set(case: tuple[dict[str, np.ndarray[Any, Any]] | None, bytes]) -> bool | None:
    """Whether the arrays are a data set, by the rules of the documentation."""
    held = case[0]
    if held is None:
        return None
    if not {"X", "y"} <= set(held):
        return False
    x, y, soft = held["X"], held["y"], held.get("soft")
    if any(a.dtype.kind not in "iufb" for a in (x, y, *([] if soft is None else [soft]))):
        return False
    if x.ndim != 2 or len(x) < 5 or not x.shape[1] or y.shape != (len(x),) or not np.isfinite(x).all():
        return False
    with np.errstate(all="ignore"):
        extreme = bool((np.abs(x.astype(float)) > 1e100).any())
        if y.dtype.kind == "f":
            return None if extreme else bool(np.isfinite(y.astype(float)).all() and soft is None)
    found = set(y.tolist())
    if found != set(range(len(found))) or len(found) < 2:
        return False
    if soft is not None:
        if soft.shape != (len(x), len(found)) or not np.isfinite(soft).all():
            return False
        total = np.asarray(soft, dtype=float)
        if (total < -1e-3).any() or (total > 1.001).any() or (np.abs(total.sum(1) - 1) > 1e-3).any():
            return False
        return None
    return None if extreme else True


def _read_data(folder: Path, case: tuple[Any, bytes]) -> None:
    path = _save(folder, "data.npz", case[1])
    try:
        pool = make_pool("array", 0, path=str(path))
        if not all(np.isfinite(part.x).all() and len(part) for part in (pool.train, pool.holdout, pool.test)):
            raise NonsenseError(f"a pool with {pool}")
    finally:
        path.unlink()


# ----------------------------------------------------------------------------------------------------- policies


@functools.cache
def _policy() -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """The tensors and the metadata of a policy that comes with the package."""
    from safetensors import safe_open

    with safe_open(str(pretrained.find("ppo/LabelMoons-v0")), framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118


@st.composite
def _policies(draw: st.DrawFn) -> tuple[bool, bytes]:
    """Whether the tensors were made nonsense of, and the content of a policy's file."""
    from safetensors.numpy import save

    tensors, metadata = dict(_policy()[0]), dict(_policy()[1])
    key = next(name for name in metadata if name.endswith("card"))
    kind = draw(st.sampled_from(["card", "card", "dtype", "shape", "tensors", "metadata", "damaged", "deep", "header"]))
    bad = False
    if kind == "card":
        metadata[key] = as_json(draw(edited(json.loads(metadata[key]))))
    elif kind == "dtype":
        name = draw(st.sampled_from(sorted(tensors)))
        dtype = draw(st.sampled_from(["i4", "u1", "?", "f2", "f8"]))
        tensors[name], bad = tensors[name].astype(dtype), dtype not in ("f8",)
    elif kind == "shape":
        name = draw(st.sampled_from(sorted(tensors)))
        tensors[name] = draw(st.sampled_from([tensors[name][:1], tensors[name][None], tensors[name][..., :1]])).copy()
    elif kind == "tensors":
        name = draw(st.sampled_from([*sorted(tensors), "x", "9.weight", "0.weight "]))
        if name in tensors and draw(st.booleans()):
            del tensors[name]
        else:
            tensors[name], bad = np.full((2, 2), 0.5, dtype="f4"), name not in tensors
    elif kind == "metadata":
        metadata[draw(st.sampled_from(sorted(metadata)))] = draw(TEXTS.filter(lambda t: "\ud800" not in t))
    elif kind == "deep":
        metadata[key] = '{"task": ' + "[" * 100_000 + "]" * 100_000 + "}"
    with np.errstate(all="ignore"):
        content = save(tensors, metadata)
    if kind == "damaged":
        return False, draw(damaged(content))
    if kind == "header":
        size = struct.unpack("<Q", content[:8])[0]
        header = draw(edited(json.loads(content[8 : 8 + size])))
        text = as_json(header).encode()
        return False, struct.pack("<Q", len(text)) + text + content[8 + size :]
    return bad, content


@functools.cache
def _moons() -> gym.Env[Any, Any]:
    return gym.make("teach_gym/LabelMoons-v0")


def _use_policy(folder: Path, case: tuple[bool, bytes]) -> None:
    path = _save(folder, "policy.safetensors", case[1])
    try:
        teacher, env = make_teacher(str(path)), _moons()
        env.reset(seed=0)
        for _ in range(2):
            env.step(teacher.act(env))
    finally:
        path.unlink()


@st.composite
def _indices(draw: st.DrawFn) -> tuple[str, str]:
    """The text of an index of pretrained teachers, and the name to look up."""
    good = json.loads((Path(pretrained.__file__).parent / "index.json").read_text())
    found = draw(edited(good) | JSON)
    names = ["../outside", "/etc/passwd", "ppo/../../outside", "ppo/LabelMoons-v0", "\0", "ppo", ""]
    if isinstance(found, dict) and draw(st.booleans()):
        found[draw(st.sampled_from(names) | TEXTS)] = draw(st.sampled_from([{"sha256": "0" * 64}, {}, None, []]))
    text = as_json(found)
    return draw(st.sampled_from([text, text, text, text[: len(text) // 2], "[" * 100_000])), draw(
        st.sampled_from(names)
    )


def _use_index(folder: Path, case: tuple[str, str]) -> None:
    text, name = case
    (folder / "index.json").write_text(text)
    before, pretrained.FOLDER = pretrained.FOLDER, folder
    pretrained.index.cache_clear()
    try:
        found = pretrained.find(name)
        if not found.resolve().is_relative_to(folder.resolve()) and not Path(name).is_file():
            raise NonsenseError(f"{found} is outside of the package")
    finally:
        pretrained.FOLDER = before
        pretrained.index.cache_clear()


# ------------------------------------------------------------------------------------------------------- images


def _png(size: tuple[int, int], mode: str = "RGB", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, kind)
    return buffer.getvalue()


def _huge_png(side: int) -> bytes:
    """A PNG that claims to be that large."""
    content = bytearray(_png((4, 4)))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


@st.composite
def _pictures(draw: st.DrawFn) -> dict[str, bytes]:
    """Images by path."""
    found = {f"{part}/{label}/a.png": _png((8, 8)) for part in ("train", "test") for label in ("cat", "dog")}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(found)) | st.sampled_from(["val/cat/b.png", "train/eel/b.jpg", "x.png"]))
        if draw(st.integers(0, 4)) == 0:
            found.pop(name, None)
            continue
        size = draw(st.sampled_from([(8, 8), (1, 1), (9, 8)]))
        mode = draw(st.sampled_from(["RGB", "L", "1", "P", "I;16", "LA", "RGBA"]))
        good = st.just(_png(size, mode))
        bad = (
            st.builds(_huge_png, st.sampled_from([20_000, 60_000, 2**31 - 1]))
            | damaged(_png((8, 8)))
            | st.binary(max_size=9)
        )
        found[name] = draw(good | bad)
    return found


@st.composite
def _image_cases(draw: st.DrawFn) -> tuple[bool, dict[str, bytes], Any, str]:
    """Whether to use an archive, its images, the option ``size``, and what else is wrong with the archive."""
    size = draw(st.sampled_from([None, None, None, (4, 4)]) | st.lists(st.integers(-1, 9), max_size=3) | VALUES | HUGE)
    return draw(st.booleans()), draw(_pictures()), size, draw(st.sampled_from(["", "", "cut", "bomb", "link"]))


@functools.cache
def _tar_bomb() -> bytes:
    """A small archive with one image file of 400 MB."""
    import lzma

    info = tarfile.TarInfo("cifar10-jpeg/train/cat/a.jpg")
    info.size = 400_000_000
    squeezed = lzma.LZMACompressor(preset=0)
    out = [squeezed.compress(info.tobuf())]
    out += [squeezed.compress(bytes(50_000_000)) for _ in range(8)]
    return b"".join([*out, squeezed.flush()])


def _read_images(folder: Path, case: tuple[bool, dict[str, bytes], Any, str]) -> None:
    packed, files, size, what = case
    root = folder / str(next(_numbers))
    root.mkdir(parents=True)
    if not packed:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        pool = load_pool("folder", path=str(root), size=size)
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:xz", preset=0) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(f"cifar10-jpeg/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            if what == "link":
                info = tarfile.TarInfo("cifar10-jpeg/train/cat/z.jpg")
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
        content = buffer.getvalue()
        content = content[: len(content) // 2] if what == "cut" else _tar_bomb() if what == "bomb" else content
        (root / "cifar10-jpeg.tar.xz").write_bytes(content)
        pool = load_pool("cifar10_jpeg", str(root))
    if not len(pool.train) or not len(pool.held_out):
        raise NonsenseError("an empty pool")


def file_targets(folder: Path) -> list[Target]:
    data, policies, index, images = (folder / name for name in ("data", "policies", "index", "images"))
    index.mkdir(exist_ok=True)
    return [
        Target("data files", _data_files(), functools.partial(_read_data, data), _good_set, weight=4),
        Target(
            "policies",
            _policies(),
            functools.partial(_use_policy, policies),
            lambda case: False if case[0] else None,
            weight=4,
        ),
        Target("index", _indices(), functools.partial(_use_index, index)),
        Target("images", _image_cases(), functools.partial(_read_images, images), weight=1),
    ]
