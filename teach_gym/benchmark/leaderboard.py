"""The leaderboard: scores that anybody can replay.

An entry is a JSON file. It names a teacher (by the SHA-256 of its file or of its source, or a teacher of the package),
a task and the published seeds, and holds what every episode ends at (the final distance, in black-box tasks the
hold-out loss) to the last bit. ``verify`` teaches the episodes again and says what differs, if anything does.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.benchmark.evaluation import Evaluation, TeacherScore, evaluate
from teach_gym.benchmark.suite import cached_task, task_spec
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import DamagedDataError, closest, number, quoted, shown
from teach_gym.files import is_file, sha256, write_text, writing
from teach_gym.markdown import markdown_table
from teach_gym.pretrained import find, index
from teach_gym.registration import TASKS
from teach_gym.teachers import TEACHERS, Teacher, canonical_teacher, make_teacher, parse_teacher
from teach_gym.teachers.weights import read_kind
from teach_gym.versions import versions

FORMAT = 1
SEEDS = tuple(range(3_000_000, 3_000_200))
"""The published seeds; nothing in the package is trained or tuned on them, and neither should an entry be."""

Entry = dict[str, Any]
_NEEDED = ("format", "name", "teacher", "task", "spec", "seeds", "ends", "score", "low", "high", "versions")


def make_entry(
    source: str | Path, task: str, name: str, evaluation: Evaluation | None = None
) -> tuple[Entry, TeacherScore]:
    """Score a teacher on the published seeds.

    Args:
        source: the file of a trained teacher; ``module:Class`` of one in Python (made without arguments); or one that
            comes with the package: its name, with options if need be, or that of a pretrained one.
        task: a registered task, with changes if need be, as in ``LabelMoons:budget=100``.
        name: what the entry is called: letters, digits, ``-``, ``_`` and ``.``.
        evaluation: that of the task on the published seeds, if it is at hand.

    Returns:
        The entry and its score.

    Raises:
        ValueError: a name that cannot be a file's, an unknown task, or a teacher that cannot teach it.
        FileNotFoundError: no such file.
        ImportError: no such module.
    """
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) is None:
        raise ValueError(f"an entry's name is made of letters, digits, '-', '_' and '.', got {shown(name)}")
    label, spec = task_spec(task)
    teacher, about = _teacher(source)
    score = (evaluation or Evaluation(cached_task(spec), SEEDS)).score(teacher)
    entry = {
        "format": FORMAT,
        "name": name,
        "teacher": about,
        "task": label,
        "spec": json.loads(spec),
        "seeds": [SEEDS[0], len(SEEDS)],
        "ends": [float(d).hex() for d in score.ends],
        "score": score.score,
        "low": score.low,
        "high": score.high,
        "versions": versions(),
    }
    return entry, score


def submit(source: str | Path, task: str, name: str, folder: str | Path) -> tuple[Path, TeacherScore]:
    """Write an entry, and beside it the teacher's file; both appear whole or not at all.

    Args:
        source: see ``make_entry``.
        task: see ``make_entry``.
        name: see ``make_entry``.
        folder: the folder of entries.

    Returns:
        The entry's file and its score.

    Raises:
        FileExistsError: the folder has an entry of that name.
    """
    path = Path(folder) / f"{name}.json"
    if path.exists():
        raise FileExistsError(f"{path} is there already: choose another name or remove it")
    entry, score = make_entry(source, task, name)
    if "file" in entry["teacher"]:
        with Path(source).open("rb") as read, writing(path.with_name(entry["teacher"]["file"])) as file:
            shutil.copyfileobj(read, file)
    write_text(path, json.dumps(entry, indent=1) + "\n")
    return path, score


def entry_name(teacher: str) -> str:
    """A teacher written as text, as part of an entry's name: ``last:constraint=soft`` becomes ``last-soft``."""
    module, _, rest = teacher.partition(":")
    if rest and module not in TEACHERS:  # module:Class
        return rest
    parts = [module, *(part.partition("=")[2] or part for part in rest.split(",") if part)]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-")


def read_entry(path: str | Path) -> Entry:
    """Read an entry and check its form.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: it is no entry; the message says what is wrong.
    """
    if not is_file(path):
        raise FileNotFoundError(f"no entry of the leaderboard at {quoted(path)}; `teach-gym submit` writes one")
    try:
        entry = json.loads(Path(path).read_text(encoding="utf-8"))
        missing = [key for key in _NEEDED if key not in entry]
        if missing or entry["format"] != FORMAT:
            raise ValueError(f"no entry of format {FORMAT}" + (f": {', '.join(missing)} missing" if missing else ""))
        first, count = entry["seeds"]
        if (first, count) != (SEEDS[0], len(SEEDS)) or len(entry["ends"]) != count:
            raise ValueError(f"an entry has the {len(SEEDS)} published seeds from {SEEDS[0]}")
        for key in ("score", "low", "high"):
            number(key, entry[key])
        for text in entry["ends"]:
            float.fromhex(text)
        about = entry["teacher"]
        kinds = [about[kind] for kind in ("code", "builtin", "file") if kind in about]
        texts = [entry["name"], entry["task"], about.get("sha256", ""), *kinds]
        if not kinds or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"name, task, the teacher and its SHA-256 must be texts, got {shown(texts)}")
        if not isinstance(about.get("card", {}), dict) or not isinstance(entry["versions"], dict):
            raise TypeError("the teacher's card and the versions must be tables")
        TaskSpec(**entry["spec"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise DamagedDataError(f"{path} is no entry of the leaderboard: {error}") from error
    return dict(entry)


def verify(path: str | Path, *, run_code: bool = False) -> list[str]:
    """Teach an entry's episodes again.

    Args:
        path: the entry; a trained teacher's file lies beside it.
        run_code: import and run the module of a teacher in Python, which may do anything.

    Returns:
        What differs, in words; an empty list confirms the entry bit for bit.

    Raises:
        ValueError: a teacher in Python, and ``run_code`` is False.
        FileNotFoundError: the teacher's file is not there.
        DamagedDataError: the entry is damaged.
    """
    path = Path(path)
    entry = read_entry(path)
    about = entry["teacher"]
    if "code" in about and not run_code:
        raise ValueError(f"{path.name} names code, {shown(about['code'])}: read it, then verify with --run-code")
    source = about.get("code") or about.get("builtin") or path.with_name(Path(about["file"]).name)
    teacher, found = _teacher(source)
    problems = []
    if found.get("sha256") != about.get("sha256"):
        now, then = found.get("sha256"), about.get("sha256")
        problems.append(f"the teacher is another one: SHA-256 {now}, the entry has {then}")
    label, spec = task_spec(entry["task"])
    if json.loads(spec) != entry["spec"]:
        changed = [key for key, value in json.loads(spec).items() if entry["spec"].get(key) != value]
        problems.append(f"the task {label} has changed since: {', '.join(changed)}")
    score = evaluate(teacher, cached_task(json.dumps(entry["spec"], sort_keys=True)), SEEDS)
    wrong = [
        (seed, float.fromhex(then), float(now))
        for seed, then, now in zip(SEEDS, entry["ends"], score.ends, strict=True)
        if float.fromhex(then) != now
    ]
    if wrong:
        seed, then, now = wrong[0]
        largest = max(abs(now - then) for _, then, now in wrong)
        problems.append(
            f"{len(wrong)} of {len(SEEDS)} final values differ, by at most {largest:.3g}; first seed {seed}: "
            f"{shown(now)}, the entry has {shown(then)} ({_other_versions(entry)})"
        )
    for key in ("score", "low", "high"):
        now = getattr(score, key)
        if not np.isclose(now, entry[key], rtol=1e-12, atol=0):
            problems.append(f"{key} is {shown(now)}, the entry has {shown(entry[key])}")
    return problems


def _other_versions(entry: Entry) -> str:
    now = versions()
    then = entry["versions"]
    other = [f"{key} {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]]
    return ", ".join(other) or "with the same versions"


def _teacher(source: str | Path) -> tuple[Teacher, dict[str, Any]]:
    """A teacher, and how an entry names it."""
    path = Path(source)
    if is_file(path):
        with path.open("rb") as file:
            digest = sha256(file)
        teacher = make_teacher(read_kind(path), path=path)
        return teacher, {"file": path.name, "sha256": digest, "card": getattr(teacher, "card", {})}
    module, _, name = str(source).partition(":")
    if module in TEACHERS or source in index():
        return _builtin(str(source))
    if not name:
        raise FileNotFoundError(
            f"no teacher at {quoted(source)}: give a teacher's file, module:Class, or the name of a built-in teacher"
            f"{closest(str(source), (*TEACHERS, *index()))}"
        )
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise ImportError(f"cannot import the teacher {quoted(source)}: {error}") from error
    finally:
        sys.path.remove("")
    if not (inspect.isclass(found) and issubclass(found, Teacher)):
        raise ValueError(f"{shown(source)} is no class of teachers (teach_gym.Teacher)")
    file_name = inspect.getsourcefile(found)
    assert file_name is not None
    digest = hashlib.sha256(Path(file_name).read_bytes()).hexdigest()
    return found(), {"code": str(source), "sha256": digest}


def _builtin(text: str) -> tuple[Teacher, dict[str, Any]]:
    """A teacher that comes with the package; a pretrained one is identified by its file."""
    teacher, (_, options) = make_teacher(text), parse_teacher(text)
    if "path" not in options:
        return teacher, {"builtin": canonical_teacher(text)}
    with find(options["path"]).open("rb") as file:
        digest = sha256(file)
    return teacher, {"builtin": text, "sha256": digest, "card": getattr(teacher, "card", {})}


def table(folder: str | Path, tasks: Sequence[str] = tuple(TASKS)) -> str:
    """The entries of a folder as Markdown: a table for each task, in the registry's order, best score first."""
    entries = [read_entry(path) for path in sorted(Path(folder).glob("*.json"))]
    order = {name: i for i, name in enumerate(tasks)}
    entries.sort(key=lambda e: (order.get(e["task"].partition(":")[0], len(order)), e["task"], -e["score"]))
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for entry in entries:
        about = entry["teacher"]
        what = about.get("builtin") or about.get("card", {}).get("algo") or ("code" if "code" in about else "file")
        what = f"`{what}`" + (f", SHA-256 `{about['sha256'][:12]}`" if "sha256" in about else ", built in")
        score = f"{entry['score']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
        rows.setdefault(entry["task"], []).append((entry["name"], score, what))
    head = ("entry", "score [95 % interval]", "teacher")
    return "\n".join(f"## {task}\n\n{markdown_table(head, found, 'lrl')}\n" for task, found in rows.items())
