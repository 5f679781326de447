"""The universal teachers that come with the package: any linear task of their medium, and nothing else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import streams

import teach_gym
from teach_gym import pretrained
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.task import reset, step
from teach_gym.core.views import VIEWS
from teach_gym.teachers.perceptron import Network

J = len(VIEWS)
MEDIA = ("label", "select", "mixup", "perturb")
MANY: dict[str, list[dict[str, Any]]] = {
    "label": [{"medium_options": {"n": 3}}, {"medium_options": {"n": 9}, "momentum": 0.8, "learning_rate": 0.05}],
    "select": [{"medium_options": {"n_sources": 2}}, {"medium_options": {"n_sources": 13}, "learner": "softmax"}],
    "mixup": [{"medium_options": {"n": 4}}, {"bias": True, "learning_rate": [0.1, 0.4]}],
    "perturb": [{}, {"pool": "gaussian_clusters", "pool_options": {"d": 5}, "medium_options": {"axes": 5}}],
}
"""Tasks with different numbers of actions."""


@pytest.mark.parametrize("medium", MEDIA)
def test_they_fit_any_number_of_actions_and_take_those_of_least_trusted_shortfall(medium: str) -> None:
    agent = teach_gym.load_teacher(f"universal/{medium}")
    for fields in MANY[medium]:
        task = make_task(medium=medium, target_options={"l2": 0.1}, **{"learning_rate": 0.25, **fields})
        seen = make_task(
            medium=medium, target_options={"l2": 0.1}, **{"learning_rate": 0.25, **fields}, observation="universal"
        )
        state = reset(task, streams(6))
        for _ in range(2):
            numbers = observe(seen, state, layout(seen)).astype(np.float64)
            trust = agent.network.perceptron(numbers[:, : 2 + 2 * J].astype(np.float32)).astype(np.float64)
            weights = np.exp(trust) / np.exp(trust).sum(1, keepdims=True)
            own = numbers[:, 2 + 2 * J :].reshape(6, J, task.n_actions)
            scores = [
                [sum(w * s for w, s in zip(weights[b], own[b, :, a], strict=True)) for a in range(task.n_actions)]
                for b in range(6)
            ]
            action = agent(task, state)
            np.testing.assert_array_equal(action, np.argmin(scores, axis=1))
            state = step(task, state, np.asarray(action)).state


def test_one_environment_and_many_are_taught_alike() -> None:
    agent = teach_gym.load_teacher("universal/label")
    envs = gym.make_vec("teach_gym/LabelMoons-v0", num_envs=3, autoreset_mode="disabled", budget=8)
    envs.reset(seed=[5, 6, 7])
    singles = [gym.make("teach_gym/LabelMoons-v0", budget=8) for _ in range(3)]
    for env, seed in zip(singles, (5, 6, 7), strict=True):
        env.reset(seed=seed)
    for _ in range(8):
        actions = np.asarray(agent.act(envs))
        alone = [agent.act(env) for env in singles]
        np.testing.assert_array_equal(actions, np.ravel(alone))
        distance = envs.step(actions)[4]["distance"]
        np.testing.assert_allclose(
            [env.step(action)[4]["distance"] for env, action in zip(singles, alone, strict=True)], distance, rtol=1e-9
        )


@pytest.mark.parametrize("medium", MEDIA)
def test_scored_again_they_have_the_score_of_their_card(medium: str) -> None:
    """On a registered task, which they never saw: an interval on few seeds that meets the card's."""
    card = pretrained.index()[f"universal/{medium}"]
    name = f"{medium.capitalize()}Moons"
    seeds = range(card["first_seed"], card["first_seed"] + 40)
    found = teach_gym.evaluate(f"universal/{medium}", name, seeds)
    value, low, high = card["scores"][name]
    assert found.low <= high and found.high >= low and low <= value <= high


def test_other_learners_media_and_flavours_are_refused() -> None:
    agent = teach_gym.load_teacher("universal/label")
    with pytest.raises(ValueError, match="needs a learner without a hidden layer"):
        agent.check(make_task("LabelDigitsMLP"))
    with pytest.raises(ValueError, match="this teacher is for tasks with medium=label; the task has medium=select"):
        agent.check(make_task("SelectMoons"))
    with pytest.raises(ValueError, match="any discrete actions"):
        agent.check(make_task("LabelMoons", continuous=True))


def test_trust_weighs_the_numbers_of_each_action() -> None:
    """By hand: two shared entries, two numbers for each of three actions."""
    layers = [(np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), np.array([0.0, 1.0], np.float32))]
    network = Network(layers, "Tanh", "trust")
    assert network.observation_size(3) == 8
    trust = np.exp([0.5, 2 * -1.0 + 1.0])
    weights = trust / trust.sum()
    seen = np.array([[0.5, -1.0, 3.0, 0.0, 1.0, 0.0, 2.0, 5.0]], np.float32)
    expected = [-(weights @ pair) for pair in ([3.0, 0.0], [0.0, 2.0], [1.0, 5.0])]
    np.testing.assert_allclose(network(seen)[0], expected, rtol=1e-6)
