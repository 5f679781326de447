"""The documentation page of one registered environment, generated from the environment itself."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from teach_gym.core.build import make_task
from teach_gym.core.describe import sentence
from teach_gym.core.layout import layout
from teach_gym.core.observe import OBSERVATIONS
from teach_gym.core.state import Task
from teach_gym.envs.base import action_space, observation_space
from teach_gym.markdown import markdown_table
from teach_gym.registration import NEURAL_TASKS, VERSION, env_id
from tools.notes import NOTES
from tools.pictures import SHORTENED, shown_teacher, still_step
from tools.reference import Scores, section

HEADINGS = (
    "Description",
    "Action space",
    "Observation space",
    "Rewards",
    "Starting state",
    "Episode end",
    "Info",
    "Vector environment",
    "Arguments",
)
"""Headings of every environment's docstring, in order."""

HISTORY = f"- {VERSION}: the first version."
"""What changed from one version of an environment to the next."""

_BLACK_BOX = """\
Black-box: the agent knows neither the learner's parameters nor the target's, and what it earns is measured on
hold-out rows. Teachers are scored by the loss on these rows at the end: 0 is plain SGD (`passive`), 1 the better of
`holdout_greedy` and the `greedy` oracle, which sees the learner and w*. Test accuracy and the distance to w* are
reported beside it."""
_TABLE_1 = """\
[Table 1 of DHT](../results/blackbox.md), repeated at a smaller scale, compares plain training, random and constant
coefficients and learned policies. [Agents without w\\*](../results/agents-blackbox.md) has a section on agents that
`teach-gym train` trained on a small version of this task."""
_TRAIN = """\
A training at full size takes hours on a CPU, so agents are best tried on a small one:

```bash
teach-gym train "{name}:shrink=2,images=500,validation=500,epochs=20,batch_size=50,look_every=20" --algo reinforce
```

The score is by the sum of the rewards: 0 is plain training, 1 the better of two random mixups.
`teach_gym.teachers.mixup_agent.MixupAgent.read` reads the policy's file; it gives a function from observations to
actions."""
_MOST_ACTIONS = 64
_SHORT_REPR = 160
Calibration = Mapping[str, Mapping[str, Any]]


def page(name: str, calibration: Calibration | None = None, scores: Scores | None = None) -> str:
    """The documentation page of a registered task.

    Args:
        name: the task's short name.
        calibration: per task and teacher, the ``mean`` of the per cent of the initial distance removed within the
            budget, with half its 95 % interval (``margin``), ``std`` and the number of ``episodes``.
        scores: what the built-in teachers reach, see ``tools.reference``.

    Returns:
        Markdown.

    Raises:
        ValueError: no such task, or the environment's docstring lacks a heading.
        DataNotFoundError: the task's data is not there.
    """
    task = make_task(name)
    summary, sections = _docstring(name)
    extra = {
        "Action space": [*_actions(task), *_continuous(task)],
        "Observation space": _observations(task),
        "Arguments": [_fields(task.spec)],
    }
    parts = [
        f"# {name}",
        f"{summary} {sentence(task.spec)}",
        *_pictures(name, task),
        _facts(name, task),
        "## Use",
        _use(name, continuous=task.medium.low is not None),
    ]
    if task.black_box:  # the environments' docstrings tell of the omniscient observation
        described = inspect.getdoc(OBSERVATIONS[task.spec.observation]) or ""
        sections["Observation space"] = described
        sections["Description"] += "\n\n" + _BLACK_BOX
    for heading in HEADINGS:
        parts += [f"## {heading}", sections[heading], *extra.get(heading, [])]
    parts += _room((calibration or {}).get(name), NOTES.get(name))
    parts += section(name, scores or {}, black_box=task.black_box)
    parts += ["## Version history", HISTORY]
    return "\n\n".join(parts) + "\n"


def neural_page(name: str) -> str:
    """The documentation page of a registered task whose learner is a network (needs torch, but no data).

    Args:
        name: a key of ``NEURAL_TASKS``.
    """
    from teach_gym.envs import neural_mixup
    from teach_gym.neural.mixup_spec import MixupSpec

    summary, sections = _sections((inspect.getdoc(neural_mixup.NeuralMixupEnv) or "").partition("\nArgs:")[0])
    spec = MixupSpec(**NEURAL_TASKS[name])
    facts = [
        ("id", f"`{env_id(name)}`"),
        ("learner", f"network `{spec.network}`"),
        ("pool", spec.pool),
        ("medium", "mixup of mini-batches"),
        ("action space", f"`{_repr(neural_mixup.action_space(spec))}`"),
        ("observation space", f"`{_repr(neural_mixup.observation_space())}`"),
    ]
    parts = [f"# {name}", summary.strip(), *_neural_pictures(name), markdown_table(["", ""], facts, "l")]
    parts += ["## Use", _use(name, continuous=True), _TRAIN.format(name=name)]
    for heading in HEADINGS:
        parts += [f"## {heading}", sections[heading]]
    parts += [_fields(spec), "## Reference scores", _TABLE_1, "## Version history", HISTORY]
    return "\n\n".join(parts) + "\n"


# ------------------------------------------------------------------------------------------------- parts of a page


def _docstring(name: str) -> tuple[str, dict[str, str]]:
    """Summary line and sections of the docstrings of a task's environment class and of its base class."""
    import gymnasium as gym

    from teach_gym.envs.base import TeachEnv

    entry = str(gym.spec(env_id(name)).entry_point)
    module, _, attribute = entry.partition(":")
    summary, sections = _sections(inspect.getdoc(getattr(importlib.import_module(module), attribute)) or "")
    shared = (inspect.getdoc(TeachEnv) or "").partition("\nArgs:")[0]
    sections |= _sections(shared)[1]
    if tuple(sections) != HEADINGS:
        raise ValueError(f"the docstring of {entry} must have the headings {', '.join(HEADINGS)}; got {list(sections)}")
    return summary.strip(), sections


def _sections(text: str) -> tuple[str, dict[str, str]]:
    """The text before the first heading, and the text under each heading."""
    summary, *chunks = re.split(r"^## ", text, flags=re.MULTILINE)
    return summary, {title.strip(): body.strip() for title, _, body in (c.partition("\n") for c in chunks)}


def _pictures(name: str, task: Task) -> list[str]:
    teacher, step = shown_teacher(task), still_step(task)
    return [
        f"![A lesson of {name}, taught by {teacher}](../images/{name}.webp)",
        f"![{name} taught by {teacher}, step {step}](../images/{name}.png)",
    ]


def _neural_pictures(name: str) -> list[str]:
    small = f"with {SHORTENED['images']:,} images, {SHORTENED['epochs']} epochs and random coefficients"
    return [
        f"![A training of {name} {small}](../images/{name}.webp)",
        f"![The end of this training](../images/{name}.png)",
    ]


def _facts(name: str, task: Task) -> str:
    spec, pool = task.spec, task.pool
    momentum = f", momentum {spec.momentum:g}" if spec.momentum else ""
    kind = f"{pool.n_classes} classes ({', '.join(pool.classes)})" if pool.n_classes else "regression"
    rows = [
        ("id", f"`{env_id(name)}`"),
        ("learner", f"{spec.learner}, {'with' if spec.bias else 'without'} bias"),
        ("pool", f"{spec.pool}, {kind}"),
        ("train / hold-out / test rows", f"{len(pool.train)} / {len(pool.holdout)} / {len(pool.test)}"),
        ("medium", spec.medium),
        ("parameters P", task.size),
        ("features d", task.d),
        ("outputs K", task.k),
        ("examples offered per step M", task.medium.n_sources),
        ("rows per example m", spec.batch_size),
        ("actions A", task.n_actions),
        ("budget H", f"{spec.budget} steps"),
        ("learning rate", f"{spec.learning_rate:g}{momentum}"),
        ("action space", f"`{_repr(action_space(task))}`"),
        ("observation space", f"`{_repr(observation_space(task))}`"),
    ]
    return markdown_table(["", ""], rows, "l")


def _repr(space: Any) -> str:
    """A space's repr on one line; long bounds are left to the tables."""
    text = " ".join(repr(space).split())
    if len(text) <= _SHORT_REPR:
        return text
    return f"Box(low=..., high=..., shape={space.shape}, dtype={space.dtype})"


def _use(name: str, *, continuous: bool) -> str:
    lines = [
        "import gymnasium as gym",
        "import teach_gym",
        "",
        f'env = gym.make("{env_id(name)}")',
        f'envs = gym.make_vec("{env_id(name)}", num_envs=64)',
    ]
    if continuous:
        lines.append(f'box = gym.make("{env_id(name)}", continuous=True)')
    return "\n".join(["```python", *lines, "```"])


def _actions(task: Task) -> list[str]:
    """The table of discrete actions, or a summary of a long one."""
    labels = task.medium.labels
    if task.n_actions > _MOST_ACTIONS:
        return [f"Discrete: {task.n_actions} actions, from 0 ({labels[0]}) to {task.n_actions - 1} ({labels[-1]})."]
    return ["Discrete actions:", markdown_table(["action", "meaning"], enumerate(labels), "l")]


def _continuous(task: Task) -> list[str]:
    """The bounds of the continuous flavour, with consecutive equal bounds grouped."""
    if task.medium.low is None:
        return ["There is no `continuous=True` flavour."]
    box: Any = action_space(task, continuous=True)
    pairs = list(zip(box.low.ravel().tolist(), box.high.ravel().tolist(), strict=True))
    starts = [i for i, pair in enumerate(pairs) if i == 0 or pair != pairs[i - 1]]
    ends = [*starts[1:], len(pairs)]
    rows = [(f"{a}:{b}", f"{pairs[a][0]:g}", f"{pairs[a][1]:g}") for a, b in zip(starts, ends, strict=True)]
    shape = f"With `continuous=True`: a Box of shape {box.shape}; bounds of its entries in C order:"
    return [shape, markdown_table(["entries", "low", "high"], rows, "l")]


def _observations(task: Task) -> list[str]:
    rows = [(b.name, f"{b.start}:{b.start + b.size}", f"{b.low:g}", f"{b.high:g}", b.meaning) for b in layout(task)]
    return [markdown_table(["block", "entries", "low", "high", "meaning"], rows, "l")]


def _fields(spec: Any) -> str:
    """Every field of a specification with its value here and its description from the docstring."""
    text = inspect.getdoc(type(spec)) or ""
    body = re.split(r"^(?:Attributes|Args):\n", text, flags=re.MULTILINE)[1].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", body, flags=re.MULTILINE)
    meanings = {name: " ".join(meaning.split()) for name, meaning in entries}
    rows = []
    for field in dataclasses.fields(spec):
        rows.append((f"`{field.name}`", f"`{json.dumps(getattr(spec, field.name))}`", meanings[field.name]))
    return markdown_table(["argument", "here", "meaning"], rows, "l")


def _room(numbers: Mapping[str, Any] | None, note: str | None) -> list[str]:
    """The calibration table, if there are numbers, and the note on settings that make room for teaching."""
    parts = ["## Room for teaching"]
    if numbers:
        parts.append(
            "Percentage of the initial distance to the target removed within the budget, with the 95 % interval of the "
            "mean (`passive` is plain SGD on random examples):"
        )
        rows = [(t, removed(v), f"{v['std']:.1f}", v["episodes"]) for t, v in numbers.items()]
        parts.append(markdown_table(["teacher", "mean", "standard deviation", "episodes"], rows, "l"))
    return [*parts, *([note] if note else [])] if numbers or note else []


def removed(numbers: Mapping[str, Any]) -> str:
    """A mean of the calibration with half its interval, rounded up."""
    return f"{numbers['mean']:.1f} ± {math.ceil(10 * numbers['margin']) / 10:.1f}"
