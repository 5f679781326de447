"""The state of a training with Stable-Baselines3 as plain tensors and numbers, from which another process can resume.

SB3's own ``save`` pickles; a checkpoint here is read with ``weights_only=True``. Environments are not saved:
``restart`` starts new episodes, with all randomness derived from (seed, step). A training that restarts at each of its
checkpoints is therefore the same, to the last bit on the CPU, whether or not it was interrupted there.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
)
"""The plain numbers that SB3's algorithms keep about their progress, where an algorithm has them."""
EPISODE = ("r", "l")
"""What SB3 logs of a finished episode: its return and its length."""
LARGEST_BUFFER = 64 * 2**20
"""Largest size in bytes at which a replay buffer is part of the checkpoint."""
_MOMENTS = ("mean", "var", "count")


def model_state(model: BaseAlgorithm) -> tuple[dict[str, Any], dict[str, float]]:
    """Everything that determines how a training continues after ``restart``.

    Returns:
        Tensors in dictionaries: parameters of the policy, states of its optimizers, the entropy coefficient of SAC,
        the statistics of ``VecNormalize``, the returns and lengths of the last episodes that ``VecMonitor`` saw, and
        the filled part of the replay buffer if that is at most ``LARGEST_BUFFER`` bytes. And the counters.
    """
    names = model._get_torch_save_params()[1]
    tensors: dict[str, Any] = {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name).detach() for name in names},
    }
    if model.ep_info_buffer:
        tensors["episodes"] = {
            name: torch.from_numpy(np.array([episode[name] for episode in model.ep_info_buffer])) for name in EPISODE
        }
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        found = (name for name in ("obs_rms", "ret_rms") if hasattr(normalize, name))
        tensors["normalize"] = {name: _moments(getattr(normalize, name)) for name in found}
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        rows = buffer.size()
        arrays = {name: array[:rows] for name, array in vars(buffer).items() if isinstance(array, np.ndarray)}
        if sum(array.nbytes for array in arrays.values()) <= LARGEST_BUFFER:
            contents = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
            tensors["buffer"] = {"pos": buffer.pos, "full": buffer.full, "contents": contents}
    counters = {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)}
    return tensors, counters


def restore_model(model: BaseAlgorithm, tensors: dict[str, Any], counters: dict[str, float]) -> bool:
    """Give a new model, made with the same settings, the state of ``model_state``.

    Returns:
        Whether the state is complete; False for an off-policy model whose replay buffer was too large for the
        checkpoint. Its buffer starts empty, and it collects ``learning_starts`` steps with random actions, as at the
        start of a training, before it learns again.
    """
    model.set_parameters(tensors["parameters"], device=model.device)
    for name, value in tensors["variables"].items():
        getattr(model, name).data.copy_(value)
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        for name, moments in tensors["normalize"].items():
            _set_moments(getattr(normalize, name), moments)
    for name, value in counters.items():
        setattr(model, name, value)
    model.ep_info_buffer = deque(_episodes(tensors.get("episodes", {})), maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return True
    saved = tensors.get("buffer")
    if saved is None:
        model.learning_starts += model.num_timesteps
        return False
    buffer.pos, buffer.full = saved["pos"], saved["full"]
    for name, rows in saved["contents"].items():
        getattr(buffer, name)[: len(rows)] = rows.numpy()
    return True


def restart(model: BaseAlgorithm, seed: int, step: int) -> None:
    """Start new episodes in all environments, with every random generator seeded from (seed, step).

    The seeds of the environments lie above 2^30: no training episode is an evaluation episode.
    """
    reseed(model, seed, step)
    assert model.env is not None
    model._last_obs = model.env.reset()
    model._last_episode_starts = np.ones(model.env.num_envs, dtype=bool)
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        model._last_original_obs = normalize.get_original_obs()


def reseed(model: BaseAlgorithm, seed: int, step: int) -> None:
    """Seed every random generator from (seed, step), and redraw the exploration noise that is kept between steps."""
    word = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
    model.set_random_seed((word >> 2) + 2**30)
    if getattr(model, "action_noise", None) is not None:
        model.action_noise.reset()
    if model.use_sde:
        getattr(model, "actor", model.policy).reset_noise(model.n_envs)


def _episodes(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """The last episodes, one dictionary each, with the numbers' own types."""
    arrays = [values.numpy() for values in columns.values()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*arrays, strict=True)]


def _moments(statistics: Any) -> dict[str, Any]:
    """Running mean, variance and count as tensors in double precision."""
    return {name: torch.tensor(getattr(statistics, name), dtype=torch.float64) for name in _MOMENTS}


def _set_moments(statistics: Any, moments: dict[str, Any]) -> None:
    for name in ("mean", "var"):
        setattr(statistics, name, moments[name].numpy().copy())
    statistics.count = float(moments["count"])
