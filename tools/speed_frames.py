"""Speed of pictures, and of the first import and the first environment."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence

import gymnasium as gym

from teach_gym.registration import env_id
from tools.speed import race
from tools.speed_report import Figure

FRAMES = ("LabelMoons", "LabelRegression", "LabelDigits", "LabelDigits10", "MixupDigits10", "BlackBoxLabelDigits")
FRAMES_GROUP = "frames of 640 x 360 pixels (aim: 60 a second)"
START_GROUP = "start, CPU time (aims: 300 ms for the import, 500 ms for the first environment)"
STARTS = {
    "import teach_gym": ("", "import teach_gym"),
    "gym.make of LabelMoons, the first": ("import gymnasium, teach_gym", "gymnasium.make('teach_gym/LabelMoons-v0')"),
    "gym.make of LabelDigits10, the first": (
        "import gymnasium, teach_gym",
        "gymnasium.make('teach_gym/LabelDigits10-v0')",
    ),
}
"""What is timed in a process of its own: what comes before, and the statement."""
_TIMED = "import time\n{before}\nstart = time.process_time()\n{timed}\nprint(time.process_time() - start)"


def frame_figures(rounds: int, names: Sequence[str] = FRAMES) -> list[Figure]:
    """Drawing a frame in the middle of a lesson."""
    calls = []
    for name in names:
        env = gym.make(env_id(name), render_mode="rgb_array")
        env.reset(seed=0)
        for _ in range(10):
            env.step(0)
        calls.append(env.render)
    micros = race(calls, 5, rounds)
    return [
        Figure(FRAMES_GROUP, name, micro, f"{1e6 / micro:.0f} frames/s", None)
        for name, micro in zip(names, micros, strict=True)
    ]


def start_figures(rounds: int) -> list[Figure]:
    """The first import and the first environment, each in new processes."""
    times: dict[str, list[float]] = {what: [] for what in STARTS}
    for _ in range(rounds):
        for what, (before, timed) in STARTS.items():
            command = [sys.executable, "-c", _TIMED.format(before=before, timed=timed)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times[what].append(float(done.stdout))
    medians = {what: statistics.median(found) for what, found in times.items()}
    return [Figure(START_GROUP, what, 1e6 * found, f"{1e3 * found:.0f} ms", None) for what, found in medians.items()]
