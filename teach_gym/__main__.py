"""``python -m teach_gym`` is ``teach-gym``."""

from __future__ import annotations

import sys

from teach_gym.cli import main

if __name__ == "__main__":
    sys.exit(main())
