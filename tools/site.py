"""Pages of the documentation site that are generated from the registries, such as the gallery and the teachers.

``python -m tools.site`` writes them, ``python -m tools.site --check`` lists the stale ones. ``make site`` writes them
and then builds the site with Sphinx.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

from teach_gym.benchmark.leaderboard import SEEDS, table
from teach_gym.core.describe import sentence
from teach_gym.core.spec import TaskSpec
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.registration import NEURAL_TASKS, TASKS, spec_kwargs
from teach_gym.teachers import TEACHERS, teacher_class

DOCS = Path("docs")
MEDIA = {
    "label": ("Labels", "The teacher sets the label of the offered example (LAST)."),
    "mixup": ("Mixup", "The teacher mixes two examples (DHT)."),
    "perturb": ("Perturbation", "The teacher moves the features of the offered example (DHT)."),
    "performative": ("Performative teaching", "The teacher moves a network's hidden features (DHT 4.2)."),
    "select": ("Selection", "The teacher chooses one of the offered examples (IMT)."),
    "mixed": ("Selection and labels", "The teacher chooses the example and its label (LAST 3.5)."),
}
"""Medium -> heading and sentence, in the order of the gallery."""


_LEADERBOARD = """\
# Leaderboard

Scores that anybody can reproduce. An entry identifies a teacher by the SHA-256 of its file and holds the exact final
distance of every episode on the published seeds {first} to {last}. Do not train or tune on these seeds. A score of 0
is plain SGD, 1 is the greedy oracle. Black-box tasks are scored by the final loss on hold-out rows instead of the
distance; there 1 is the better of `greedy`, which sees w\\*, and `holdout_greedy`, which does not.

```bash
teach-gym submit policy.safetensors LabelMomentum --name my-agent   # writes leaderboard/my-agent.json
teach-gym submit my_module:MyTeacher LabelMoons                     # a teacher in Python, by its source's hash
teach-gym submit last:constraint=soft LabelMoons                    # a teacher of the package
teach-gym verify leaderboard/my-agent.json                          # teaches the episodes again
```

To enter, open a pull request with the entry and the teacher's file. The entries of the package's own oracles and agents
are renewed by `make leaderboard`.

{table}"""


def gallery(docs: Path) -> str:
    """The page of all registered tasks as cards, one section for each medium."""
    lines = [
        "# Environments",
        "",
        "Every task is registered with Gymnasium as `teach_gym/<task>-v0`. "
        "[All tasks in one table](environments/README.md).",
        "",
    ]
    groups = [(medium, [n for n, kw in TASKS.items() if kw["medium"] == medium]) for medium in MEDIA]
    groups.append(("network", list(NEURAL_TASKS)))
    for medium, names in groups:
        title, sentence = MEDIA.get(medium, ("Networks", "The learner is a network in torch."))
        lines += [f"## {title}", "", sentence, "", "::::{grid} 1 2 2 3", ":gutter: 3", ""]
        for name in names:
            lines += [f":::{{grid-item-card}} {name}", f":link: environments/{name}", ":link-type: doc"]
            if (docs / "images" / f"{name}.webp").is_file():
                lines.append(f":img-bottom: images/{name}.webp")
            lines += ["", _about(name), ":::", ""]
        lines += ["::::", ""]
    lines += ["```{toctree}", ":hidden:", ":glob:", "", "environments/*", "```", ""]
    return "\n".join(lines)


def _about(name: str) -> str:
    if name in NEURAL_TASKS:
        return (
            "A convolutional network learns the images of CIFAR-10; the teacher chooses how two mini-batches are mixed."
        )
    return sentence(TaskSpec(**spec_kwargs(name)))


def teachers() -> str:
    """The page of all teachers: what each does and its options, from the docstrings of their classes."""
    lines = [
        "# Teachers",
        "",
        "A teacher is a callable on (task, state). `teach_gym.make_teacher(name, **options)` makes one; on the command "
        "line its options follow a colon: `last:constraint=soft`. [Far-sighted teaching](far-sighted.md) derives `lqr` "
        "and `last:horizon=budget`. Trained teachers come with the package: `teach_gym.pretrained.index()` lists "
        "them, `teach_gym.load_teacher(name)` loads one. [Those of `universal/...`](results/universal.md) "
        "teach every task of their medium with a linear learner.",
        "",
    ]
    for name in TEACHERS:
        found = teacher_class(name)
        body = inspect.cleandoc(found.__doc__ or "").partition("\nArgs:\n")[0]
        lines += [f"## `{name}`", "", _markdown(body.split("\nRaises:")[0]), ""]
        described = {key: text for base in reversed(found.__mro__) for key, text in _arguments(base).items()}
        options = [f.name for f in dataclasses.fields(found) if f.init]  # type: ignore[arg-type]
        rows = [(f"`{key}`", _markdown(described[key])) for key in options if key in described]
        if rows:
            lines += [markdown_table(("option", "meaning"), rows, "l"), ""]
    return "\n".join(lines)


def _arguments(found: type) -> dict[str, str]:
    """The arguments that a class's own docstring describes."""
    rest = inspect.cleandoc(vars(found).get("__doc__") or "").partition("\nArgs:\n")[2]
    described = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z|^\w+:)", rest, flags=re.M | re.S)
    return {key: " ".join(text.split()) for key, text in described}


def leaderboard(docs: Path) -> str:
    """The page of the leaderboard: how to enter, and the entries of the folder ``leaderboard`` next to ``docs``."""
    return _LEADERBOARD.format(first=SEEDS[0], last=SEEDS[-1], table=table(docs.resolve().parent / "leaderboard"))


def _markdown(text: str) -> str:
    """A docstring's text as Markdown: single backquotes, and escaped stars."""
    parts = re.split(r"``(.*?)``", text.strip())
    return "".join(f"`{p}`" if i % 2 else p.replace("*", "\\*").replace("|", "\\|") for i, p in enumerate(parts))


def pages(docs: Path) -> dict[str, str]:
    """File name -> content of every generated page."""
    return {"gallery.md": gallery(docs), "teachers.md": teachers(), "leaderboard.md": leaderboard(docs)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated pages, or with --check list the stale ones; the exit status is 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tools.site", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DOCS, help=f"the site's sources ({DOCS})")
    parser.add_argument("--check", action="store_true", help="write nothing, list the stale pages")
    given = parser.parse_args(arguments)
    stale = 0
    for file, text in pages(given.folder).items():
        path = given.folder / file
        if not given.check:
            write_text(path, text)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"stale: {path}")
            stale = 1
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
