"""Episodes of a teacher as a Minari data set, for offline reinforcement learning and behaviour cloning.

The data set is written by Minari itself, so ``minari.load_dataset`` and everything that builds on it (d3rlpy, TorchRL)
read it. It holds observations, actions, rewards and infos of whole episodes with the seeds ``seed``, ``seed + 1``, ...
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym

from teach_gym.errors import positive, shown, within
from teach_gym.teachers.base import Teacher

try:
    import minari
except ImportError as error:
    raise ImportError("recording data sets needs Minari: pip install 'teach_gym[minari]'") from error

_ROOT = "MINARI_DATASETS_PATH"


def record_dataset(
    env: gym.Env[Any, Any],
    teacher: Teacher,
    dataset_id: str,
    *,
    episodes: int,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Any:
    """Teach episodes in an environment and write them as a data set, whole or not at all.

    Args:
        env: one of this package's environments, single, in any wrappers.
        teacher: chooses the actions, by ``teacher.act``.
        dataset_id: Minari's id, such as ``teach_gym/LabelMoons-greedy-v0``.
        episodes: number of episodes.
        seed: seed of the first; episode i has seed + i.
        folder: folder of Minari's data sets (None: Minari's own, ``MINARI_DATASETS_PATH`` or ``~/.minari``).
        progress: show a progress bar on a terminal.

    Returns:
        The ``minari.MinariDataset``.

    Raises:
        ValueError: the id is not one of Minari's, the data set exists already, or the teacher cannot teach the task.
        ImportError: Minari is not installed.
    """
    from tqdm import trange

    positive("episodes", episodes, integer=True)
    within("seed", seed, "[0, inf)", integer=True)
    if re.fullmatch(r"([\w-]+/)*[\w-]+-v\d+", dataset_id) is None:
        raise ValueError(f"a data set's id is NAME-vN or FOLDER/NAME-vN, got {shown(dataset_id)}")
    with _datasets_in(folder):
        if dataset_id in minari.list_local_datasets():
            raise ValueError(f"the data set {shown(dataset_id)} exists already; delete it or choose another name")
        collector = minari.DataCollector(env, record_infos=True)
        try:
            returns = []
            for i in trange(episodes, disable=None if progress else True, desc=dataset_id):
                collector.reset(seed=seed + i)
                over, total = False, 0.0
                while not over:
                    _, reward, terminated, truncated, _ = collector.step(teacher.act(collector))
                    over, total = terminated or truncated, total + float(reward)
                returns.append(total)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # Minari asks for an author's e-mail and a code link
                return collector.create_dataset(
                    dataset_id=dataset_id,
                    algorithm_name=teacher.name,
                    author="teach_gym",
                    description=f"{episodes} episodes of the teacher {teacher.name!r}, seeds from {seed}; "
                    f"mean return {sum(returns) / episodes:.4g}",
                )
        finally:
            collector.close()


@contextlib.contextmanager
def _datasets_in(folder: str | Path | None) -> Iterator[None]:
    """Let Minari write its data sets in a folder."""
    before = os.environ.get(_ROOT)
    if folder is not None:
        os.environ[_ROOT] = str(Path(folder).resolve())
    try:
        yield
    finally:
        if before is not None:
            os.environ[_ROOT] = before
        elif folder is not None:
            del os.environ[_ROOT]
