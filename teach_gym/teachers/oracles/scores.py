"""The scores of a pool's rows: what orders them by the distance after a step; by array calls, or as a compiled loop.

The loop is written from the same function, recorded on symbols. It passes through the products once, where array calls
do so for every operation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from teach_gym.compiled import compiler
from teach_gym.compiled.symbols import Tape, assignment
from teach_gym.core.backend import Array, dot
from teach_gym.core.outputs import Output

WORTHWHILE = 1 << 13
"""From so many scores on a loop is used; fewer are not worth loading a compiler for."""


def scores(output: Output, logits: Array, alignment: Array, squares: Array, y: Array) -> Array:
    """Squared norm times squared residual minus the alignment with it.

    Args:
        output: the learner's output.
        logits: (..., K).
        alignment: (..., K), 2 / step times the logits of the direction from the target.
        squares: (...), squared norms of the rows.
        y: (..., K) labels.

    Returns:
        (...).
    """
    residual = output.residual(logits, y)
    pull = squares[..., None] * residual
    pull -= alignment
    if pull.shape[-1] == 1:
        pull *= residual
        return pull[..., 0]
    return dot(pull, residual)


def all_scores(output: Output, logits: Array, alignment: Array, squares: Array, y: Array) -> Array:
    """``scores`` of all rows for B learners, by a loop where there are many of one output: (B, N).

    Args:
        output: the learner's output.
        logits: (B, N, K).
        alignment: (B, N, K).
        squares: (N,).
        y: (N, K) or (B, N, K).
    """
    if logits.size < WORTHWHILE or logits.shape[-1] > 1 or y.ndim > 2 or not compiler.installed():
        return scores(output, logits, alignment, squares, y)
    found = np.empty(logits.shape[:-1], dtype=logits.dtype)
    columns = (np.ascontiguousarray(a[..., 0], dtype=found.dtype) for a in (logits, alignment, y))
    z, a, labels = columns
    _loop(output, str(found.dtype))(z, a, labels, np.ascontiguousarray(squares, dtype=found.dtype), found)
    return found


@functools.cache
def _loop(output: Output, dtype: str) -> Callable[..., Any]:
    return compiler.compiled(write(output), dtype)


def write(output: Output) -> str:
    """The source of the loop for learners of one output.

    Its function ``step`` takes logits and alignments (B, N), labels and squared norms (N,), and the array for the
    scores (B, N).
    """
    tape = Tape(200)
    z, a, y = (tape.inputs(name, (1,)) for name in "zay")
    (result,) = scores(output, z, a, tape.inputs("s", ()), y).tolist()
    lines = [
        "def step(logits, alignment, labels, squares, found):",
        "    for b in range(logits.shape[0]):",
        "        z, a, out = logits[b], alignment[b], found[b]",
        "        for j in range(labels.shape[0]):",
        "            z_0, a_0, y_0, s_0 = z[j], a[j], labels[j], squares[j]",
        *(f"            {assignment(s)}" for s in tape.operations.values()),
        f"            out[j] = {result.name}",
        "",
    ]
    return "\n".join(lines)
