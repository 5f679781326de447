"""Ray as the engine of a benchmark: runs as Ray tasks, on this machine or on a cluster (extra ``ray``).

``RAY_ADDRESS`` chooses a running cluster; without it a Ray instance of our own is started and shut down again. Each
run is one Ray task. Only the process that started the benchmark writes results, and it takes one outcome per run: a
run whose worker was killed is started again by Ray and is neither lost nor counted twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from teach_gym.benchmark.execute import Failure, Outcome, attempt
from teach_gym.benchmark.processes import cpus, interrupts_held
from teach_gym.benchmark.suite import Run
from teach_gym.data.datasets import DATA_VARIABLE
from teach_gym.errors import shown

RETRIES = 3
"""How often a run is started again after its worker or its machine died, before it counts as failed."""

STORE_BYTES = 100_000_000
"""Shared memory of our own Ray instance; rows of results are a few kilobytes."""

ADDRESS_VARIABLE = "RAY_ADDRESS"

_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray sends no usage statistics, and does not warn about GPUs that tasks did not ask for."""


def load_ray() -> Any:
    """Import Ray.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ImportError("Ray is not installed: pip install 'teach_gym[ray]'") from error
    return ray


@contextlib.contextmanager
def connected(workers: int | None = None) -> Iterator[Any]:
    """Ray, connected: to the instance this process is connected to, else to ``RAY_ADDRESS``, else to one of our own.

    Args:
        workers: CPUs of an instance of our own (default: all that this process may use).

    Yields:
        the module ``ray``. What was connected to or started here is left or shut down again at the end.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster answers at ``RAY_ADDRESS``.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get(ADDRESS_VARIABLE)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        with interrupts_held():  # processes started meanwhile never see Ctrl-C
            if address:
                _knock(address)
                ray.init(address=address, runtime_env={"env_vars": _environment()}, **quiet)
            else:
                count = cpus() if workers is None else workers
                store = {"object_store_memory": STORE_BYTES}
                ray.init(address="local", num_cpus=count, include_dashboard=False, **store, **quiet)
        yield ray
    finally:
        with interrupts_held():
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise a ``ConnectionError`` if nobody listens at host:port; Ray itself finds out only after minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():  # auto, ray://...
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"no Ray cluster answers at {ADDRESS_VARIABLE}={shown(address)}: {error}") from error


def _environment() -> dict[str, str]:
    """The variables that workers of a cluster take over; those of our own instance inherit all."""
    return {name: str(Path(os.environ[name]).resolve()) for name in (DATA_VARIABLE,) if name in os.environ}


def carry_out(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """Carry out runs as Ray tasks of one CPU each, at most ``workers`` at a time.

    Args:
        runs: what to run.
        workers: tasks under way at a time, and the CPUs of a Ray instance of our own.

    Yields:
        (run, its row or failure), one per run, in the order they end.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster answers at ``RAY_ADDRESS``.
    """
    if not runs:
        return
    with connected(min(workers, len(runs))) as ray:
        task = ray.remote(attempt).options(num_cpus=1, max_retries=RETRIES)
        waiting = iter(runs)
        under_way = {task.remote(run): run for run in islice(waiting, workers)}
        try:
            while under_way:
                ended, _ = ray.wait(list(under_way), num_returns=1)
                for reference in ended:
                    run = under_way.pop(reference)
                    for following in islice(waiting, 1):
                        under_way[task.remote(following)] = following
                    yield run, _collect(ray, reference)
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)


def _collect(ray: Any, reference: Any) -> Any:
    """The outcome of a task; a failure if its workers kept dying."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        text = " ".join(str(error).split())
        return Failure(f"{type(error).__name__} after {RETRIES + 1} attempts: {text}", text)
