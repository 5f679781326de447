"""``teach-gym`` that stands still after so many checkpoints and a further row: a script for tests that kill it.

So the kill meets the same place of a training, however fast or busy the machine is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from teach_gym.cli import main
from teach_gym.records.runlog import RunLog


def stand_still(checkpoints: int, marker: Path) -> None:
    """Let every training of this process stop, and tell by a file, at the first row after so many checkpoints."""
    log, checkpoint, seen = RunLog.log, RunLog.checkpoint, []

    def counted(self: RunLog, *args: Any, **state: Any) -> Path:
        seen.append(checkpoint(self, *args, **state))
        return seen[-1]

    def stopping(self: RunLog, *args: Any, **scalars: Any) -> None:
        log(self, *args, **scalars)
        if len(seen) >= checkpoints:
            marker.touch()
            while True:
                time.sleep(1)

    RunLog.checkpoint, RunLog.log = counted, stopping  # type: ignore[method-assign]


if __name__ == "__main__":
    stand_still(int(sys.argv.pop(1)), Path(sys.argv.pop(1)))
    sys.exit(main())
