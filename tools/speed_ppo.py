"""`agents/ppo.py` against Stable-Baselines3's PPO with equal settings: scores and frames per second, seed by seed."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from teach_gym.benchmark.evaluation import evaluate
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.sb3 import PolicyTeacher, make_vec_env
from teach_gym.teachers.agent import Agent

TASK, CHANGES = "LabelMomentum", {"observation": "lookahead", "reward": "log_progress"}
SEEDS, FIRST, EPISODES = (1, 2, 3, 4, 5), 4_000_000, 200


def _script() -> Any:
    found = importlib.util.spec_from_file_location("ppo", Path(__file__).parents[1] / "agents" / "ppo.py")
    assert found is not None and found.loader is not None
    sys.modules["ppo"] = module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def ours(steps: int, seed: int) -> tuple[float, float]:
    """The score and the frames per second of CPU time of `agents/ppo.py`."""
    script = _script()
    text = ",".join(f"{key}={value}" for key, value in CHANGES.items())
    args = script.Args(task=f"{TASK}:{text}", steps=steps, seed=seed)
    start = time.process_time()
    training = script.train(args)
    seconds = time.process_time() - start
    teacher = Agent(policy=training.policy.network(), spec=training.task.spec)
    return _score(teacher, training.task), training.updates * training.frames / seconds


def theirs(steps: int, seed: int) -> tuple[float, float]:
    """Those of Stable-Baselines3 with the same settings."""
    args = _script().Args()
    start = time.process_time()
    env = VecNormalize(make_vec_env(TASK, args.num_envs, seed=seed, **CHANGES), norm_reward=False)
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=lambda left: args.learning_rate * left,
        n_steps=args.num_steps,
        batch_size=args.batch_size,
        n_epochs=args.epochs,
        gamma=args.gamma,
        gae_lambda=args.gae_lambda,
        clip_range=args.clip,
        ent_coef=args.entropy,
        vf_coef=args.value_weight,
        max_grad_norm=args.max_norm,
        policy_kwargs={
            "net_arch": [args.hidden, args.hidden],
            "activation_fn": getattr(torch.nn, args.activation),
            "optimizer_kwargs": {"eps": 1e-5, "foreach": True},
        },
        seed=seed,
        device="cpu",
    )
    model.learn(steps)
    seconds = time.process_time() - start
    return _score(PolicyTeacher(model), env.get_attr("task")[0]), model.num_timesteps / seconds


def _score(teacher: Any, task: Any) -> float:
    return evaluate(teacher, task, range(FIRST, FIRST + EPISODES)).score


def measure(steps: int) -> str:
    """The page."""
    torch.set_num_threads(1)
    ours(32_768, 0)  # compiles, and warms everything up
    rows = {"agents/ppo.py": [], "Stable-Baselines3": []}  # type: dict[str, list[tuple[float, float]]]
    for seed in SEEDS:
        for name, train in zip(rows, (ours, theirs), strict=True):
            rows[name].append(train(steps, seed))
            print(f"{name}, seed {seed}: score {rows[name][-1][0]:.3f}, {rows[name][-1][1]:,.0f} frames/s", flush=True)
    ratio = statistics.median(a[1] / b[1] for a, b in zip(*rows.values(), strict=True))
    lines = [
        "# PPO",
        "",
        f"`python -m tools.speed_ppo`: `agents/ppo.py` and Stable-Baselines3's PPO on `{TASK}`, with the settings of "
        f"the script, {steps:,} steps at {_script().Args().num_envs:,} sub-environments, one thread. Seeds "
        f"{', '.join(map(str, SEEDS))}; scores over {EPISODES} episodes with the seeds {FIRST:,}, ...; frames per "
        "second of CPU time, from the making of the environment to the last update.",
        "",
    ]
    table = []
    for name, found in rows.items():
        scores = np.array([score for score, _ in found])
        half = 2.776 * scores.std(ddof=1) / np.sqrt(len(scores))  # Student's t with 4 degrees of freedom
        listed = ", ".join(f"{s:.3f}" for s in scores)
        speed = statistics.median(rate for _, rate in found)
        interval = f"{scores.mean():.3f} [{scores.mean() - half:.3f}, {scores.mean() + half:.3f}]"
        table.append((name, interval, listed, f"{speed:,.0f}"))
    head = ("training", "score: mean [95 % interval over seeds]", "scores", "frames/s: median")
    lines.append(markdown_table(head, table, "lrlr"))
    return "\n".join([*lines, "", f"Ratio of the frames per second, median over pairs of trainings: {ratio:.1f}.", ""])


def main() -> None:
    """Measure on this machine and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--steps", type=int, default=400_000, help="teaching steps of each training")
    given = parser.parse_args()
    text = measure(given.steps)
    if given.out is not None:
        write_text(given.out, text)
    print(text)


if __name__ == "__main__":
    main()
