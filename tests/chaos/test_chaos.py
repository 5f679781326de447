"""A short form of the campaign of kills, always with the same faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if not hasattr(os, "fork") or not sys.platform.startswith("linux"):
    pytest.skip("forks, and looks into /proc", allow_module_level=True)

from campaign_of_kills import Campaign
from faults import Fault, run
from jobs import JOBS

SHORT = {job.name: job for job in JOBS}


@pytest.mark.parametrize("name", ["bench", "player"])
def test_nothing_is_lost_repeated_changed_or_left(name: str, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, 0, lambda line: None)
    campaign.strike(SHORT[name], 2, ["kill", "group"])
    campaign.strike(SHORT[name], 1, ["full", "limit"])
    campaign.strike(SHORT[name], 1, ["clock"])
    assert not campaign.tally.problems, campaign.tally.table()
    assert campaign.tally.strikes.total() >= 3


@pytest.mark.slow
@pytest.mark.parametrize("event", range(4, 20, 3))
def test_ctrl_c_between_a_process_and_its_workers_is_silent(event: int, tmp_path: Path) -> None:
    """While workers are started, at work, and removed; a write into a pipe is an event, too."""
    done = run(SHORT["reproduce, 2 workers"].arguments(tmp_path, tmp_path), Fault("interrupt", event), tmp_path / "n")
    assert done.code == 130 and not done.survivors
    assert "Traceback" not in done.error and "resource_tracker" not in done.error
