"""``python tests/chaos --kills 200`` (``make chaos``): kills, full disks and two processes at once; see ``faults``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from campaign_of_kills import Campaign
from jobs import JOBS

import teach_gym.cli
import teach_gym.integrations.sb3.trainer
import teach_gym.training.reinforce  # noqa: F401


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; the exit code is 1 if anything was lost, repeated, changed or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="*", default=[], help="names of jobs")
    parser.add_argument("--no-twice", action="store_true", help="leave out two processes in one folder")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # which leaves nothing behind
    jobs = [job for job in JOBS if not args.only or job.name in args.only]
    print(f"{args.kills} kills of {', '.join(job.name for job in jobs)} with seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="teach-gym-chaos-") as folder:
        campaign = Campaign(Path(folder), args.seed, lambda line: print(line, flush=True))
        while campaign.tally.kills < args.kills:
            for job in jobs:
                kinds = ["kill", "group", *(["worker"] if job.spawns else [])]
                campaign.strike(job, campaign.random.randint(1, 4), kinds)
            print(f"{campaign.tally.kills} kills, {len(campaign.tally.problems)} problems", flush=True)
        for job in jobs:
            campaign.strike(job, 2, ["full", "limit"])
            campaign.strike(job, 1, ["interrupt"])
            campaign.strike(job, 1, ["clock"])
            if not args.no_twice:
                campaign.twice(job)
    print(f"\nseed {args.seed}\n{campaign.tally.table()}")
    return int(bool(campaign.tally.problems))


if __name__ == "__main__":
    sys.exit(main())
