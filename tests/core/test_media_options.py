"""Options of media: what is refused, and given soft labels."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from conftest import streams

from teach_gym.core.build import make_task
from teach_gym.core.media import MEDIA, Setting, make_medium
from teach_gym.core.task import compose, reset

BAD: list[tuple[str, dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ("labels", {}, {}, ValueError, "labels'.*label"),
    ("label", {"kind": "gird"}, {}, ValueError, "kind.*grid, mix, offset.*'gird'; did you mean 'grid'"),
    ("label", {"n": 1}, {}, ValueError, r"n must be an integer in \[2, .*got 1"),
    ("label", {"n": 2.5}, {}, TypeError, r"n must be an integer.*2\.5"),
    ("label", {"kind": "mix", "p": "guess"}, {}, ValueError, "p must be.*uniform.*'guess'"),
    ("label", {"kind": "offset", "centre": "middle"}, {}, ValueError, "centre.*truth.*'middle'"),
    ("label", {"kind": "offset", "radius": 0.0}, {}, ValueError, r"radius.*0\.0"),
    ("label", {"radius": 1.0, "shape": 3}, {}, TypeError, "shape"),
    ("label", {}, {"batch_size": 2}, ValueError, "batch_size=2.*mix"),
    ("label", {"kind": "grid"}, {"regression": True}, ValueError, "'grid'.*classification"),
    ("label", {"kind": "mix"}, {"regression": True}, ValueError, "'mix'.*classification"),
    ("mixup", {"n": 0}, {}, ValueError, "n must be.*0"),
    ("perturb", {"radius": -1.0}, {}, ValueError, r"radius.*-1\.0"),
    ("perturb", {"region": "cube"}, {}, ValueError, "region.*ball, box.*'cube'"),
    ("perturb", {"box": "small"}, {}, ValueError, "box.*per_dimension, global.*'small'"),
    ("perturb", {"axes": 9}, {"regression": True}, ValueError, "axes.*5.*9"),
    ("select", {"n_sources": 1}, {}, ValueError, "n_sources.*2.*1"),
    ("select", {}, {"continuous": True}, ValueError, "select.*continuous"),
    ("mixed", {}, {"continuous": True}, ValueError, "mixed.*continuous"),
    ("mixed", {"kind": "mix", "p": "target"}, {}, TypeError, "mixed.* has no option p"),
    ("mixed", {"n_sources": "four"}, {}, TypeError, "n_sources.*'four'"),
]


@pytest.mark.parametrize(("name", "options", "setting", "kind", "message"), BAD, ids=lambda v: str(v)[:40])
def test_media_refuse(
    name: str, options: dict[str, Any], setting: dict[str, Any], kind: type[Exception], message: str
) -> None:
    setting = dict(setting)
    regression = setting.pop("regression", False)
    pool = make_task(**({"pool": "linear_regression", "learner": "least_squares"} if regression else {}))
    with pytest.raises(kind, match=message):
        make_medium(name, Setting(pool.x, pool.k, pool.learner.output, **setting), **options)


def test_given_soft_labels_need_a_pool_that_has_them(tmp_path: Any, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"p='given'.*half_moons"):
        make_task(medium_options={"kind": "mix", "p": "given"}, learner="softmax", target="trained")
    soft = rng.dirichlet(np.ones(3), size=40)
    np.savez(tmp_path / "own.npz", X=rng.standard_normal((40, 2)), y=np.arange(40) % 3, soft=soft)
    options = {"pool": "array", "pool_options": {"path": str(tmp_path / "own.npz")}, "medium_options": {"p": "given"}}
    task = make_task(learner="softmax", target="trained", **options)
    state = reset(task, streams(4))
    _, y = compose(task, state, task.medium.candidates[:1])
    for b in range(4):
        given = task.pool.train.soft[state.schedule[b, 0, 0]]
        np.testing.assert_allclose(y[b], 0.5 * state.y[b, 0] + 0.5 * given, atol=1e-14)


def test_given_soft_labels_fit_a_learner_with_one_output(tmp_path: Any, rng: np.random.Generator) -> None:
    """Two classes with soft labels (n, 2) and one output: the label entry is the probability of class 1."""
    soft = rng.dirichlet(np.ones(2), size=40)
    np.savez(tmp_path / "own.npz", X=rng.standard_normal((40, 2)), y=np.arange(40) % 2, soft=soft)
    options = {"pool": "array", "pool_options": {"path": str(tmp_path / "own.npz")}}
    task = make_task(medium_options={"kind": "mix", "p": "given"}, target="trained", **options)
    state = reset(task, streams(4))
    _, y = compose(task, state, task.medium.candidates[:1])
    assert y.shape == (4, 1, 1)
    for b in range(4):
        given = task.pool.train.soft[state.schedule[b, 0, 0, 0], 1]
        np.testing.assert_allclose(y[b, 0, 0], 0.5 * state.y[b, 0, 0, 0] + 0.5 * given, atol=1e-14)


def test_every_medium_option_is_documented() -> None:
    for function in MEDIA.values():
        for option in inspect.signature(function).parameters:
            assert f"{option}:" in (function.__doc__ or ""), (function.__name__, option)
