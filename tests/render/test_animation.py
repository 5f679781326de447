"""Animations on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teach_gym.cli import main
from teach_gym.core.build import make_task
from teach_gym.registration import task_kwargs
from teach_gym.render import frame
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
    save_animation(frames, tmp_path / "run.webp", fps=5)
    with Image.open(tmp_path / "run.webp") as webp:
        assert webp.format == "WEBP" and webp.n_frames == 6 and webp.size == (WIDTH, HEIGHT)
        webp.seek(5)
        assert np.abs(np.asarray(webp.convert("RGB")).astype(int) - frames[5]).mean() < 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.PNG", "run.gif", "run.webp"]


@pytest.mark.parametrize(("every", "kept"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])])
def test_frames_of_some_steps(every: int, kept: list[int]) -> None:
    task = make_task("LabelMoons")
    frames = animate(task, *lesson(task, make_teacher("greedy"), [3], steps=5))
    some = animate(task, *lesson(task, make_teacher("greedy"), [3], steps=5), every=every)
    np.testing.assert_array_equal(some, [frames[i] for i in kept])


def test_animation_ends_with_the_episode() -> None:
    task = make_task(**{**task_kwargs("LabelMoons"), "budget": 4})
    assert len(animate(task, *lesson(task, make_teacher("passive"), [0]))) == 5
    assert len(animate(task, *lesson(task, make_teacher("passive"), [0], steps=99))) == 5


def test_bad_animations(tmp_path: Path) -> None:
    frames = [np.zeros((4, 4, 3), dtype=np.uint8)]
    with pytest.raises(ValueError, match=r"must be \.gif, \.webp, \.mp4 or \.png, got '\.avi'"):
        save_animation(frames, tmp_path / "run.avi")
    with pytest.raises(ValueError, match="no frames"):
        save_animation([], tmp_path / "run.gif")
    with pytest.raises(ValueError, match=r"fps must lie in \[0.01, 50\], got 0"):
        save_animation(frames, tmp_path / "run.gif", fps=0)
    with pytest.raises(ValueError, match="steps must be > 0"):
        lesson(make_task("LabelMoons"), make_teacher("greedy"), [0], steps=0)
    with pytest.raises(ValueError, match="continuous"):
        lesson(make_task("LabelMoons", continuous=True), make_teacher("planning"), [0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(640, 360), (321, 181)])
def test_videos_hold_the_frames(size: tuple[int, int], tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    task = make_task("MixupDigits10")
    frames = animate(
        task, *lesson(task, make_teacher("greedy"), [3], steps=4), name="Name", teacher="greedy", size=size
    )
    assert all(frame.shape == (size[1], size[0], 3) for frame in frames)
    save_animation(frames, tmp_path / "run.mp4", fps=5)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "run.mp4"))
    about = next(reader)
    columns, rows = about["size"]
    assert about["codec"] == "h264" and about["fps"] == 5 and (columns, rows) == tuple(n - n % 2 for n in size)
    shown = [np.frombuffer(raw, dtype=np.uint8).reshape(rows, columns, 3) for raw in reader]
    assert len(shown) == len(frames)
    for found, drawn in zip(shown, frames, strict=True):
        assert np.abs(found.astype(int) - drawn[:rows, :columns]).mean() < 4


def test_without_the_encoder_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"pip install 'teach_gym\[video\]'"):
        save_animation([np.zeros((360, 640, 3), dtype=np.uint8)], tmp_path / "run.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [("run.mp4", "video"), ("run.bmp", "suffix must be .gif")])
def test_nothing_is_drawn_for_a_file_that_cannot_be_written(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(frame, "animate", lambda *a, **k: pytest.fail("frames were drawn"))
    assert main(["render", "LabelMoons", "greedy", "--out", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.png"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        save_animation([np.zeros((4, 4, 7))], path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
