"""``python tests/fuzz``: the campaign against bad input, see ``campaign``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from campaign import ENDS, GOOD, attack, limit_memory
from targets import all_targets


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign and print its table; the exit code is 1 if there are findings."""
    parser = argparse.ArgumentParser(description="Random calls of everything a user can reach.")
    parser.add_argument("--calls", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="*", default=[], help="names of targets")
    args = parser.parse_args(argv)
    print(f"{args.calls:,} calls with seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="teach-gym-fuzz-") as folder:
        targets = [t for t in all_targets(Path(folder)) if not args.only or t.name in args.only]
        limit_memory(6 * 1024**3)
        findings = attack(targets, args.calls, args.seed, lambda line: print(line, flush=True))
    print(f"\nseed {args.seed}\n{findings.table()}")
    return int(any(findings.total[end] for end in ENDS if end not in GOOD))


if __name__ == "__main__":
    sys.exit(main())
