"""Animations on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teach_gym.core.build import make_task
from teach_gym.registration import task_kwargs
from teach_gym.render.frame import HEIGHT, WIDTH, animate, save_animation
from teach_gym.teachers import lesson, make_teacher


def test_animation_on_disk(tmp_path: Path) -> None:
    task = make_task("MixedMoons")
    frames = animate(task, *lesson(task, make_teacher("greedy"), [3], steps=5))
    assert len(frames) == 6
    again = animate(task, *lesson(task, make_teacher("greedy"), [3], steps=5))
    assert all((a == b).all() for a, b in zip(frames, again, strict=True))
    save_animation(frames, tmp_path / "run.gif", fps=5)
    with Image.open(tmp_path / "run.gif") as gif:
        assert gif.format == "GIF" and gif.n_frames == 6 and gif.size == (WIDTH, HEIGHT)
        assert gif.info["duration"] == 200
        gif.seek(5)
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - frames[5]).mean() < 4
    save_animation(frames, tmp_path / "run.PNG")
    with Image.open(tmp_path / "run.PNG") as png:
        np.testing.assert_array_equal(np.asarray(png), frames[-1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.PNG", "run.gif"]


def test_animation_ends_with_the_episode() -> None:
    task = make_task(**{**task_kwargs("LabelMoons"), "budget": 4})
    assert len(animate(task, *lesson(task, make_teacher("passive"), [0]))) == 5
    assert len(animate(task, *lesson(task, make_teacher("passive"), [0], steps=99))) == 5


def test_bad_animations(tmp_path: Path) -> None:
    frames = [np.zeros((4, 4, 3), dtype=np.uint8)]
    with pytest.raises(ValueError, match=r"must be \.gif or \.png, got '\.mp4'"):
        save_animation(frames, tmp_path / "run.mp4")
    with pytest.raises(ValueError, match="no frames"):
        save_animation([], tmp_path / "run.gif")
    with pytest.raises(ValueError, match=r"fps must lie in \[0.01, 50\], got 0"):
        save_animation(frames, tmp_path / "run.gif", fps=0)
    with pytest.raises(ValueError, match="steps must be > 0"):
        lesson(make_task("LabelMoons"), make_teacher("greedy"), [0], steps=0)
    with pytest.raises(ValueError, match="continuous"):
        lesson(make_task("LabelMoons", continuous=True), make_teacher("planning"), [0])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.png"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        save_animation([np.zeros((4, 4, 7))], path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
