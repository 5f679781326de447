"""Sums over the hold-out rows as a compiled loop: what ``holdout.tally`` computes by array calls.

The output's loss and prediction are recorded on the symbols of one row and written as a loop over runs. Array calls
would pass through memory once per operation; the loop reads the logits once. Runs are handled in tiles of ``LANES``,
whose logits stay in the processor's cache between the matrix product that makes them and the loop.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from teach_gym.compiled import compiler
from teach_gym.compiled.symbols import Tape, UntraceableError, assignment, written
from teach_gym.core.backend import Array
from teach_gym.core.holdout import class_probabilities
from teach_gym.core.learner import MLPLearner
from teach_gym.core.state import Tally, Task

LANES = 64
"""Number of runs in a tile."""
LIMIT = 2_000
"""Maximum number of operations on one row."""


class CompiledTally:
    """Sums over a task's hold-out rows by a compiled loop; pickles hold no code, it is compiled again.

    Args:
        task: the task.

    Raises:
        ImportError: numba is not installed.
        UntraceableError: the loss or the prediction cannot be recorded.
    """

    def __init__(self, task: Task) -> None:
        hold, self._classes, dtype = task.holdout, task.pool.n_classes, task.spec.dtype
        order, ends = np.arange(len(hold.x)), np.array([0, len(hold.x)])
        if self._classes:
            order = np.argsort(hold.labels, kind="stable")
            ends = np.searchsorted(hold.labels[order], np.arange(self._classes + 1))
        self._x, self._y, self._ends = hold.x[order], np.ascontiguousarray(hold.y[order]), ends
        self._dtype, self._source = np.dtype(dtype), write(task)
        self._compile()

    def _compile(self) -> None:
        self._function = compiler.compiled(self._source, str(self._dtype))
        self._product = compiler.compiled(PRODUCT.format(lanes=LANES), str(self._dtype))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_function", "_product")}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        self._compile()

    def __call__(self, task: Task, w: Array) -> Tally:
        """The sums for learners (B, P)."""
        n, c, learner = len(w), self._classes, task.learner
        if isinstance(learner, MLPLearner):
            learner = dataclasses.replace(learner, product=self._multiply)
        tiles = -(-n // LANES)
        sums = np.empty((tiles, max(4 * c, 1), LANES), dtype=self._dtype)
        for i in range(tiles):
            part = w[i * LANES : (i + 1) * LANES]
            if len(part) < LANES:
                part = np.concatenate([part, np.zeros((LANES - len(part), w.shape[1]), dtype=w.dtype)])
            z = np.ascontiguousarray(learner.logits(part, self._x).transpose(1, 2, 0))
            self._function(z.reshape(-1), self._y, self._ends, sums[i].reshape(-1))
        found = sums.transpose(0, 2, 1).reshape(tiles * LANES, -1)[:n]
        if not c:
            return Tally(found[:, 0], *[found[:, :0]] * 4)
        class_loss, hits, named, predicted = (found[:, i * c : (i + 1) * c] for i in range(4))
        return Tally(class_loss.sum(-1), class_loss, hits, named, predicted)

    def _multiply(self, x: Array, weights: Array) -> Array:
        """Products of the runs of a tile: x (LANES, n, h), weights (LANES, h, K) -> (LANES, n, K)."""
        left, right = (np.ascontiguousarray(a.transpose(1, 2, 0)) for a in (x, weights))
        found = np.empty((x.shape[1], *right.shape[1:]), dtype=self._dtype)
        self._product(left, right, found)
        return found.transpose(2, 0, 1)


PRODUCT = """
def step(x, weights, out):
    last = x.shape[1] // 4 * 4
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            found = out[i, k]
            for j in range({lanes}):
                found[j] = real(0)
            for h in range(0, last, 4):
                a, b, c, d = x[i, h], x[i, h + 1], x[i, h + 2], x[i, h + 3]
                p, q, r, s = weights[h, k], weights[h + 1, k], weights[h + 2, k], weights[h + 3, k]
                for j in range({lanes}):
                    found[j] += a[j] * p[j] + b[j] * q[j] + c[j] * r[j] + d[j] * s[j]
            for h in range(last, x.shape[1]):
                a, p = x[i, h], weights[h, k]
                for j in range({lanes}):
                    found[j] += a[j] * p[j]
"""
"""Products of matrices (n, h, LANES) and (h, K, LANES) of which each lane has its own: (n, K, LANES)."""


def compiled_tally(task: Task) -> CompiledTally | None:
    """The compiled sums of a task; None if its loss or its prediction cannot be recorded.

    Raises:
        ImportError: numba is not installed.
    """
    try:
        return CompiledTally(task)
    except UntraceableError:
        return None


def write(task: Task) -> str:
    """The source of the loop.

    Its function ``step`` takes the logits of a tile (n K LANES,), with the rows ordered by class; their labels (n, K);
    where each class begins and the last one ends (C + 1,); and the array for the sums (4 C LANES,): for each class the
    losses, then the hits, the numbers of rows classified as it, and the predicted probabilities. For regression there
    is one class and its loss (LANES,).

    Raises:
        UntraceableError: the loss or the prediction cannot be recorded.
    """
    output, c, k = task.learner.output, task.pool.n_classes, task.k
    tape = Tape(LIMIT)
    z, y = tape.inputs("z", (k,)), tape.inputs("y", (k,))
    loss: list[Any] = output.loss(z, y).tolist()
    predicted: list[Any] = class_probabilities(output, output.predict(z))[0].tolist() if c else []
    row = [f"z_{i} = rows[{i * LANES} + j]" for i in range(k)]
    row += [assignment(s) for s in tape.operations.values()]
    row += [f"losses[j] += np.float64({written(loss[0])})"]
    if c:
        row += ["chosen = real(0)", "best = real(0)" if k == 1 else "best = z_0"]
        for i in range(1, max(k, 2)):  # as argmax: the first of equal ones, NaN before all others
            z_i = "z_0" if k == 1 else f"z_{i}"
            row += [f"if {z_i} > best:" if k == 1 else f"if not {z_i} <= best and best == best:"]
            row += [f"    chosen, best = real({i}), {z_i}"]
        row += [f"{_cell(0)} += real(1) if chosen == own else real(0)"]
        row += [f"{_cell(1 + i)} += real(1) if chosen == real({i}) else real(0)" for i in range(c)]
        row += [f"{_cell(1 + c + i)} += {written(predicted[i])}" for i in range(c)]
    lines = [
        "def step(z, y, ends, sums):",
        f"    work = np.zeros({(1 + 2 * c) * LANES}, dtype=z.dtype)",
        f"    losses = np.zeros({LANES})",
        f"    for c in range({max(c, 1)}):",
        "        own = real(c)",
        f"        for j in range({LANES}):",
        f"            {_cell(0)}, losses[j] = real(0), 0.0",
        "        for i in range(ends[c], ends[c + 1]):",
        *(f"            y_{i} = y[i, {i}]" for i in range(k)),
        f"            rows = z[i * {k * LANES} : (i + 1) * {k * LANES}]",
        f"            for j in range({LANES}):",
        *(f"                {line}" for line in row),
        f"        for j in range({LANES}):",
        f"            sums[c * {LANES} + j] = losses[j]",
        *([f"            sums[({c} + c) * {LANES} + j] = {_cell(0)}"] if c else []),
        f"    for j in range({2 * c * LANES}):",
        f"        sums[{2 * c * LANES} + j] = {_cell(1)}",
        "",
    ]
    return "\n".join(lines)


def _cell(row: int) -> str:
    return f"work[{row * LANES} + j]"
