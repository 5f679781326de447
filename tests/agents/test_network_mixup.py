"""The section of agents that choose a network's mixup coefficients: its figures, and what it makes of them."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

sys.path.insert(0, str(Path(__file__).parents[2] / "agents"))

import network_mixup
from neural_cases import SMALL_MIXUP, spec

from teach_gym.benchmark.neural import BASELINES, Ends, ends_of
from teach_gym.benchmark.score import training_score
from teach_gym.calls import format_call
from teach_gym.training.subjects import subject_of


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_mixup, "training_score", functools.partial(training_score, resamples=20))


def test_figures_are_those_of_the_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {**SMALL_MIXUP, "epochs": 1, "reward": "holdout_progress"}
    command = ["network_mixup.py", "--out", str(tmp_path / "runs"), "--results", str(tmp_path / "a.json")]
    command += ["--page", str(tmp_path / "page.md"), "--task", format_call("BlackBoxMixupCIFAR10", changes)]
    command += ["--seeds", "1", "--other-seeds", "0", "--episodes", "2", "--overrides", "n_timesteps=16", "n_envs=4"]
    (tmp_path / "page.md").write_text(f"# A page\n\n{network_mixup.HEADING}\n\nolder\n")
    monkeypatch.setattr(network_mixup, "AGENTS", {"reinforce": "REINFORCE"})
    monkeypatch.setattr(sys, "argv", command)
    assert network_mixup.main() == 0
    found = json.loads((tmp_path / "a.json").read_text())
    seeds = range(network_mixup.FIRST_SEED, network_mixup.FIRST_SEED + 2)
    ours = found["ends"][network_mixup.NAMES["cmixup"]]
    wanted = ends_of(spec(epochs=1, reward="holdout_progress"), BASELINES["cmixup"], seeds)._asdict()
    np.testing.assert_equal({field: np.array(values[0]) for field, values in ours.items()}, wanted)
    assert set(found["ends"][network_mixup.CONSTANT]["mixing"][0]) == {1.0}
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# A page\n\n## BlackBoxMixupCIFAR10\n") and "older" not in page
    assert "| REINFORCE, drawn | 1 |" in page and "4,700,000" in page
    assert network_mixup.with_section(page, tmp_path / "none.json") == "# A page\n"


def results(**losses: Any) -> dict[str, Any]:
    """Figures in which every row has the given losses, (T, S), and everything else is constant."""
    rows = {}
    for name, values in losses.items():
        constant = np.zeros_like(values).tolist()
        rows[name] = {field: constant for field in Ends._fields} | {"validation_loss": np.asarray(values).tolist()}
    return rows


def test_differences_are_paired_and_cover_trainings() -> None:
    rng = np.random.default_rng(0)
    other = rng.normal(size=400)
    gaps = 0.3 + 0.1 * rng.normal(size=(1, 400))
    found = network_mixup.difference(other + gaps, other)
    half = 1.96 * gaps.std() / 20
    assert found.value == pytest.approx(gaps.mean())
    assert found.low == pytest.approx(gaps.mean() - half, abs=2e-3) and found.high - found.low < 0.03
    several = network_mixup.difference(other + np.array([[0.0], [1.0]]), other)
    assert several.value == pytest.approx(0.5) and (several.low, several.high) == pytest.approx((0.0, 1.0))


def test_tables_by_hand() -> None:
    names = network_mixup.NAMES
    losses = {
        names["erm"]: [[3.0, 3.0]],
        names["cmixup"]: [[2.0, 2.0]],
        names["dmixup"]: [[2.5, 2.5]],
        "PPO": [[1.5, 1.5]],
    }
    rows = network_mixup.score_table(results(**losses)).splitlines()
    assert "| PPO | 1 | **+1.50 [+1.50, +1.50]** | - | - | 0.00 |" in rows
    rows = network_mixup.metric_table(results(**losses), "validation_loss").splitlines()
    assert rows[-1].startswith("| PPO | 1.500 | **-1.500 [-1.500, -1.500]** | **-0.500 [")
    assert rows[2].startswith(f"| {names['erm']} | 3.000 |  | **+1.000 [")


def test_outcomes_say_what_the_intervals_say() -> None:
    names = network_mixup.NAMES
    losses = {
        names["erm"]: [[3.0, 3.1]],
        names["cmixup"]: [[2.0, 1.0]],
        names["dmixup"]: [[0.5, 0.5]],
        f"PPO{network_mixup.BEST}": [[1.5, 1.5]],
        "PPO, drawn": [[9.0, 9.0]],
    }
    assert network_mixup.outcome(results(**losses), "validation_loss") == (
        f"- Loss on the validation images: PPO is better than {names['erm']}, worse than {names['dmixup']}, "
        f"not measurably different from {names['cmixup']}."
    )


def test_the_task_of_the_section_is_one() -> None:
    found = subject_of(network_mixup.TASK).spec
    assert (found.images, found.epochs, found.coefficients) == (500, 20, (0.0, 0.5, 1.0))
