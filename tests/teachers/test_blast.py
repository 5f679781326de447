"""Black-box teachers: unrolled on the hold-out loss, DARTS, policy gradient, Mixup baselines; none of them sees w*."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from unroll_cases import along, random_direction, slope_along  # noqa: E402

from teach_gym.core.build import make_task  # noqa: E402
from teach_gym.core.metrics import holdout_loss  # noqa: E402
from teach_gym.core.randomness import Streams  # noqa: E402
from teach_gym.core.state import Example, Task, TeachState  # noqa: E402
from teach_gym.core.task import advance, reset, step  # noqa: E402
from teach_gym.envs.base import action_space  # noqa: E402
from teach_gym.errors import DamagedDataError  # noqa: E402
from teach_gym.teachers import example_of, make_teacher  # noqa: E402
from teach_gym.teachers.learned.blast import train_black_box  # noqa: E402
from teach_gym.teachers.learned.fit import TrainingSettings  # noqa: E402
from teach_gym.teachers.learned.holdout_training import METHODS, PolicyGradient  # noqa: E402
from teach_gym.teachers.learned.objective import Training  # noqa: E402
from teach_gym.teachers.learned.trained import Trained  # noqa: E402
from teach_gym.teachers.learned.unroll import draw_episodes  # noqa: E402
from teach_gym.teachers.learned.values import BlackBoxPolicy, black_box_architecture  # noqa: E402

_BLACK: dict[str, Any] = {"observation": "black_box", "reward": "holdout_progress"}
_SMALL: dict[str, Any] = {"pool_options": {"n": 100}, "budget": 6, "learning_rate": 0.8}
_MIXUP: dict[str, Any] = {"medium": "mixup", "learner": "softmax", "target": "trained", **_SMALL}
_HIDDEN: dict[str, Any] = {"learner": "mlp", "learner_options": {"hidden": 3}, "bias": True, "target": "trained"}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "label": ({"medium": "label", **_SMALL}, {}),
    "label-residual": ({"medium": "label", "batch_size": 2, "continuous": True, **_SMALL}, {"alpha": 0.6}),
    "label-free": ({"medium": "label", **_SMALL}, {"space": "free", "alpha": 0.3}),
    "label-predictions": ({"medium": "label", **_SMALL, **_BLACK, "probes": 4}, {"sees": "predictions"}),
    "label-simplex": (
        {
            "medium": "label",
            "medium_options": {"kind": "grid"},
            "learner": "softmax",
            "target": "trained",
            **_SMALL,
        },
        {"alpha": 0.5},
    ),
    "smoothing": ({"medium": "label", "learner": "softmax", "target": "trained", **_SMALL}, {}),
    "distillation": (
        {
            "medium": "label",
            "medium_options": {"p": "pretrained"},
            "learner": "softmax",
            "target": "trained",
            **_SMALL,
        },
        {},
    ),
    "mixup": ({**_MIXUP, "batch_size": 2}, {}),
    "mixup-hidden": ({**_MIXUP, **_HIDDEN}, {}),
    "features": ({"medium": "perturb", "medium_options": {"region": "box"}, **_SMALL}, {"space": "free"}),
    "features-box": ({"medium": "perturb", "medium_options": {"region": "box"}, **_SMALL}, {}),
    "features-ball": ({"medium": "perturb", "momentum": 0.5, **_SMALL}, {}),
}
"""Tasks and policies of every kind."""

TINY = TrainingSettings(iterations=4, steps=6, learners=4, learning_rate=0.01, checkpoint_every=2)


def case(name: str, **changes: Any) -> tuple[Task, dict[str, Any]]:
    kwargs, options = CASES[name]
    return make_task(**{**kwargs, **changes}), options


def policy_of(task: Task, n: int = 2, **options: Any) -> BlackBoxPolicy:
    arch = black_box_architecture(task, hidden=(5, 4), activation="tanh", **options)
    return BlackBoxPolicy(arch, range(n)).double()


def step_of(method: str, task: Task, policy: BlackBoxPolicy, learners: int = 3, **options: Any) -> Any:
    settings = TrainingSettings(iterations=1, steps=5, learners=learners, dtype="float64")
    training: Any = METHODS[method]([task], policy, settings, range(policy.n), "cpu", **options)
    training.optimizer.step = lambda: None  # only its gradients and values are wanted
    return training


def episodes_of(task: Task, n: int, learners: int = 3, steps: int = 5) -> Any:
    return draw_episodes([task], range(n), 0, learners=learners, steps=steps, dtype=torch.float64)


def states(task: Task, n: int = 6) -> TeachState:
    return reset(task, Streams.from_seeds(range(n)))


def trained(name: str, settings: TrainingSettings = TINY, **options: Any) -> Trained:
    task, shape = case(name)
    shape = {"hidden": (8,), **shape}
    return train_black_box([task], [0, 1], settings, architecture=shape, progress=False, **options)


# -------------------------------------------------------------------------------------------------------- objectives


@pytest.mark.parametrize("name", CASES)
def test_gradient_of_the_unrolled_holdout_loss_against_finite_differences(name: str) -> None:
    task, options = case(name)
    policy = policy_of(task, **options)
    training, episodes = step_of("unroll", task, policy), episodes_of(task, 2)

    def objective() -> float:
        with torch.enable_grad():
            return float(training(0, episodes)["objective"].sum())

    objective()
    direction = random_direction(policy)
    found = along(policy, direction)
    assert abs(found) > 1e-9
    assert found == pytest.approx(slope_along(policy, direction, objective), rel=2e-4, abs=1e-9)


def test_the_objective_is_the_holdout_loss_of_learners_taught_one_by_one() -> None:
    tasks = [make_task(**CASES["label"][0], pool_seed=seed) for seed in (0, 1)]
    policy = policy_of(tasks[0])
    settings = TrainingSettings(iterations=1, steps=5, learners=2, dtype="float64")
    training = METHODS["unroll"](tasks, policy, settings, (0, 1), "cpu")
    training.optimizer.step = lambda: None
    episodes = draw_episodes(tasks, (0, 1), 0, learners=2, steps=5, dtype=torch.float64)
    values = training(0, episodes)
    for s, task in enumerate(tasks):
        ends = []
        for run in (2 * s, 2 * s + 1):
            w = episodes.state.w[run].numpy().copy()
            for t in range(5):
                x, y = episodes.x[t, run, 0, 0].numpy(), float(episodes.y[t, run, 0, 0, 0])
                seen = torch.tensor(np.concatenate([w, x, [1.0 - y, y]]))[None]
                weights = [layer for layer in policy.net if hasattr(layer, "weight")]
                for i, layer in enumerate(weights):
                    seen = seen @ layer.weight[s] + layer.bias[s]
                    seen = torch.tanh(seen) if i < len(weights) - 1 else torch.sigmoid(seen)
                w -= 0.8 * (1.0 / (1.0 + np.exp(-w @ x)) - float(seen.detach())) * x
            split = task.pool.holdout
            signs = np.where(split.labels == 1, 1.0, -1.0)
            ends.append(np.log1p(np.exp(-signs * (split.x @ w)))[:200].mean())
        assert float(values["holdout_loss"][s]) == pytest.approx(np.mean(ends), rel=1e-9)


@pytest.mark.parametrize("name", ["mixup", "mixup-hidden"])
@pytest.mark.parametrize("xi", [None, 0.3])
def test_second_order_gradient_against_the_finite_difference_of_darts(name: str, xi: float | None) -> None:
    task, options = case(name)
    policy = policy_of(task, 1, **options)
    training, episodes = step_of("darts", task, policy, 1, xi=xi), episodes_of(task, 1, 1, 1)
    objective = float(training(0, episodes)["objective"])
    size, w = xi or task.spec.learning_rate, episodes.state.w
    taught = training.task

    def train_loss(at: Any) -> Any:
        """L_train(w, theta), the policy's coefficients being those it gives for the learner as it is."""
        x, y = policy(taught, episodes.state)
        return taught.learner.loss(at, x, y).sum()

    def holdout(at: Any) -> Any:
        table = [torch.tensor(part) for part in (task.holdout.x, task.holdout.y)]
        return taught.learner.loss(at, *table).sum()

    start = w.clone().requires_grad_()
    virtual = (w - size * torch.autograd.grad(train_loss(start), start)[0]).detach().requires_grad_()
    assert objective == pytest.approx(float(holdout(virtual).detach()), rel=1e-9)
    slope = torch.autograd.grad(holdout(virtual), virtual)[0]
    eps = 1e-4 / float(slope.norm())
    ours = [p.grad.clone() for p in policy.parameters()]
    ends = [torch.autograd.grad(train_loss(w + sign * eps * slope), list(policy.parameters())) for sign in (1, -1)]
    darts = [-size * (a - b) / (2.0 * eps) for a, b in zip(*ends, strict=True)]
    assert max(float(g.abs().max()) for g in ours) > 1e-8
    for a, b in zip(ours, darts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-9)


def test_first_order_gradient_against_finite_differences_and_without_a_step_there_is_none() -> None:
    task, options = case("mixup")
    policy = policy_of(task, **options)
    training, episodes = step_of("darts", task, policy, order=1), episodes_of(task, 2, steps=1)
    direction = random_direction(policy)

    def objective() -> float:
        with torch.enable_grad():
            return float(training(0, episodes)["objective"].sum())

    objective()
    found = along(policy, direction)
    assert found == pytest.approx(slope_along(policy, direction, objective), rel=1e-4) and abs(found) > 1e-6
    small = step_of("darts", task, policy, xi=1e-9)
    small(0, episodes)
    assert abs(along(policy, direction)) < 1e-6 * abs(found), "xi -> 0 leaves nothing of the plain hold-out loss"


def test_policy_gradient_against_the_gradient_of_the_expected_reward() -> None:
    """One step, every action enumerated: E[sum grad log pi (R - mean)] = (L - 1) / L grad E[R] for L episodes."""
    task = make_task(**{**CASES["label"][0], "init": "zeros"})
    policy = policy_of(task, 1, space="choice")
    learners = 4000
    training = step_of("policy_gradient", task, policy, learners, reward="loss")
    episodes = draw_episodes([task], [0], 0, learners=1, steps=1, dtype=torch.float64)

    def many(part: Any, axis: int) -> Any:
        return None if part is None else part.repeat_interleave(learners, dim=axis)

    state = type(episodes.state)(*(many(part, 0) for part in episodes.state))
    episodes = episodes._replace(state=state, x=many(episodes.x, 1), y=many(episodes.y, 1))
    training(0, episodes)
    ours = torch.cat([p.grad.flatten() for p in policy.parameters()])
    one = type(state)(*(None if part is None else part[:1] for part in state))
    share = torch.softmax(policy.raw(policy.inputs(training.task, one)).mean(1), -1)[0]
    candidates = training.task.medium.candidates
    x, w = one.x[0, 0, 0], one.w[0]
    rewards = torch.stack(
        [-training.rows.loss((w - 0.8 * (torch.sigmoid(w @ x) - c[0, 0]) * x)[None])[0, 0] for c in candidates]
    )
    deviation = ((share * rewards**2).sum() - (share * rewards).sum() ** 2).sqrt().detach()
    exact = torch.autograd.grad(-(share * rewards).sum() / deviation, list(policy.parameters()))
    exact = torch.cat([g.flatten() for g in exact])
    assert float(torch.cosine_similarity(ours, exact, dim=0)) > 0.99
    assert float(ours.norm() / exact.norm()) == pytest.approx(1.0, abs=0.15)


# ---------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("label", {}),
        ("features-box", {}),
        ("label-predictions", {"method": "policy_gradient", "architecture": {"hidden": (16,), "sees": "predictions"}}),
        ("mixup", {"method": "darts"}),
    ],
    ids=str,
)
def test_training_lowers_the_holdout_loss_below_that_of_untrained_teachers(name: str, options: dict[str, Any]) -> None:
    gradient = options.get("method") == "policy_gradient"
    settings = TrainingSettings(
        iterations=150 if gradient else 60, steps=6, learners=64 if gradient else 16, learning_rate=0.02
    )
    task, shape = case(name)
    options = {"architecture": {"hidden": (16,), **shape}, **options}
    found = train_black_box([task], [0, 1], settings, progress=False, **options)
    ends = {}
    darts = options.get("method") == "darts"  # it looks one step ahead only
    for label, teacher in {"ours": found.teacher(), "others": make_teacher("cmixup" if darts else "passive")}.items():
        state = reset(task, Streams.from_seeds(range(1000, 1200)))
        for _ in range(1 if darts else task.spec.budget):
            state = advance(task, state, example_of(task, state, teacher(task, state))).state
        ends[label] = holdout_loss(task, state)
    gain = ends["others"] - ends["ours"]
    assert gain.mean() > 2.0 * gain.std() / 200**0.5


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "method", "options"),
    [(Training, "darts", {"order": 1}), (PolicyGradient, "policy_gradient", {})],
    ids=["darts", "policy_gradient"],
)
def test_resuming_gives_the_same_policy_and_teachers_do_not_depend_on_each_other(
    kind: Any, method: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, _ = case("mixup")
    how: dict[str, Any] = {"method": method, "options": options, "architecture": {"hidden": (8,)}, "progress": False}
    whole = train_black_box([task], [3, 5], TINY, **how)
    alone = train_black_box([task], [5], TINY, **how)
    original = kind.__call__

    def interrupted(self: Any, iteration: int, episodes: Any) -> Any:
        if iteration == 3:
            raise Stop
        return original(self, iteration, episodes)

    monkeypatch.setattr(kind, "__call__", interrupted)
    with pytest.raises(Stop):
        train_black_box([task], [3, 5], TINY, out=tmp_path / "run", **how)
    monkeypatch.undo()
    again = train_black_box([task], [3, 5], TINY, out=tmp_path / "run", resume=True, **how)
    assert len(again.history["holdout_loss"]) == 2  # from the checkpoint after iteration 2 on
    for a, b, c in zip(whole.policy.parameters(), again.policy.parameters(), alone.policy.parameters(), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a[1:], c, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------- what teachers give


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_the_target_changes_a_choice(name: str) -> None:
    task, _ = case(name)
    teachers = [trained(name).teacher(), make_teacher("holdout_greedy")]
    if task.spec.medium == "mixup":
        teachers += [make_teacher("cmixup"), make_teacher("dmixup")]
    state = states(task)
    target = np.roll(state.target, 1, axis=-1) * -3.0 + 1.0
    difference = target - state.w
    moved = state._replace(
        target=target, difference=difference, distance=state.distance * 7.0, initial_distance=state.distance * 9.0
    )
    blind = dataclasses.replace(task, target=task.target + 5.0, start=task.start - 2.0)
    for teacher in teachers:
        choices = []
        for seen, at in ((task, state), (blind, moved)):
            choices.append(teacher(seen, at))
        for a, b in zip(*(c if isinstance(c, Example) else (c,) for c in choices), strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_does_not_depend_on_the_target() -> None:
    task, _ = case("label")
    other = dataclasses.replace(task, target=task.target * -2.0 + 1.0)
    for method in ("unroll", "policy_gradient", "darts"):
        options: dict[str, Any] = {"method": method, "architecture": {"hidden": (4,)}, "progress": False}
        a, b = (train_black_box([one], [0], TINY, **options) for one in (task, other))
        assert all(torch.equal(p, q) for p, q in zip(a.policy.parameters(), b.policy.parameters(), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_examples_lie_in_the_mediums_set_and_actions_lead_to_the_nearest(name: str) -> None:
    task, shape = case(name)
    found = trained(name)
    state = states(task)
    example = found.teacher()(task, state)
    assert isinstance(example, Example)
    x, y = state.x[:, 0], state.y[:, 0]
    alpha = shape.get("alpha", 0.0)
    if task.spec.medium == "label":
        np.testing.assert_array_equal(example.x, x)
        if shape.get("space") != "free":
            assert (example.y >= alpha * y - 1e-7).all() and (example.y <= alpha * y + 1 - alpha + 1e-7).all()
        if task.k > 1:
            np.testing.assert_allclose(example.y.sum(-1), 1.0, atol=1e-6)
        if name == "smoothing":
            mu = 2.0 * example.y.max(-1) - 1.0
            assert (mu >= 0.5 - 1e-6).all() and (mu <= 1.0).all() and (example.y.argmax(-1) == y.argmax(-1)).all()
    elif task.spec.medium == "mixup":
        way = x - state.x[:, 1]
        share = ((example.x - state.x[:, 1]) * way).sum(-1, keepdims=True) / (way**2).sum(-1, keepdims=True)
        assert (share >= 0).all() and (share <= 1).all()
        np.testing.assert_allclose(example.y, share * y + (1 - share) * state.y[:, 1], atol=1e-6)
    elif name == "features-ball":
        assert (np.linalg.norm(example.x - x, axis=-1) <= 0.5 + 1e-6).all()
    elif name == "features-box":
        assert (example.x >= task.x.min(0) - 1e-6).all() and (example.x <= task.x.max(0) + 1e-6).all()
    if shape.get("space") == "free" and not task.spec.continuous:
        return
    action = found.teacher(give="action")(task, state)
    space = action_space(task)
    if task.spec.continuous:
        assert all(space.contains(a.astype(np.float32)) for a in action)
        np.testing.assert_allclose(step(task, state, action).example.y, example.y, atol=1e-6)
    else:
        made = [step(task, state, np.full(len(state.t), a)).example for a in range(task.n_actions)]
        far = [((e.x - example.x) ** 2).sum((1, 2)) + ((e.y - example.y) ** 2).sum((1, 2)) for e in made]
        np.testing.assert_allclose(np.choose(action, far), np.min(far, axis=0), atol=1e-9)


def test_holdout_greedy_against_trying_every_action() -> None:
    for name in ("label", "mixup", "mixup-hidden", "features-ball"):
        task, _ = case(name)
        state = states(task, 20)
        split = task.pool.holdout
        tried = []
        for a in range(task.n_actions):
            after = step(task, state, np.full(20, a)).state
            logits = task.learner.logits(after.w, split.x)
            shares = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
            if task.k == 1:
                positive = 1.0 / (1.0 + np.exp(-logits[..., 0]))
                shares = np.stack([1.0 - positive, positive], axis=-1)
            tried.append(-np.log(shares[:, np.arange(len(split)), split.labels]).mean(1))
        chosen = make_teacher("holdout_greedy")(task, state)
        np.testing.assert_allclose(np.choose(chosen, tried), np.min(tried, axis=0), rtol=1e-9)


def test_random_mixup_draws_from_its_distributions() -> None:
    task, _ = case("mixup")
    state = states(task, 4000)
    for teacher, law in (
        (make_teacher("cmixup", alpha=0.4), stats.beta(0.4, 0.4)),
        (make_teacher("cmixup"), stats.uniform()),
    ):
        teacher.check(task)
        example = teacher(task, state)
        way = state.x[:, 0] - state.x[:, 1]
        apart = (way != 0).any((1, 2))  # a few pairs are of one row twice
        share = ((example.x - state.x[:, 1]) * way)[apart].sum((1, 2)) / (way[apart] ** 2).sum((1, 2))
        assert stats.kstest(share, law.cdf).pvalue > 1e-3
    discrete = make_teacher("dmixup")
    x = discrete(task, state).x
    grid = [c * state.x[:, 0] + (1.0 - c) * state.x[:, 1] for c in (0.0, 0.5, 1.0)]
    counts = [int(np.isclose(x, made).all((1, 2)).sum()) for made in grid]
    same = int((state.x[:, 0] == state.x[:, 1]).all((1, 2)).sum())
    assert sum(counts) == 4000 + 2 * same and stats.chisquare(counts).pvalue > 1e-3


# ---------------------------------------------------------------------------------------------------- files, bad input


def test_a_saved_teacher_gives_the_same_examples_and_damage_is_told(tmp_path: Path) -> None:
    found = trained("mixup")
    task = found.tasks[0]
    paths = found.save(tmp_path)
    assert [path.name for path in paths] == ["0.safetensors", "1.safetensors"]
    state = states(task)
    loaded = make_teacher("black_box", path=paths[1])
    loaded.check(task)
    for a, b in zip(loaded(task, state), found.teacher(1)(task, state), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"medium=Mixup, inputs=12; the task has medium=LabelGrid, inputs=6"):
        loaded.check(case("label")[0])
    paths[0].write_bytes(paths[0].read_bytes()[:-40])
    with pytest.raises(DamagedDataError):
        make_teacher("black_box", path=paths[0])
    with pytest.raises(FileNotFoundError):
        make_teacher("black_box", path=tmp_path / "none")
    with pytest.raises(ValueError, match="read from a file"):
        make_teacher("black_box")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("label", {"method": "evolution"}, "unknown method 'evolution'"),
        ("label", {"architecture": {"alpha": 1.0}}, r"alpha must lie in \[0, 1\), got 1.0"),
        ("label", {"architecture": {"space": "choice"}}, "goes with method 'policy_gradient'"),
        ("label", {"architecture": {"sees": "predictions"}}, "observation='black_box'"),
        ("mixup", {"architecture": {"space": "free"}}, "got Mixup"),
        ("mixup", {"method": "darts", "options": {"order": 3}}, "order must be 1 or 2, got 3"),
        ("mixup", {"method": "darts", "options": {"xi": 0.0}}, "xi must be > 0"),
        ("features-ball", {"method": "darts"}, "momentum=0"),
        ("label", {"settings": TrainingSettings(alpha=1.0, auxiliary="target")}, "without w"),
        ("label", {"settings": TrainingSettings(last_gap=True)}, "last_gap concerns the distance"),
        ("distillation", {"method": "darts", "options": {"order": 1}}, "no soft labels"),
        ("label", {"method": "policy_gradient", "options": {"reward": "time"}}, "unknown reward 'time'"),
    ],
)
def test_bad_input_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_black_box([case(name)[0]], [0], **{"settings": TINY, "progress": False, **options})


def test_tasks_that_do_not_fit_are_refused() -> None:
    drawn = make_task(medium="label", pool_seed=[0, 1], **_SMALL)
    with pytest.raises(ValueError, match=r"pool_seed=\[0, 1\]"):
        make_teacher("holdout_greedy").check(drawn)
    with pytest.raises(ValueError, match="draws pool_seed"):
        train_black_box([drawn], [0], TINY)
    task = make_task(medium="label", medium_options={"kind": "mix", "p": "target"}, **_SMALL)
    with pytest.raises(ValueError, match="target"):
        black_box_architecture(task)
    with pytest.raises(ValueError, match="mixes two examples"):
        make_teacher("cmixup").check(task)
    with pytest.raises(ValueError, match="alpha must be > 0"):
        make_teacher("cmixup", alpha=0)


@pytest.mark.parametrize("name", ["BlackBoxLabelDigits", "BlackBoxMixupDigits10MLP", "BlackBoxLabelDigits10"])
def test_registered_black_box_tasks_train(name: str) -> None:
    task = make_task(name)
    settings = TrainingSettings(iterations=2, steps=3, learners=2)
    for method in ("unroll", "policy_gradient"):
        shape = {"hidden": (8,), "sees": "predictions"}
        found = train_black_box([task], [0], settings, method=method, architecture=shape, progress=False)
        assert np.isfinite(found.history["holdout_loss"]).all()
        teacher = found.teacher(give="action")
        teacher.check(task)
        state = states(task, 3)
        assert all(action_space(task).contains(int(a)) for a in teacher(task, state))
