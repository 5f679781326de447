"""All targets of the campaign."""

from __future__ import annotations

from pathlib import Path

from campaign import Target
from targets_envs import action_targets, call_targets
from targets_files import file_targets
from targets_records import record_targets
from targets_tasks import task_targets
from targets_text import text_targets


def all_targets(folder: Path) -> list[Target]:
    """Every target; those that read files get their own below a folder."""
    return [
        *action_targets(),
        *call_targets(),
        *task_targets(),
        *file_targets(folder),
        *record_targets(folder),
        *text_targets(folder),
    ]
