"""Agents in files: what they do, against the policies they were made of, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import streams, variant

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

import torch
from safetensors.numpy import save
from sb3_cases import ALGORITHMS, every_algorithm, model_of, native, rollout, trained
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from teach_gym.benchmark.run import RunError, run_suite
from teach_gym.benchmark.suite import SUITES, expand
from teach_gym.benchmark.summary import display, summarize
from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.spec import TaskSpec
from teach_gym.core.task import reset
from teach_gym.errors import DamagedDataError
from teach_gym.sb3 import PolicyTeacher, save_policy
from teach_gym.teachers import canonical_teacher, make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent, save_agent
from teach_gym.teachers.perceptron import ACTIVATIONS, Network, Normalization
from teach_gym.teachers.weights import read_teacher


@every_algorithm
def test_saved_policies_teach_the_same(name: str, tmp_path: Path) -> None:
    """Numpy and torch take the same actions (but for float32's last digits) over whole episodes."""
    continuous = ALGORITHMS[name][1]
    env = VecNormalize(native(continuous=continuous), clip_obs=2.0)
    model = trained(name, env)
    task, path = env.get_attr("task")[0], tmp_path / "new" / "teacher.safetensors"
    save_policy(model, path, task.spec, algorithm=name.lower())
    loaded = Agent(path=path)
    assert loaded.spec == task.spec and loaded.card["algorithm"] == name.lower()
    assert loaded.network is not None and loaded.network.normalization == Normalization.of(env)
    expected, found = (np.stack(rollout(task, t, streams(20))[0]) for t in (PolicyTeacher(model), loaded))
    if continuous:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)
    assert [p.name for p in path.parent.iterdir()] == ["teacher.safetensors"]


def test_the_task_is_that_of_the_models_environment_unless_it_is_given(tmp_path: Path) -> None:
    model = trained("PPO")
    save_policy(model, tmp_path / "own.safetensors")
    assert Agent(path=tmp_path / "own.safetensors").spec == model.get_env().get_attr("task")[0].spec
    elsewhere = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8)
    for stranger in (model.policy, elsewhere):
        with pytest.raises(TypeError, match="spec is needed"):
            save_policy(stranger, tmp_path / "none.safetensors")


def test_sampled_actions_have_the_probabilities_of_the_policy(tmp_path: Path) -> None:
    model = trained("PPO")
    task = model.get_env().get_attr("task")[0]
    save_policy(model, tmp_path / "p.safetensors", task.spec)
    state, n = reset(task, streams(1)), 20_000
    one = take(state, np.zeros(n, dtype=int))._replace(key=np.arange(n))
    agent = make_teacher("agent", path=str(tmp_path / "p.safetensors"), sampled=True)
    shares = np.bincount(agent(task, one), minlength=task.n_actions) / n
    seen = model.policy.obs_to_tensor(observe(task, state, layout(task)))[0]
    expected = model.policy.get_distribution(seen).distribution.probs[0].detach().numpy()
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / n**0.5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_networks_equal_torch(name: str, tmp_path: Path) -> None:
    """Every activation, and a perceptron of plain torch modules."""
    task = make_task(**variant("label-grid"))
    n = sum(block.size for block in layout(task))
    torch.manual_seed(0)
    act = getattr(torch.nn, name)
    net = torch.nn.Sequential(
        torch.nn.Linear(n, 7), act(), torch.nn.Linear(7, 6), act(), torch.nn.Linear(6, task.n_actions)
    )
    save_policy(net, tmp_path / "a", task.spec)
    x = 3 * torch.randn(50, n)
    network = Agent(path=tmp_path / "a").network
    assert network is not None
    np.testing.assert_allclose(network(x.numpy()), net(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_an_agent_sees_other_tasks_as_its_own() -> None:
    """One trained with a drawn learning rate and look-ahead teaches the plain task, and is shown what it is used to."""
    kwargs = variant("label-grid")
    trained_on = TaskSpec(**{**kwargs, "observation": "lookahead", "learning_rate": [0.1, 1.0]})
    plain = make_task(**kwargs)
    own = make_task(**dataclasses.asdict(trained_on))
    blocks = layout(plain, trained_on)
    assert [b.name for b in blocks] == [b.name for b in layout(own)] and "learning_rate" in [b.name for b in blocks]
    seen = observe(plain, reset(plain, streams(3)), blocks)
    place = next(b for b in blocks if b.name == "learning_rate").start
    np.testing.assert_allclose(seen[:, place], plain.spec.learning_rate)
    n = sum(b.size for b in blocks)
    rng = np.random.default_rng(0)
    layer = rng.normal(size=(plain.n_actions, n)).astype(np.float32), np.zeros(plain.n_actions, np.float32)
    network = Network([layer], "Tanh", "scores")
    Agent(policy=network, spec=trained_on).check(plain)
    teach_episodes(plain, Agent(policy=network, spec=trained_on), [0, 1])
    with pytest.raises(ValueError, match=f"observation=omniscient of {n} numbers"):
        Agent(policy=network, spec=plain.spec).check(plain)


def test_what_cannot_be_saved_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    model = model_of("PPO", native())
    spec = TaskSpec(**variant("label-grid"))
    odd = model_of("PPO", native(), policy_kwargs={"activation_fn": torch.nn.Softplus})
    broken = model_of("PPO", native())
    with torch.no_grad():
        broken.policy.action_net.bias[0] = float("nan")
    for wrong, task_spec, error in (
        (odd, spec, TypeError),
        (torch.nn.Linear(3, 3), spec, TypeError),
        (torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3)), spec, TypeError),
        (model, TaskSpec(**variant("label-grid", continuous=True)), ValueError),
        (broken, spec, ValueError),
    ):
        with pytest.raises(error):
            save_policy(wrong, path, task_spec)
    with pytest.raises(TypeError):
        save_policy(model, path, spec, note=object())
    assert not list(tmp_path.iterdir())


class _Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path, mark = tmp_path / "p.zip", tmp_path / "mark"
    model = model_of("PPO", native())
    model.bomb = _Bomb(mark)  # SB3 keeps a model's attributes as pickles
    model.save(path)
    with pytest.raises(DamagedDataError):
        Agent(path=path)
    path.write_bytes(pickle.dumps(_Bomb(mark)))
    with pytest.raises(DamagedDataError):
        Agent(path=path)
    assert not mark.exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    save_policy(model_of("PPO", native()), path, TaskSpec(**variant("label-grid")))
    whole, good = path.read_bytes(), read_teacher(path, "agent", "np")
    about = good.card["network"]
    changes: list[dict[str, Any]] = [
        {"network": {**about, "activation": "os.system"}},
        {"network": {**about, "form": "x"}},
        {"network": {**about, "normalization": {"mean": [1.0], "var": [1.0], "clip": 1.0, "epsilon": 1.0}}},
        {"network": {}},
        {"task": {**good.card["task"], "surprise": 1}},
        {"task": None},
    ]
    nan = {**good.tensors, "0.bias": np.full_like(good.tensors["0.bias"], np.nan)}
    short = {**good.tensors, "0.bias": good.tensors["0.bias"][1:]}
    cases = [(good.tensors, {**good.card, **change}) for change in changes]
    cases += [(nan, good.card), (short, good.card), ({}, good.card)]
    for tensors, card in cases:
        fields = {"teach_gym.format": "1", "teach_gym.kind": "agent", "teach_gym.card": json.dumps(card)}
        path.write_bytes(save(tensors, fields))
        with pytest.raises(DamagedDataError, match=r"p\.safetensors"):
            Agent(path=path)
    for damaged in (whole[:-30], whole[: len(whole) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(DamagedDataError):
            Agent(path=path)
    with pytest.raises(FileNotFoundError):
        Agent(path=tmp_path / "none")
    with pytest.raises(ValueError, match="path="):
        Agent()


def test_agents_that_do_not_fit_are_refused() -> None:
    task = make_task(**variant("label-grid"))
    n = sum(b.size for b in layout(task))

    def agent(outputs: int, form: str, inputs: int = n, **options: Any) -> Agent:
        layer = np.zeros((outputs, inputs), np.float32), np.zeros(outputs, np.float32)
        return Agent(policy=Network([layer], "Tanh", form), **options)

    agent(task.n_actions, "scores").check(task)
    agent(1, "box").check(make_task(**variant("label-grid", continuous=True)))
    for wrong in (agent(task.n_actions + 1, "scores"), agent(task.n_actions, "scores", n + 1), agent(1, "box")):
        with pytest.raises(ValueError, match="the task"):
            wrong.check(task)
    with pytest.raises(ValueError, match="discrete"):
        agent(1, "box", sampled=True).check(make_task(**variant("label-grid", continuous=True)))


@pytest.mark.parametrize("observation", ["full", "omniscient"])
def test_a_task_of_another_size_is_refused_with_the_observation_and_both_sizes(observation: str) -> None:
    small = make_task(**variant("label-grid", observation=observation))
    other = make_task(**variant("label-grid", bias=False))
    n, m = (sum(b.size for b in layout(task, small.spec)) for task in (small, other))
    layer = np.zeros((small.n_actions, n), np.float32), np.zeros(small.n_actions, np.float32)
    statistics = Normalization([0.0] * n, [1.0] * n, 10.0, 1e-8)
    agent = Agent(policy=Network([layer], "Tanh", "scores", statistics), spec=small.spec)
    agent(small, reset(small, streams(2)))
    for use in (agent.check, lambda task: agent(task, reset(task, streams(2)))):
        with pytest.raises(ValueError, match=f"observation={observation} of {n} numbers.*{observation} of {m} numbers"):
            use(other)


def test_agents_in_the_benchmark(tmp_path: Path) -> None:
    """A file by its path, scored like any teacher; a changed file makes other runs."""
    path = tmp_path / "ppo" / "LabelMoons-0" / "policy.safetensors"
    task = make_task("LabelMoons")
    n = sum(block.size for block in layout(task))
    rng = np.random.default_rng(0)

    def write() -> None:
        layer = rng.normal(size=(task.n_actions, n)).astype(np.float32), np.zeros(task.n_actions, np.float32)
        save_agent(path, Network([layer], "Tanh", "scores"), task.spec)

    write()
    label = canonical_teacher(f"agent:{path}")
    assert label == canonical_teacher(f"agent:path={str(path)!r}") == f"agent:{path}"
    assert display(label) == "agent:ppo/LabelMoons-0" and display("last:radius=1.0") == "last:radius=1.0"
    suite = dataclasses.replace(SUITES["smoke"], tasks=("LabelMoons",), teachers=(f"agent:{path}",), seeds=(3, 4))
    runs = expand(suite, named=[f"agent:{path}"])
    rows = run_suite(runs, tmp_path / "runs.jsonl", executor="serial", progress=False)
    final = {row["seed"]: row["curves"]["distance"][-1] for row in rows if row["teacher"] == label}
    np.testing.assert_allclose([final[3], final[4]], teach_episodes(task, Agent(path=path), [3, 4])[1])
    assert any(entry.teacher == label for entry in summarize(rows).entries)
    write()
    again = expand(suite)
    assert {r.id for r in runs if r.teacher != label} == {r.id for r in again if r.teacher != label}
    assert not {r.id for r in runs if r.teacher == label} & {r.id for r in again if r.teacher == label}
    with pytest.raises(RunError, match=r"teacher file of LabelMoons .* changed after the benchmark was started"):
        run_suite(runs, tmp_path / "other.jsonl", executor="serial", progress=False)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        expand(dataclasses.replace(suite, teachers=("agent:nowhere.safetensors",)))
