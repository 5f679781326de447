"""The pages say what the environments are: tables against the spaces, and the committed pages against the code."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from conftest import names
from PIL import Image

from teach_gym.core.build import make_task
from teach_gym.core.media import CONTINUOUS_MEDIA, MEDIA
from teach_gym.errors import DataNotFoundError
from teach_gym.registration import NEURAL_TASKS, TASKS, env_id
from tools import docs
from tools.notes import NOTES
from tools.pages import HEADINGS, neural_page, page
from tools.pictures import IMAGE_SIZE, write_images

FOLDER = Path(__file__).parents[2] / "docs" / "environments"
HAS_TORCH = importlib.util.find_spec("torch") is not None


def section(text: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found.group(1)


def rows(text: str, head: str) -> list[list[str]]:
    """Cells of the rows of the Markdown table whose head starts with the given cell."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


@pytest.fixture(scope="module", params=names())
def made(request: pytest.FixtureRequest) -> tuple[str, gym.Env, str]:
    """Name, environment and page of every registered task."""
    env = gym.make(env_id(request.param))
    return request.param, env, page(request.param)


def test_headings_are_there_in_order(made: tuple[str, gym.Env, str]) -> None:
    found = re.findall(r"^## (.*)$", made[2], flags=re.MULTILINE)
    assert [h for h in found if h in HEADINGS] == list(HEADINGS)
    assert all(section(made[2], h).strip() for h in HEADINGS)


def test_action_table_has_a_row_per_action(made: tuple[str, gym.Env, str]) -> None:
    _, env, text = made
    table = rows(section(text, "Action space"), "action")
    assert [int(row[0]) for row in table] == list(range(int(env.action_space.n)))
    assert len({row[1] for row in table}) == len(table)


def test_observation_table_covers_the_space(made: tuple[str, gym.Env, str]) -> None:
    _, env, text = made
    low, high = np.empty(env.observation_space.shape), np.empty(env.observation_space.shape)
    expected = 0
    for _, entries, block_low, block_high, meaning in rows(section(text, "Observation space"), "block"):
        start, stop = (int(n) for n in entries.split(":"))
        assert start == expected and stop > start and meaning
        low[start:stop], high[start:stop] = float(block_low), float(block_high)
        expected = stop
    assert expected == env.observation_space.shape[0]
    np.testing.assert_array_equal(low, env.observation_space.low)
    np.testing.assert_array_equal(high, env.observation_space.high)


def test_argument_table_is_what_the_task_was_made_from(made: tuple[str, gym.Env, str]) -> None:
    name, _, text = made
    found = {row[0].strip("`"): json.loads(row[1].strip("`")) for row in rows(section(text, "Arguments"), "argument")}
    for key, value in TASKS[name].items():
        assert found[key] == value


def test_continuous_table_equals_the_box(continuous_name: str) -> None:
    box = gym.make(env_id(continuous_name), continuous=True).action_space
    assert isinstance(box, gym.spaces.Box)
    low, high = np.full(box.low.size, np.nan), np.full(box.low.size, np.nan)
    for entries, entry_low, entry_high in rows(section(page(continuous_name), "Action space"), "entries"):
        start, stop = (int(n) for n in entries.split(":"))
        low[start:stop], high[start:stop] = float(entry_low), float(entry_high)
    np.testing.assert_allclose(low, box.low.ravel())
    np.testing.assert_allclose(high, box.high.ravel())


def test_use_block_runs() -> None:
    code = re.search(r"```python\n(.*?)```", page("LabelMoons"), flags=re.DOTALL)
    assert code is not None
    made: dict[str, object] = {}
    exec(code.group(1), made)
    assert isinstance(made["box"].action_space, gym.spaces.Box)  # type: ignore[attr-defined]
    assert made["envs"].num_envs == 64  # type: ignore[attr-defined]


def test_committed_pages_are_not_stale() -> None:
    stale = docs.check_all(FOLDER, [*TASKS, *(NEURAL_TASKS if HAS_TORCH else ())])
    assert stale == [], f"{stale} are stale; run: python -m tools.docs"


@pytest.mark.skipif(not HAS_TORCH, reason="networks need torch")
@pytest.mark.parametrize("name", NEURAL_TASKS)
def test_page_of_a_network_task_says_what_it_is(name: str) -> None:
    text, kwargs = neural_page(name), {"pool": "patterns", "validation": 100, "epochs": 1, "batch_size": 20}
    env = gym.make(env_id(name), **kwargs)
    assert [h for h in re.findall(r"^## (.*)$", text, flags=re.MULTILINE) if h in HEADINGS] == list(HEADINGS)
    assert " ".join(repr(env.action_space).split()) in text and " ".join(repr(env.observation_space).split()) in text
    found = {row[0].strip("`"): json.loads(row[1].strip("`")) for row in rows(section(text, "Arguments"), "argument")}
    assert NEURAL_TASKS[name].items() <= found.items() and set(kwargs) < set(found)


def test_actions_of_the_index_are_those_that_environments_have(name: str) -> None:
    line = next(row for row in rows(docs.index(), "task") if row[0].startswith(f"[{name}]"))
    task = make_task(name)
    assert line[4] == ("discrete" if task.medium.low is None else "discrete, Box")
    assert (task.spec.medium in CONTINUOUS_MEDIA) == (task.medium.low is not None)


@pytest.mark.parametrize("medium", MEDIA)
def test_descriptions_list_no_actions(medium: str) -> None:
    """A task's options decide its grid; the table of actions is made from the task."""
    entry = next(gym.spec(env_id(name)).entry_point for name in TASKS if TASKS[name]["medium"] == medium)
    module, _, name = str(entry).partition(":")
    described = getattr(importlib.import_module(module), name).__doc__
    assert not re.search(r"\{[\d., ]+\}", described)


def test_every_task_has_a_picture_and_a_moving_lesson_and_they_are_small() -> None:
    images = FOLDER.parent / "images"
    for name in (*TASKS, *NEURAL_TASKS):
        text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        for file, least in ((f"{name}.png", 1), (f"{name}.webp", 5)):
            assert f"(../images/{file})" in text
            with Image.open(images / file) as image:
                assert getattr(image, "n_frames", 1) >= least
    assert sum(path.stat().st_size for path in images.rglob("*") if path.is_file()) < 6_500_000


def test_pictures_are_drawn_from_the_task(tmp_path: Path) -> None:
    still, moving = None, None
    for path in write_images(tmp_path, ["SelectMoons"]):
        with Image.open(path) as image:
            if path.suffix == ".png":
                still = image.size
            else:
                moving = (image.size, image.n_frames)
    assert still == (640, 360) and moving == (IMAGE_SIZE, 21)


def test_check_names_missing_and_changed_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "TASKS", {name: TASKS[name] for name in ("LabelMoons", "SelectMoons")})
    monkeypatch.setattr(docs, "NEURAL_TASKS", {})
    folder = tmp_path / "docs" / "environments"
    everything = ["LabelMoons.md", "SelectMoons.md", "README.md"]
    assert docs.check_all(folder) == everything
    assert docs.main(["--check", str(folder)]) == 1
    other = folder / "notes.md"
    assert sorted(path.name for path in docs.write_all(folder)) == sorted(everything)
    other.write_text("kept")
    assert docs.check_all(folder) == []
    assert docs.main(["--check", str(folder)]) == 0
    (folder / "SelectMoons.md").write_text("old")
    assert docs.check_all(folder) == ["SelectMoons.md"]
    assert docs.main([str(folder)]) == 0
    assert docs.check_all(folder) == []
    assert other.read_text() == "kept"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*everything, "notes.md"])


def test_calibration_numbers_reach_page_and_index(tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    numbers = {
        "passive": {"mean": 45.12, "margin": 0.31, "std": 5.0, "episodes": 999},
        "greedy": {"mean": 91.0, "margin": 0.0, "std": 2.25, "episodes": 200},
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "calibration.json").write_text(json.dumps({"LabelMoons": numbers}))
    calibration = docs.read_calibration(folder)
    text = section(page("LabelMoons", calibration), "Room for teaching")
    assert rows(text, "teacher") == [["passive", "45.1 ± 0.4", "5.0", "999"], ["greedy", "91.0 ± 0.0", "2.2", "200"]]
    assert "Room for teaching" not in page("SelectMoons", calibration)
    line = next(row for row in rows(docs.index(calibration), "task") if row[0].startswith("[LabelMoons]"))
    assert line[-2:] == ["45.1 ± 0.4 %", "91.0 ± 0.0 %"]


def test_notes_reach_the_page() -> None:
    assert set(NOTES) <= set(TASKS)
    assert NOTES["LabelDigits"] in section(page("LabelDigits"), "Room for teaching")


def test_missing_data_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEACH_GYM_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr(docs, "TASKS", {name: TASKS[name] for name in ("LabelMoons", "LabelMNIST")})
    with pytest.raises(DataNotFoundError, match="teach-gym data mnist"):
        page("LabelMNIST")
    with pytest.raises(DataNotFoundError):
        docs.write_all(tmp_path / "environments")
    assert not (tmp_path / "environments").exists()
    with pytest.raises(SystemExit) as stopped:
        docs.main([str(tmp_path / "environments")])
    assert stopped.value.code == 2
    assert "teach-gym data mnist" in capsys.readouterr().err


def test_unknown_name_names_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 'LabelMoons'"):
        page("LabelMoon")


def test_readme_tables_are_not_stale() -> None:
    from tools.readme import filled

    root = Path(__file__).parents[2]
    assert filled(root) == (root / "README.md").read_text(encoding="utf-8"), "run python -m tools.readme"
