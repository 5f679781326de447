"""The commands of the leaderboard: ``submit`` writes an entry, ``verify`` replays one."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from teach_gym.cli.output import DataDir, set_data_dir
from teach_gym.files import is_file
from teach_gym.messages import show


def submit(
    teacher: Positional[str],
    task: Positional[str],
    /,
    *,
    name: str | None = None,
    folder: Path = Path("leaderboard"),
    data_dir: DataDir = None,
) -> int:
    """Score a teacher on the published seeds and write an entry of the leaderboard.

    Args:
        teacher: A trained teacher's file, module:Class of one in Python, or the package's, as last:constraint=soft.
        task: A task, as LabelMoons or LabelMoons:budget=100.
        name: Name of the entry (default: TASK-TEACHER).
        folder: Folder of entries.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.leaderboard import entry_name
    from teach_gym.benchmark.leaderboard import submit as write

    set_data_dir(data_dir)
    short = Path(teacher).stem if is_file(teacher) else entry_name(teacher)
    path, score = write(teacher, task, name or f"{task.partition(':')[0]}-{short}", folder)
    show(f"{path}: score {score.score:.3f} [{score.low:.3f}, {score.high:.3f}]")
    return 0


def verify(entry: Positional[Path], /, *, run_code: bool = False, data_dir: DataDir = None) -> int:
    """Teach an entry's episodes again; exit code 1 if anything differs.

    Args:
        entry: The entry's JSON file; a trained teacher's file lies beside it.
        run_code: Import and run a teacher in Python, which may do anything: read it first.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.leaderboard import verify as replay

    set_data_dir(data_dir)
    problems = replay(entry, run_code=run_code)
    show("\n".join(problems) if problems else f"{entry}: confirmed bit for bit")
    return 1 if problems else 0
