"""Unrolled teachers: training, resuming, files, actions and bad input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unroll_cases import double_policy, make  # noqa: E402

from teach_gym.benchmark.run import run_suite  # noqa: E402
from teach_gym.benchmark.suite import Suite, expand  # noqa: E402
from teach_gym.core.build import make_task  # noqa: E402
from teach_gym.core.randomness import Streams  # noqa: E402
from teach_gym.core.state import Example, Task  # noqa: E402
from teach_gym.core.task import reset  # noqa: E402
from teach_gym.errors import DamagedDataError  # noqa: E402
from teach_gym.registration import task_kwargs  # noqa: E402
from teach_gym.teachers import make_teacher, teach_episodes  # noqa: E402
from teach_gym.teachers.learned.fit import DivergedError, TrainingSettings  # noqa: E402
from teach_gym.teachers.learned.networks import pick  # noqa: E402
from teach_gym.teachers.learned.objective import Training, clip_each  # noqa: E402
from teach_gym.teachers.learned.policy import inputs  # noqa: E402
from teach_gym.teachers.learned.unroll import draw_episodes  # noqa: E402
from teach_gym.teachers.learned.unrolled import Trained, Unrolled, train_unrolled  # noqa: E402

# -------------------------------------------------------------------------------------------------------- training

TINY = {"medium": "label", "pool_options": {"n": 100}, "budget": 10, "target_options": {"l2": 0.02}}
SHORT = TrainingSettings(iterations=12, steps=6, learners=4, checkpoint_every=4)


def train(task: Task, seeds: Any = (0, 1), settings: TrainingSettings = SHORT, **options: Any) -> Trained:
    return train_unrolled([task], list(seeds), settings, progress=False, **{"hidden": (8,), **options})


@pytest.mark.parametrize(
    "changes", [{"detach": False}, {"detach": True}, {"truncate": 3, "every": 2, "alpha": 0.1}], ids=str
)
def test_training_lowers_the_objective_and_the_teacher_beats_passive(changes: dict[str, Any]) -> None:
    task = make_task(**{**TINY, "learning_rate": 0.7})
    settings = TrainingSettings(iterations=80, steps=10, learning_rate=0.01, **changes)
    trained = train(task, (0, 1), settings, hidden=(16, 16), output="residual")
    gap = trained.history["gap"]
    assert gap.shape == (80, 2)
    assert (gap[-20:].mean(0) < 0.5 * gap[:5].mean(0)).all()
    seeds = range(1000, 1040)
    passive = teach_episodes(task, make_teacher("passive"), seeds)[1]
    for index in range(2):
        assert teach_episodes(task, trained.teacher(index), seeds)[1].mean() < 0.8 * passive.mean()


def test_teachers_trained_together_equal_teachers_trained_alone() -> None:
    tasks = [make_task(**TINY, pool_seed=seed) for seed in (0, 1)]
    options: dict[str, Any] = {"hidden": (8,), "progress": False, "batch_norm": True}
    settings = dataclasses.replace(SHORT, dtype="float64", max_grad_norm=0.5)
    together = train_unrolled(tasks, [4, 7], settings, **options)
    for index in range(2):
        alone = train_unrolled([tasks[index]], [(4, 7)[index]], settings, **options)
        np.testing.assert_allclose(together.history["gap"][:, index], alone.history["gap"][:, 0], rtol=1e-8)
        one = pick(together.policy, [index])
        for a, b in zip(one.state_dict().values(), alone.policy.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_starts_are_the_learners_of_every_iteration() -> None:
    task = make_task(**TINY)
    starts = np.array([[0.3, -0.2], [1.0, 2.0]])
    for iteration in (0, 5):
        episodes = draw_episodes([task], [0, 1], iteration, learners=2, steps=3, starts=starts)
        np.testing.assert_array_equal(episodes.state.w, np.repeat(starts, 2, axis=0))
        np.testing.assert_allclose(episodes.state.difference, task.target - np.repeat(starts, 2, axis=0))
    first, again = (draw_episodes([task], [0], 3, learners=2, steps=3, starts=starts[:1]).x for _ in range(2))
    other = draw_episodes([task], [0], 4, learners=2, steps=3, starts=starts[:1]).x
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_clipping_is_done_teacher_by_teacher() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(2, 1, 2))]
    for p in parameters:
        p.grad = torch.ones_like(p)
        p.grad[1] *= 1e-3
    clip_each(parameters, 1.0)
    norms = [torch.cat([p.grad[s].flatten() for p in parameters]).norm().item() for s in range(2)]
    np.testing.assert_allclose(norms, [1.0, 1e-3 * 5**0.5], rtol=1e-5)


class Stop(Exception):
    pass


def test_an_interrupted_run_goes_on_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(**TINY)
    whole = train(task, out=tmp_path / "whole", batch_norm=True)
    original = Training.__call__

    def interrupted(self: Training, iteration: int, episodes: Any) -> Any:
        if iteration == 6:
            raise Stop
        return original(self, iteration, episodes)

    monkeypatch.setattr(Training, "__call__", interrupted)
    with pytest.raises(Stop):
        train(task, out=tmp_path / "run", batch_norm=True)
    monkeypatch.undo()
    with pytest.raises(FileExistsError):
        train(task, out=tmp_path / "run", batch_norm=True)
    resumed = train(task, out=tmp_path / "run", batch_norm=True, resume=True)
    assert len(resumed.history["gap"]) == 8  # from the checkpoint after iteration 4 on
    for a, b in zip(whole.policy.state_dict().values(), resumed.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    rows = [(tmp_path / name / "progress.csv").read_text() for name in ("whole", "run")]
    assert rows[0] == rows[1] and len(rows[0].splitlines()) == 13
    with pytest.raises(ValueError, match="another config"):
        train(task, settings=dataclasses.replace(SHORT, alpha=1.0), out=tmp_path / "run", batch_norm=True, resume=True)


def test_a_diverging_unroll_names_the_step_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    task = make_task(pool="linear_regression", learner="least_squares", pool_options={"n": 40}, learning_rate=30.0)
    with pytest.raises(DivergedError, match=r"diverged at step \d+ of 200 in teacher iteration 1,.* no checkpoint"):
        train(task, settings=TrainingSettings(iterations=3, steps=200, learners=2))
    settings = TrainingSettings(iterations=5, steps=6, learners=2, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(DivergedError, match=r"step 1 of 6 in teacher iteration 2.*000000000001\.pt"):
        train(make_task(**TINY), settings=settings, out=tmp_path)
    assert (tmp_path / "checkpoints" / "000000000001.pt").is_file()


# ----------------------------------------------------------------------------------------------- files and actions


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, list[Path]]:
    trained = train(
        make_task("LabelMoons", learning_rate=0.5), settings=TrainingSettings(iterations=60, steps=20), hidden=(16, 8)
    )
    return trained, trained.save(tmp_path_factory.mktemp("teachers"))


def test_a_saved_teacher_is_the_same_teacher(saved: tuple[Trained, list[Path]]) -> None:
    trained, paths = saved
    task = make_task("LabelMoons", learning_rate=0.5)
    state = reset(task, Streams.from_seeds(range(6)))
    for index, path in enumerate(paths):
        ours, theirs = trained.teacher(index)(task, state), make_teacher("unrolled", path=str(path))(task, state)
        np.testing.assert_array_equal(ours.y, theirs.y)
    both = trained.teacher()(task, state)
    assert isinstance(both, Example)
    np.testing.assert_allclose(both.y[3:], theirs.y[3:], rtol=1e-5)
    card = Unrolled(paths[1]).card
    assert card["seed"] == 1 and card["settings"]["steps"] == 20 and card["task"]["medium"] == "label"
    assert {"teach_gym", "torch"} <= set(card["versions"])


def test_an_image_policy_projects_pixels(tmp_path: Path) -> None:
    options = {"classes": [3, 5], "n_train": 60, "n_holdout": 20, "n_test": 20}
    kwargs = {"medium": "perturb", "pool": "mnist", "pool_options": options, "target_options": {"l2": 0.1}}
    tasks = [make_task(**kwargs, pool_seed=seed, budget=4) for seed in (1, 2)]
    short = TrainingSettings(iterations=2, steps=3, learners=2)
    trained = train_unrolled(
        tasks, (1, 2), short, hidden=(6,), output="image", embedding=True, bias=False, progress=False
    )
    for i, path in enumerate(trained.save(tmp_path)):
        state = reset(tasks[i], Streams.from_seeds([5, 6]))
        found = make_teacher("unrolled", path=str(path))(tasks[i], state)
        np.testing.assert_array_equal(found.x, trained.teacher(i)(tasks[i], state).x)
        net, table = trained.policy.net, trained.policy.labels.detach().numpy()[i]
        first, last = (net[k].weight.detach().numpy()[i] for k in (0, 2))
        for run, label in enumerate(state.y[:, 0, 0, 0]):
            seen = np.concatenate([state.w[run], -state.difference[run], state.x[run, 0, 0], table[int(label)]])
            pixels = np.tanh(np.maximum(seen @ first, 0.0) @ last)
            np.testing.assert_allclose(found.x[run, 0], pixels @ tasks[i].pool.projection, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"'image' needs a pool whose features are projected pixels.*half_moons"):
        train_unrolled([make_task("PerturbMoons")], (1,), short, output="image")


def test_a_box_policy_keeps_its_bounds(tmp_path: Path) -> None:
    task = make_task(**{**TINY, "medium": "perturb"})
    trained = train(task, [0], settings=TrainingSettings(iterations=2, steps=3, learners=2), output="box")
    state = reset(task, Streams.from_seeds(range(20)))
    ours, theirs = trained.teacher(0)(task, state), Unrolled(trained.save(tmp_path)[0])(task, state)
    np.testing.assert_array_equal(ours.x, theirs.x)
    assert (ours.x >= task.x.min(0) - 1e-6).all() and (ours.x <= task.x.max(0) + 1e-6).all()
    assert np.ptp(ours.x[:, 0], axis=0).min() > 0


def test_benchmark_of_a_saved_teacher(saved: tuple[Trained, list[Path]], tmp_path: Path) -> None:
    text = f'unrolled:path="{saved[1][0]}"'
    suite = Suite("one", ("LabelMoons:budget=12",), ("passive", "greedy", text), (1000, 1001, 1002))
    rows = run_suite(expand(suite, named=[text]), tmp_path / "runs.jsonl", executor="serial", progress=False)
    assert sum(row["teacher"].startswith("unrolled") for row in rows) == 3


def test_a_teacher_of_another_task_is_refused_with_both_named(saved: tuple[Trained, list[Path]]) -> None:
    teacher = Unrolled(saved[1][0])
    for name, match in (("LabelDigits", r"d=2.*d=64"), ("PerturbMoons", "medium=label.*medium=perturb")):
        with pytest.raises(ValueError, match=match) as caught:
            teacher.check(make_task(name))
        assert ("pool was 'half_moons'" in str(caught.value)) == (name == "LabelDigits")
    similar = make_task(**{**task_kwargs("LabelGaussian"), "budget": 3})
    teacher.check(similar)
    apart = teacher.differences(similar)
    assert apart["pool"] == ("half_moons", "gaussian_clusters") and "budget" not in apart
    assert teacher.differences(make_task("LabelMoons", learning_rate=0.5)) == {}


def test_the_teacher_acts_in_every_flavour_of_its_environments(saved: tuple[Trained, list[Path]]) -> None:
    for continuous in (False, True):
        env = gym.make("teach_gym/LabelMoons-v0", continuous=continuous, learning_rate=0.5).unwrapped
        env.reset(seed=3)
        teacher = Unrolled(saved[1][0], give="action")
        final = teach_episodes(env.task, teacher, range(1000, 1030))[1].mean()
        assert final < 0.5 * teach_episodes(env.task, make_teacher("passive"), range(1000, 1030))[1].mean()
        env.step(teacher.act(env))


def test_damaged_and_foreign_files(saved: tuple[Trained, list[Path]], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        Unrolled(tmp_path / "nothing.safetensors")
    content = saved[1][0].read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(content[:-10])
    with pytest.raises(DamagedDataError, match="cut"):
        Unrolled(cut)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no learned teacher"):
        Unrolled(tmp_path / "other.safetensors")
    swapped = tmp_path / "swapped.safetensors"
    swapped.write_bytes(content.replace(b'\\"hidden\\": [16, 8]', b'\\"hidden\\": [17, 8]'))
    assert swapped.read_bytes() != content
    with pytest.raises(DamagedDataError, match="size mismatch"):
        Unrolled(swapped)


def test_bad_input() -> None:
    task, select = make_task(**TINY), make_task(**{**TINY, "medium": "select"})
    regression = make_task(pool="linear_regression", learner="least_squares")
    with pytest.raises(ValueError, match=r"fits the media label, perturb; the task's medium is 'select'"):
        train(select)
    with pytest.raises(ValueError, match=r"'box' does not fit medium 'label'; allowed: free, soft, residual"):
        train(task, output="box")
    with pytest.raises(ValueError, match="needs a classification learner"):
        train(regression, output="soft")
    with pytest.raises(ValueError, match="at least two rows"):
        train(task, settings=TrainingSettings(learners=1), batch_norm=True)
    with pytest.raises(ValueError, match="different integers"):
        train(task, seeds=(1, 1))
    with pytest.raises(ValueError, match=r"may differ in .* only; these differ in learning_rate"):
        train_unrolled([task, make_task(**TINY, learning_rate=0.1)], [0, 1])
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got shape \(1, 2\)"):
        train(task, starts=np.zeros((1, 2)))
    for options in ({"steps": 0}, {"alpha": -1.0}, {"detach": True, "truncate": 2}, {"dtype": "half"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            TrainingSettings(**options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="steps must be an integer"):
        TrainingSettings(steps=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'path="FILE'):
        make_teacher("unrolled")
    with pytest.raises(ValueError, match="unknown give"):
        Unrolled("x", give="label")


def test_memory_needs_the_first_step() -> None:
    task, _ = make("label-free")
    teacher = Unrolled(policy=double_policy(task, 1), every=3)
    state = reset(task, Streams.from_seeds([0, 1]))
    with pytest.raises(RuntimeError, match="first step"):
        teacher(task, state._replace(t=state.t + 1))
    with pytest.raises(ValueError, match="cannot be divided"):
        Unrolled(policy=double_policy(task, 2))(task, reset(task, Streams.from_seeds([0, 1, 2])))


def test_normalized_inputs_have_unit_weights() -> None:
    task, _ = make("features")
    state = reset(task, Streams.from_seeds(range(4)))
    seen = inputs(task, state, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(seen[:, 0, :2], axis=-1), 1.0)
    unit = task.target / np.linalg.norm(task.target)
    np.testing.assert_allclose(seen[:, 0, :2] - seen[:, 0, 2:4], np.broadcast_to(unit, (4, 2)), atol=1e-9)
