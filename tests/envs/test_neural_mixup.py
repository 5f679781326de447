"""Mixup teaching of image learners as environments: the contract, the vector environment, wrong arguments."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from neural_cases import HORIZON, SMALL_MIXUP, close

import teach_gym
from teach_gym.core.rewards import HOLDOUT_REWARDS
from teach_gym.data.datasets import data_dir
from teach_gym.neural import mixup_spec
from teach_gym.neural.image_files import load_pool
from teach_gym.neural.images import Images
from teach_gym.neural.mixup import REWARDS
from teach_gym.neural.mixup_spec import MixupSpec
from teach_gym.registration import NEURAL_TASKS, env_id
from teach_gym.render.training import PAIRS, draw_training

ID = env_id("BlackBoxMixupCIFAR10")


def make(**changes: Any) -> Any:
    return gym.make(ID, **{**SMALL_MIXUP, **changes})


def episode(env: Any, actions: Any, seed: int | None = None) -> tuple[list[Any], list[float]]:
    seen, rewards = [env.reset(seed=seed)[0]], []
    for action in actions:
        observation, reward, over, _, _ = env.step(action)
        seen.append(observation)
        rewards.append(reward)
        if over:
            break
    return seen, rewards


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.filterwarnings("ignore:.*maximum value is infinity")
def test_gymnasiums_checks_pass(continuous: bool) -> None:
    env = make(continuous=continuous)
    check_env(env.unwrapped)
    assert env.spec is not None and env.spec.id == ID and env.spec.additional_wrappers == ()


def test_registered_with_plain_values_and_loaded_late() -> None:
    kwargs, found = NEURAL_TASKS["BlackBoxMixupCIFAR10"], gym.spec(ID)
    assert found.entry_point == "teach_gym.envs.neural_mixup:NeuralMixupEnv"
    assert found.vector_entry_point == "teach_gym.envs.neural_mixup:NeuralMixupVectorEnv"
    assert found.kwargs == kwargs and "BlackBoxMixupCIFAR10" not in teach_gym.TASKS
    assert MixupSpec(**kwargs).coefficients == (0.0, 0.5, 1.0) and MixupSpec(**kwargs).batch_size == 128


def test_there_is_no_teaching_state_and_the_error_says_what_there_is() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(AttributeError, match=r"no TeachState.*`trainings`"):
        env.unwrapped.state  # noqa: B018
    assert not hasattr(env.unwrapped, "state") and env.unwrapped.trainings.t[0] == 0


def test_a_single_environment_accepts_a_batch_of_one() -> None:
    for continuous, action in ((False, 1), (True, 0.3)):
        env, clean = make(continuous=continuous), make(continuous=continuous)
        env.reset(seed=0)
        clean.reset(seed=0)
        assert np.array_equal(env.step(np.array([action]))[0], clean.step(action)[0])


def test_rewards() -> None:
    assert set(REWARDS) == set(HOLDOUT_REWARDS)
    actions = [t % 3 for t in range(HORIZON)]
    env = make()
    _, rewards = episode(env, actions, seed=3)
    inner = env.unwrapped.trainings
    loss, accuracy = inner.look()
    assert rewards == [0.0] * (HORIZON - 1) + [accuracy[0]] and 0.0 < accuracy[0] <= 1.0
    _, rewards = episode(make(reward="holdout_progress"), actions, seed=3)
    close(sum(rewards), 100.0 * (1.0 - loss[0] / inner.initial_loss[0]), 1e-6)
    assert [r != 0.0 for r in rewards] == [(t + 1) % 3 == 0 or t + 1 == HORIZON for t in range(HORIZON)]
    _, logs = episode(make(reward="holdout_log_progress"), actions, seed=3)
    first = inner.initial_loss[0]
    close(sum(logs), 10.0 * np.log(1.02 * first / (loss[0] + 0.02 * first)), 1e-6)
    assert [r != 0.0 for r in logs] == [r != 0.0 for r in rewards]
    easy, hard = (make(reward="steps_to_accuracy", zeta=zeta) for zeta in (0.0, 1.0))
    assert episode(easy, actions, seed=3)[1] == [-1.0] and episode(hard, actions, seed=3)[1] == [-1.0] * HORIZON


def test_episodes_are_reproducible_and_differ() -> None:
    env, actions = make(), [2, 1, 0, 1]
    first, second = episode(env, actions, seed=5)[0], episode(env, actions)[0]
    again = episode(make(), actions, seed=5)[0]
    assert np.array_equal(first, again) and not np.allclose(first[1:], second[1:])
    assert not np.allclose(first[-1], episode(env, [2, 2, 2, 2], seed=5)[0][-1]), "actions matter"


def test_vector_env_equals_single_envs_over_episodes() -> None:
    rng = np.random.default_rng(0)
    actions = rng.integers(3, size=(2 * HORIZON + 1, 3))
    env = gym.make_vec(ID, 3, gym.VectorizeMode.VECTOR_ENTRY_POINT, **SMALL_MIXUP)
    assert type(env.unwrapped).__name__ == "NeuralMixupVectorEnv"
    singles = [make() for _ in range(3)]
    observation, _ = env.reset(seed=10)
    close(observation, [one.reset(seed=10 + i)[0] for i, one in enumerate(singles)])
    for t, row in enumerate(actions):
        observation, reward, over, cut, info = env.step(row)
        if t == HORIZON:  # next_step: the step after the end only starts new episodes
            close(observation, [one.reset()[0] for one in singles])
            assert not reward.any() and not over.any() and np.isnan(info["training_loss"]).all()
            continue
        for i, one in enumerate(singles):
            seen, gained, ended, _, told = one.step(row[i])
            close(observation[i], seen, 1e-4)
            assert abs(reward[i] - gained) < 0.03 and bool(over[i]) is ended and not cut[i]
            close(info["training_loss"][i], told["training_loss"], 1e-4)


def test_autoreset_in_the_same_step_and_disabled() -> None:
    mode = gym.VectorizeMode.VECTOR_ENTRY_POINT
    env = gym.make_vec(ID, 2, mode, autoreset_mode="same_step", **SMALL_MIXUP)
    single, row = make(), np.array([1, 2])
    env.reset(seed=4)
    last, rewards = episode(single, [2] * HORIZON, seed=5)
    for _ in range(HORIZON):
        observation, reward, over, _, info = env.step(row)
    assert over.all() and info["_final_obs"].all() and info["final_info"]["_training_loss"].all()
    close(info["final_obs"][1], last[-1], 1e-4)
    assert abs(reward[1] - rewards[-1]) < 0.03
    close(observation[1], single.reset()[0])
    env = gym.make_vec(ID, 2, mode, autoreset_mode="disabled", **SMALL_MIXUP)
    env.reset(seed=4)
    env.step(row)
    observation, _ = env.reset(options={"reset_mask": np.array([False, True])})
    assert observation[0, 0] == np.float32(1 / HORIZON) and observation[1].tolist() == [0.0, 0.0, 1.0]
    for _ in range(HORIZON - 1):
        _, _, over, _, _ = env.step(row)
    assert over.tolist() == [True, False]
    with pytest.raises(RuntimeError, match=r"\[0\] are over"):
        env.step(row)
    assert env.reset(options={"reset_mask": over})[0][0].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_autoreset_limits_and_infos_are_gymnasiums(mode: str) -> None:
    n, kwargs = 3, {**SMALL_MIXUP, "max_episode_steps": 5}
    mine = gym.make_vec(ID, n, autoreset_mode=mode, **kwargs)
    assert VectorEnv in type(mine.unwrapped).__bases__
    theirs = gym.make_vec(ID, n, "sync", vector_kwargs={"autoreset_mode": AutoresetMode[mode.upper()]}, **kwargs)
    pairs = [tuple(e.reset(seed=4) for e in (mine, theirs))]
    for t in range(12):
        pairs.append(tuple(e.step(np.arange(n)) for e in (mine, theirs)))
        assert pairs[-1][0][3].any() == (t % (6 if mode == "next_step" else 5) == 4)
        if mode == "disabled" and pairs[-1][0][3].any():
            pairs.append(tuple(e.reset() for e in (mine, theirs)))
    for ours, expected in pairs:
        for a, b in zip(ours[:-1], expected[:-1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
        assert set(ours[-1]) == set(expected[-1])
        for key in ("training_loss", "validation_accuracy", "_training_loss", "_validation_accuracy"):
            np.testing.assert_allclose(ours[-1][key], expected[-1][key], rtol=1e-3, atol=0.05)


def test_infos_at_reset_and_step_have_the_same_entries() -> None:
    env = make()
    _, first = env.reset(seed=0)
    _, _, _, _, second = env.step(1)
    assert list(first) == list(second) == ["training_loss", "validation_accuracy"]
    assert np.isnan(first["training_loss"]) and np.isfinite(second["training_loss"])
    assert {value.dtype for info in (first, second) for value in info.values()} == {np.dtype("float64")}
    assert first["validation_accuracy"] == second["validation_accuracy"] == env.unwrapped.trainings.look()[1][0]


def test_nothing_depends_on_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = [t % 3 for t in range(HORIZON)]
    first = episode(make(), actions, seed=1)
    pool = load_pool("patterns", **SMALL_MIXUP["pool_options"])
    blank = dataclasses.replace(pool, held_out=Images(torch.zeros_like(pool.held_out.pixels), pool.held_out.labels))
    monkeypatch.setattr(mixup_spec, "kept_pool", lambda *a, **k: blank)
    second = episode(make(), actions, seed=1)
    assert np.array_equal(first[0], second[0]) and first[1] == second[1]
    kept = make().unwrapped.trainings.pool
    rows = {image.tobytes() for image in pool.train.pixels.numpy()}
    shown, held = ([image.tobytes() for image in part.pixels.numpy()] for part in (kept.train, kept.held_out))
    assert set(shown) | set(held) == rows and not set(shown) & set(held), "made of training images, without overlap"


def test_ppo_trains() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    options = {"n_steps": HORIZON, "batch_size": HORIZON, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
    model = sb3.PPO("MlpPolicy", make(reward="holdout_progress"), seed=0, device="cpu", **options)
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(2 * HORIZON)
    assert model.num_timesteps == 2 * HORIZON and model.ep_info_buffer[-1]["l"] == HORIZON
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_text_frames() -> None:
    env = make(render_mode="ansi")
    env.reset(seed=0)
    env.step(1)
    assert f"step 1/{HORIZON}" in env.render()
    vector = gym.make_vec(ID, 2, gym.VectorizeMode.VECTOR_ENTRY_POINT, render_mode="ansi", **SMALL_MIXUP)
    with pytest.raises(RuntimeError, match="before render"):
        vector.render()
    vector.reset(seed=0)
    assert [f"step 0/{HORIZON}" in line for line in vector.render()] == [True, True]


@pytest.mark.parametrize("coefficient", [0.0, 0.25, 1.0])
def test_frames_show_the_images_of_the_last_mini_batches_and_their_mixture(coefficient: float) -> None:
    env = make(render_mode="rgb_array", continuous=True, render_size=(320, 180))
    env.reset(seed=0)
    frames = [env.render()]
    batch, _ = env.unwrapped.trainings.batch()  # in [-1, 1]: (1, 2, m, C, H, W)
    env.step(coefficient)
    frames.append(env.render())
    assert all(frame.shape == (180, 320, 3) and frame.dtype == np.uint8 for frame in frames)
    assert (frames[0] != frames[1]).any()
    reel = env.unwrapped._reel
    pixels = (127.5 * (batch[0, :, :PAIRS] + 1.0)).round().permute(0, 1, 3, 4, 2).numpy()
    assert np.array_equal(reel.images, pixels) and reel.coefficient == np.float32(coefficient)
    large = draw_training(reel).astype(float)
    row = pixels[:, 0]
    columns = [row[0], row[1], coefficient * row[0] + (1.0 - coefficient) * row[1]]
    for left, picture in zip((28, 130, 232), columns, strict=True):  # 62 pixels wide, from y = 62
        shown = large[64:122, left + 2 : left + 60].mean((0, 1))
        np.testing.assert_allclose(shown, np.broadcast_to(picture.mean((0, 1)), 3), atol=6.0)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_frames_of_the_vector_environment_are_those_of_single_ones(mode: str) -> None:
    given = {"render_mode": "rgb_array", **SMALL_MIXUP}
    vector = gym.make_vec(ID, 2, gym.VectorizeMode.VECTOR_ENTRY_POINT, autoreset_mode=mode, **given)
    single = make(render_mode="rgb_array")
    vector.reset(seed=3)
    single.reset(seed=3)
    np.testing.assert_array_equal(vector.render()[0], single.render())
    for t in range(HORIZON - (mode == "same_step")):
        vector.step(np.array([t % 3, 1]))
        single.step(t % 3)
    first, alone = vector.render()[0].astype(float), single.render()
    assert first.shape == alone.shape == (360, 640, 3) and np.abs(first - alone).mean() < 1.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "cnn4"}, ValueError, "unknown network 'cnn4'"),
        ({"reward": "distance"}, ValueError, "unknown reward 'distance'; allowed: holdout_accuracy"),
        ({"coefficients": [0.5, 2.0]}, ValueError, r"coefficients\[1\] must be .* in \[0, 1\], got 2.0"),
        ({"coefficients": []}, ValueError, "coefficients must be a list of one or more"),
        ({"batch_size": 65}, ValueError, "batch_size must be <= 64 training images, got 65"),
        ({"images": 65}, ValueError, "images must be <= 64"),
        ({"images": -1}, ValueError, r"images must be an integer in \[0, .*got -1"),
        ({"validation": 104}, ValueError, r"validation split must be in \[1, 103\], got 104"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"device": "tpu9"}, ValueError, "unknown device 'tpu9'"),
        ({"render_mode": "rgb"}, ValueError, "render_mode must be None or one of rgb_array, ansi, got 'rgb'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render")
def test_wrong_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**changes)


def test_wrong_actions_and_calls() -> None:
    env = make().unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)
    env.reset(seed=0)
    bad = ((3, ValueError, "3"), (-1, ValueError, "-1"), (0.5, TypeError, "float"), ([1, 1], ValueError, r"\(2,\)"))
    for action, error, named in bad:
        with pytest.raises(error, match=f"action.* must .*{named}"):
            env.step(action)
    box = make(continuous=True).unwrapped
    box.reset(seed=0)
    for value in (1.5, np.nan):
        with pytest.raises(ValueError, match=r"actions must lie in \[0, 1\]"):
            box.step(value)
    with pytest.raises(ValueError, match="unknown"):
        env.reset(options={"unknown": 3})
    vector = gym.make_vec(ID, 2, gym.VectorizeMode.VECTOR_ENTRY_POINT, **SMALL_MIXUP)
    with pytest.raises(RuntimeError, match="reset"):
        vector.step([0, 0])
    with pytest.raises(ValueError, match="2 entries, got 3"):
        vector.reset(seed=[1, 2, 3])
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        vector.step([0, 0, 0])


@pytest.mark.slow
@pytest.mark.skipif(
    not any((data_dir() / name).exists() for name in ("cifar10-jpeg", "cifar10-jpeg.tar.xz")),
    reason="no CIFAR-10 images: set TEACH_GYM_DATA to a folder with cifar10-jpeg/ or cifar10-jpeg.tar.xz",
)
def test_the_registered_task_trains_on_cifar10() -> None:
    env = gym.make(ID, epochs=1)
    seen, _ = episode(env, [2] * 60, seed=0)
    inner = env.unwrapped.trainings
    assert inner.pool.image == (3, 32, 32) and len(inner.pool.train) == 45_000 and inner.horizon == 351
    assert seen[-1][1] < 2.2 and inner.loss[0] < 2.1
