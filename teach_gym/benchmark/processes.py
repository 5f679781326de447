"""Work in spawned processes that leave Ctrl-C to their parent and never outlive it."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TypeVar

from teach_gym.files import naming

Item = TypeVar("Item")
R = TypeVar("R")

SHARED = "<shared memory for worker processes>"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """A worker process died, perhaps for lack of memory; finished work is kept."""


def cpus() -> int:
    """The number of CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _die_with_parent(lifeline: Connection) -> None:
    """Set up a worker: leave Ctrl-C to the parent, and exit when the parent closes the pipe or is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        wait([lifeline])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Put off Ctrl-C until the end; processes started meanwhile never receive it, not even while they import.

    Raises:
        KeyboardInterrupt: at the end, if Ctrl-C was pressed meanwhile.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    late: list[tuple[int, FrameType | None]] = []
    before, handler = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}), signal.getsignal(signal.SIGINT)
    held = callable(handler) and threading.current_thread() is threading.main_thread()
    if held:  # another thread may still receive the signal, which Python then handles in this one
        signal.signal(signal.SIGINT, lambda number, frame: late.append((number, frame)))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if held:
            signal.signal(signal.SIGINT, handler)
            if late and callable(handler):
                handler(*late[0])


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Make processes started meanwhile compute with one thread, unless the environment sets the number."""
    missing = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def in_processes(
    function: Callable[[Item], R], items: Sequence[Item], workers: int
) -> Generator[tuple[Item, R], None, None]:
    """Call a function with each item, each call in one of ``workers`` spawned processes of one thread.

    Args:
        function: what to call; it and the items must survive pickling.
        items: what to call it with.
        workers: number of processes.

    Yields:
        (item, the function's result), in the order in which the calls finish. An exception of the function is raised
        here. When the generator is closed, running calls are aborted.

    Raises:
        WorkerError: a worker died.
        OSError: no process can be started, for instance for lack of shared memory.
    """
    if not items:
        return
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool: ProcessPoolExecutor | None = None
    futures: dict[Future[R], Item] = {}
    try:
        with interrupts_held(), _one_thread_each():
            with naming(SHARED):
                pool = ProcessPoolExecutor(min(workers, len(items)), context, _die_with_parent, (reader,))
            futures.update((pool.submit(function, item), item) for item in items)
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
        with interrupts_held():
            pool.shutdown()
    except BrokenProcessPool as error:
        raise WorkerError("a worker process died (out of memory?); start the same command again to resume") from error
    finally:
        with interrupts_held():
            writer.close()
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
            reader.close()
            futures.clear()
            pool = None
            gc.collect()  # the pool's semaphores go now, and not when Ctrl-C may interrupt their removal
