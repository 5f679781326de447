"""The commands that show what there is: ``list``, ``data`` and ``doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tyro.conf import Positional

from teach_gym.cli.output import DataDir, set_data_dir, table
from teach_gym.messages import show

if TYPE_CHECKING:
    from teach_gym.core.spec import TaskSpec


def list_(*, spaces: bool = False, data_dir: DataDir = None) -> int:
    """List the registered tasks, the teachers and the suites.

    Args:
        spaces: Also build every task and show the shapes of its action and observation spaces (takes seconds).
        data_dir: Data folder.
    """
    import inspect

    from teach_gym.benchmark.suite import SUITES
    from teach_gym.core.media import CONTINUOUS_MEDIA
    from teach_gym.core.spec import TaskSpec
    from teach_gym.registration import NEURAL_TASKS, TASKS, env_id, spec_kwargs
    from teach_gym.teachers import TEACHERS, teacher_class

    set_data_dir(data_dir)
    header = ["Task", "Medium", "Learner", "Pool", "Budget", "Actions"] + ["Observation"] * spaces
    tasks = []
    for name in TASKS:
        spec = TaskSpec(**spec_kwargs(name))
        shapes = _spaces(spec) if spaces else ["Discrete, Box" if spec.medium in CONTINUOUS_MEDIA else "Discrete"]
        tasks.append([env_id(name), spec.medium, spec.learner, spec.pool, str(spec.budget), *shapes])
    for name, given in NEURAL_TASKS.items():
        row = [env_id(name), "mixup", "CNN", given["pool"], f"{given['epochs']} epochs"]
        tasks.append(row + (["Discrete(3), Box()", "Box(3,)"] if spaces else ["Discrete, Box"]))
    show(table(header, tasks), end="\n\n")
    teachers = [[name, (inspect.getdoc(teacher_class(name)) or "").split("\n")[0]] for name in TEACHERS]
    show(table(["Teacher", "What it does"], teachers), end="\n\n")
    suites = [[suite.name, str(len(suite.tasks)), str(len(suite.seeds))] for suite in SUITES.values()]
    show(table(["Suite", "Tasks", "Seeds"], suites))
    return 0


def _spaces(spec: TaskSpec) -> list[str]:
    """The action spaces of both flavours and the observation space, in short."""
    from teach_gym.core.build import build
    from teach_gym.core.media import CONTINUOUS_MEDIA
    from teach_gym.envs.base import action_space, observation_space
    from teach_gym.errors import DataNotFoundError

    try:
        task = build(spec)
    except DataNotFoundError:
        return ["data missing", "data missing"]
    actions = str(action_space(task, continuous=False))
    if spec.medium in CONTINUOUS_MEDIA:
        actions += f", Box{action_space(task, continuous=True).shape}"
    return [actions, f"Box{observation_space(task).shape}"]


def data(name: Positional[str], /, *, check: bool = False, data_dir: DataDir = None) -> int:
    """Fetch a data set into the data folder, or check the one that is there.

    Args:
        name: The data set: mnist.
        check: Only compare the files with their checksums; exit code 1 if one is missing or damaged.
        data_dir: Data folder.
    """
    from teach_gym.data import datasets
    from teach_gym.data.download import download

    set_data_dir(data_dir)
    problems = datasets.check(name)
    if problems and not check:
        download(name)
        problems = datasets.check(name)
    for problem in problems:
        show(problem)
    if not problems:
        show(f"{name}: all files are right in {datasets.data_dir().resolve()}")
    return 1 if problems else 0


def doctor(*, data_dir: DataDir = None) -> int:
    """Show versions, extras, data and devices: what to send with a bug report.

    Args:
        data_dir: Data folder.
    """
    from teach_gym.doctor import findings

    set_data_dir(data_dir)
    for topic, rows in findings().items():
        show(f"{topic}\n{table(*rows)}\n")
    return 0
