"""A short form of the campaign of kills, always with the same faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if not hasattr(os, "fork") or not sys.platform.startswith("linux"):
    pytest.skip("forks, and looks into /proc", allow_module_level=True)

from campaign_of_kills import Campaign
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
