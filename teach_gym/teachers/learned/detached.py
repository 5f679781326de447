"""An unroll without gradients between its steps, with the policy's gradient taken for all steps at once."""

from __future__ import annotations

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.detached needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array, as_array, as_tensor, dot
from teach_gym.core.batch import each
from teach_gym.core.state import Example, Task
from teach_gym.core.task import learn
from teach_gym.teachers.learned.networks import TeachingNetworks
from teach_gym.teachers.learned.unroll import Episodes, Window, remembered


def unroll_detached(
    task: Task, episodes: Episodes, policy: TeachingNetworks, *, every: int = 1, loss: str | None = None
) -> Window:
    """What ``unroll`` with ``window=1`` gives, as one window: no gradient flows between the steps.

    The learners are first taught without gradients; then the policy is called once more, on all steps' states
    together. That is several times as fast as a graph for each step. Batch normalisation would see other batches.

    Args:
        task: see ``unroll``.
        episodes: see there.
        policy: networks without batch normalisation.
        every: see there.
        loss: see there.
    """
    state = seen = episodes.state
    states, views = [], []
    with torch.no_grad():
        for t in range(len(episodes.x)):
            state = episodes.at(t, state)
            seen = state if t % every == 0 else seen
            states.append(state)
            views.append(remembered(state, seen))
            w, velocity = learn(task, state, policy(task, views[-1]))
            state = state._replace(w=w, velocity=velocity, difference=state.target - w, t=state.t + 1)
    groups = (len(states), policy.n, -1)

    def together(*steps: Array) -> Array:
        """(B, ...) of each step -> (steps B, ...), those of each teacher together."""
        rows = torch.stack([as_tensor(array) for array in steps])
        return as_array(rows.reshape(*groups, *rows.shape[2:]).transpose(0, 1).flatten(0, 2))

    def apart(array: Array) -> torch.Tensor:
        """The inverse: (steps B, ...) -> (steps, B, ...)."""
        rows = as_tensor(array)
        rows = rows.reshape(policy.n, len(states), -1, *rows.shape[1:])
        return rows.transpose(0, 1).flatten(1, 2)

    before, view = each(together, *states), each(together, *views)
    example = policy(task, view)
    difference = before.target - learn(task, before, example)[0]
    gaps = apart(as_array(as_tensor(dot(difference, difference))))
    total = torch.zeros_like(gaps[0])
    if loss:
        w = before.w if loss == "learner" else before.target
        total = apart(as_array(task.learner.loss(as_tensor(w), as_tensor(example.x), as_tensor(example.y)))).sum(0)
    shown = Example(as_array(apart(example.x)), as_array(apart(example.y)))
    return Window(0, gaps[-1], gaps.sum(0), total, shown, state)
