"""The scores of a pool's rows by the compiled loop against those by array calls."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import names, streams
from kernels import interpreted

from teach_gym.compiled import compiler
from teach_gym.core.build import make_task
from teach_gym.core.outputs import IDENTITY, MARGIN, SIGMOID, SOFTMAX, Output
from teach_gym.core.task import reset
from teach_gym.registration import task_kwargs
from teach_gym.teachers import make_teacher
from teach_gym.teachers.oracles import scores


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiled", interpreted)
    monkeypatch.setattr(compiler, "installed", lambda: True)
    monkeypatch.setattr(scores, "WORTHWHILE", 1)
    scores._loop.cache_clear()


@pytest.mark.usefixtures("no_numba")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("output", [IDENTITY, SIGMOID, MARGIN])
def test_the_loop_scores_as_arrays_do(output: Output, dtype: type) -> None:
    rng = np.random.default_rng(0)
    logits, alignment, labels = (rng.normal(size=(*b, 7, 1)).astype(dtype) for b in ((3,), (3,), ()))
    squares = rng.uniform(1, 9, size=7).astype(dtype)
    mine = scores.all_scores(output, logits, alignment, squares, labels)
    theirs = scores.scores(output, logits, alignment, squares, labels)
    assert mine.dtype == theirs.dtype and scores._loop.cache_info().currsize == 1
    np.testing.assert_allclose(mine, theirs, rtol=1e-5 if dtype is np.float32 else 1e-12)
    scores._loop.cache_clear()


@pytest.mark.usefixtures("no_numba")
def test_several_outputs_and_labels_of_their_own_use_arrays() -> None:
    rng = np.random.default_rng(0)
    scores.all_scores(SOFTMAX, rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3)), np.ones(5), np.ones((5, 3)))
    scores.all_scores(SIGMOID, rng.normal(size=(2, 5, 1)), rng.normal(size=(2, 5, 1)), np.ones(5), np.ones((2, 5, 1)))
    assert scores._loop.cache_info().currsize == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", names(learner=["logistic", "least_squares"], observation=[None], pool_seed=[None]))
def test_machine_code_chooses_the_same_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(scores, "WORTHWHILE", 1)
    task = make_task(**task_kwargs(name))
    found = []
    for setting in "10":
        monkeypatch.setenv(compiler.SETTING, setting)
        found.append(make_teacher("imt")(task, reset(task, streams(64))).x)
    np.testing.assert_array_equal(*found)
