"""Files of learned teachers: safetensors with their description as JSON; nothing in a file is ever run.

The metadata holds ``format``, ``kind`` (which class of teacher reads it) and ``card``, a JSON object with at least the
``task`` (the fields of its ``TaskSpec``, or of a ``MixupSpec``) the teacher was trained on and the ``versions`` it was
trained with.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from teach_gym.core.observe import OBSERVATIONS
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import DamagedDataError, lookup_name, quoted, shown
from teach_gym.files import is_file, writing
from teach_gym.versions import version_of, versions

FORMAT = "1"
DTYPES = ("F32", "F64")
"""The floating types that weights may have, by their names in safetensors."""
_PREFIX = "teach_gym."


class Contents(NamedTuple):
    """What a file of a learned teacher holds.

    Attributes:
        card: its description.
        tensors: its weights by name, on the CPU.
    """

    card: dict[str, Any]
    tensors: dict[str, Any]


class Saved(NamedTuple):
    """A learned teacher's file; see ``Contents``.

    Attributes:
        card: its description.
        tensors: its weights by name, on the CPU.
        spec: the task it was trained on.
    """

    card: dict[str, Any]
    tensors: dict[str, Any]
    spec: TaskSpec


class Loaded(NamedTuple):
    """What a teacher is made of that is read from a file.

    Attributes:
        policy: its networks.
        spec: the task it was trained on.
        card: the file's description.
    """

    policy: Any
    spec: TaskSpec
    card: dict[str, Any]


def write_teacher(path: str | Path, kind: str, tensors: Mapping[str, Any], spec: Any, **card: Any) -> None:
    """Write a teacher, whole or not at all.

    Args:
        path: the file.
        kind: the teacher's kind.
        tensors: torch tensors or numpy arrays by name.
        spec: the task it was trained on, a dataclass of plain values.
        **card: further plain JSON values, such as the architecture and the training's settings.

    Raises:
        ValueError: weights that are not finite.
        TypeError: a card that JSON cannot hold.
    """
    from safetensors.numpy import save

    arrays = {name: _array(tensor) for name, tensor in tensors.items()}
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(f"cannot save a teacher with weights that are not finite: {', '.join(broken)}")
    about = {**card, "task": asdict(spec), "versions": {**versions(), "torch": version_of("torch")}}
    metadata = {_PREFIX + "format": FORMAT, _PREFIX + "kind": kind, _PREFIX + "card": json.dumps(about, sort_keys=True)}
    content = save(arrays, metadata)
    with writing(path) as file:
        file.write(content)


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    """A torch tensor or array as a contiguous numpy array on the CPU."""
    tensor = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor
    return np.ascontiguousarray(tensor)


def read_policy(path: str | Path, kind: str, make: Callable[[dict[str, Any], Mapping[str, Any]], Any]) -> Loaded:
    """Read torch networks, the task they were trained on and the file's description.

    Args:
        path: the file.
        kind: the teacher's kind.
        make: makes the networks for the card's architecture (lists as tuples) and the tensors that will be loaded.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind or format.
        DamagedDataError: not such a file, or a damaged one.
    """
    saved = read_teacher(path, kind)
    with damage_named(path):
        about = {n: tuple(v) if isinstance(v, list) else v for n, v in dict(saved.card["architecture"]).items()}
        policy = make(about, saved.tensors)
        policy.load_state_dict(saved.tensors)
        policy.to(next(iter(saved.tensors.values())).dtype)
    return Loaded(policy, saved.spec, saved.card)


def _word(text: str | None) -> str:
    """A text from a file's metadata in one line, empty if there is none."""
    return "" if text is None else shown(text).strip("'")


@contextlib.contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while a file's content is put together into a ``DamagedDataError``."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError, StopIteration) as error:
        raise DamagedDataError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def read_kind(path: str | Path) -> str:
    """The kind of the teacher in a file, which is the name of the teacher that reads it.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: not a file of a learned teacher.
    """
    with _opened(path, "np") as file:
        found = (file.metadata() or {}).get(_PREFIX + "kind")
    if found is None:
        raise DamagedDataError(f"{path} holds no learned teacher")
    return str(found)


@contextlib.contextmanager
def _opened(path: str | Path, framework: str) -> Iterator[Any]:
    """Open a file of tensors.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: not such a file, or a damaged one.
    """
    from safetensors import SafetensorError, safe_open

    if not is_file(path):
        raise FileNotFoundError(f"no teacher at {quoted(path)}")
    try:
        with safe_open(str(path), framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise DamagedDataError(
            f"{path} is not a file of a learned teacher, or damaged: {' '.join(str(error).split())}"
        ) from error


def read_contents(path: str | Path, kind: str, framework: str = "pt") -> Contents:
    """Read a file of ``write_teacher``; the card's ``task`` is not looked at.

    Args:
        path: the file.
        kind: the teacher's kind.
        framework: ``pt`` for torch tensors, ``np`` for numpy arrays (needs no torch).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind or format.
        DamagedDataError: not such a file, or a damaged one.
    """
    with _opened(path, framework) as file:
        about = file.metadata() or {}
        found, version = about.get(_PREFIX + "kind"), about.get(_PREFIX + "format")
        if found != kind or version != FORMAT:
            raise ValueError(
                f"{path} holds {_word(found) or 'no learned teacher'} of format {_word(version)}, "
                f"wanted {kind} of format {FORMAT}"
            )
        names = list(file.keys())
        odd = {name: kind for name in names if (kind := file.get_slice(name).get_dtype()) not in DTYPES}
        if odd:
            raise DamagedDataError(f"{path} is damaged: weights must be {' or '.join(DTYPES)}, got {odd}")
        tensors = {name: file.get_tensor(name) for name in names}
    with damage_named(path):
        infinite = [name for name, tensor in tensors.items() if not np.isfinite(_array(tensor)).all()]
        if infinite:
            raise ValueError(f"weights that are not finite numbers: {', '.join(infinite)}")
        return Contents(json.loads(about[_PREFIX + "card"]), tensors)


def read_teacher(path: str | Path, kind: str, framework: str = "pt") -> Saved:
    """Read a file of ``write_teacher`` whose task is a ``TaskSpec``; see ``read_contents``."""
    card, tensors = read_contents(path, kind, framework)
    with damage_named(path):
        spec = TaskSpec(**card["task"])
        lookup_name("observation", spec.observation, OBSERVATIONS)
        return Saved(card, tensors, spec)
