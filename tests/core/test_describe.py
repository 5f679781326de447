"""The sentence about a task agrees with the task."""

from __future__ import annotations

from teach_gym.core.build import make_task
from teach_gym.core.describe import ACTS, LEARNERS, POOLS, sentence
from teach_gym.core.learners import LEARNERS as ALL_LEARNERS
from teach_gym.core.media import MEDIA
from teach_gym.data.pools import POOLS as ALL_POOLS


def test_every_part_of_a_task_has_its_words() -> None:
    assert set(ACTS) == set(MEDIA) and set(LEARNERS) == set(ALL_LEARNERS) and set(POOLS) == set(ALL_POOLS)


def test_the_sentence_tells_the_budget_the_sources_and_what_is_hidden(name: str) -> None:
    task = make_task(name)
    text = sentence(task.spec)
    assert text[0].isupper() and text.endswith(".") and f"each of {task.spec.budget} steps" in text
    assert ("can query" in text) == task.black_box
    if task.spec.medium in ("select", "mixed"):
        assert f"which of {task.medium.n_sources} examples" in text
    assert ("wrong label" in text) == bool(task.spec.pool_options.get("label_noise"))
