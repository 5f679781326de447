"""Run records: scalars, checkpoints and going on after a crash."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from teach_gym.core.spec import TaskSpec
from teach_gym.errors import DamagedDataError
from teach_gym.records.runlog import RunLog, restore

SPEC = TaskSpec(budget=5)
CONFIG = {"lr": 0.1, "sizes": (4, 4)}


def open_log(folder: Path, **options: Any) -> RunLog:
    return RunLog(folder, options.pop("config", CONFIG), spec=options.pop("spec", SPEC), **options)


def with_checkpoints(folder: Path, *steps: int, **options: Any) -> None:
    with open_log(folder, **options) as log:
        for step in range(1, max(steps) + 1):
            log.log(step, value=step / 3)
            if step in steps:
                log.checkpoint(step, {"net": {"w": torch.full((2,), float(step))}, "lr": 0.5}, note=f"at {step}")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_config_is_whole_and_tells_task_and_versions(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    found = json.loads((tmp_path / "config.json").read_text())
    assert TaskSpec(**found["task"]) == SPEC
    assert found["config"] == {"lr": 0.1, "sizes": [4, 4]}
    assert {"teach_gym", "numpy", "torch", "python"} <= set(found["versions"])


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with open_log(tmp_path) as log:
        log.log(1, value=0.5)
        with pytest.raises(BlockingIOError, match="is being written by another process"):
            open_log(tmp_path, resume=True)
        log.log(2, value=0.7)
        assert (tmp_path / "progress.csv").read_text() == "step,value\n1,0.5\n2,0.7\n"
    open_log(tmp_path, resume=True).close()


def test_a_refused_run_leaves_its_folder_free(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    for refused in ({"resume": False}, {"resume": True, "config": {"lr": 0.2}}):
        with pytest.raises((FileExistsError, ValueError), match=r"holds a run already|is of another config"):
            open_log(tmp_path, **refused)
    open_log(tmp_path, resume=True).close()


def test_progress_has_one_header_and_one_row_per_step(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.log(1, a=0.1, n=7)
        assert (tmp_path / "progress.csv").read_text() == "step,a,n\n1,0.1,7\n"  # on disk at once
        log.log(1, a=0.3)
        log.log(2, a=1 / 3, late=float("nan"))
        log.log(2, late=2.0)
        log.log(5)
        with pytest.raises(ValueError, match="got 4 after 5"):
            log.log(4, a=1.0)
        with pytest.raises(TypeError, match="'a' must be a number"):
            log.log(6, a="high")  # type: ignore[arg-type]
    text = (tmp_path / "progress.csv").read_text()
    assert text == f"step,a,n,late\n1,0.3,7,\n2,{1 / 3!r},,2.0\n5,,,\n"


def test_checkpoints_come_back_and_two_are_kept(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1, 2, 4)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        f"{step:012d}.{ending}" for step in (2, 4) for ending in ("json", "pt")
    ]
    found = restore(tmp_path)
    assert found is not None
    assert (found.step, found.state, found.spec, found.tensors["lr"]) == (4, {"note": "at 4"}, SPEC, 0.5)
    assert torch.equal(found.tensors["net"]["w"], torch.full((2,), 4.0))
    assert found.config == {"lr": 0.1, "sizes": [4, 4]}


def test_resume_drops_rows_after_the_checkpoint(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 2)
    with open_log(tmp_path, resume=True) as log:
        assert log.restored is not None and log.restored.step == 2
        log.log(3, value=9.0)
    with (tmp_path / "progress.csv").open("a") as file:
        file.write("4,1.0\n5")  # a row after the checkpoint and one cut off
    with open_log(tmp_path, resume=True) as log:
        log.log(3, value=8.0)
    assert (tmp_path / "progress.csv").read_text() == f"step,value\n1,{1 / 3!r}\n2,{2 / 3!r}\n3,8.0\n"


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    with open_log(tmp_path, resume=True) as log:
        log.log(1, a=1.0)
    with open_log(tmp_path, resume=True) as log:
        assert log.restored is None
        log.log(1, a=2.0)
    assert (tmp_path / "progress.csv").read_text() == "step,a\n1,2.0\n"
    assert restore(tmp_path) is None


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    before = (tmp_path / "progress.csv").read_bytes()
    with pytest.raises(FileExistsError, match="holds a run already"):
        open_log(tmp_path)
    assert (tmp_path / "progress.csv").read_bytes() == before


@pytest.mark.parametrize("ending", [".pt", ".json"])
@pytest.mark.parametrize("how", ["damaged", "cut", "missing"])
def test_a_damaged_checkpoint_falls_back(tmp_path: Path, ending: str, how: str) -> None:
    with_checkpoints(tmp_path, 1, 2)
    newest = tmp_path / "checkpoints" / f"{2:012d}{ending}"
    if how == "damaged":
        damage(newest) if ending == ".pt" else newest.write_text("[]")
    elif how == "cut":
        newest.write_bytes(newest.read_bytes()[:30])
    else:
        newest.unlink()
    if (ending, how) == (".json", "missing"):  # killed before the sidecar: never counted
        found = restore(tmp_path)
    else:
        with pytest.warns(UserWarning, match="damaged checkpoint"):
            found = restore(tmp_path)
    assert found is not None and found.step == 1


def test_damaged_checkpoints_do_not_push_out_good_ones(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1, 2)
    damage(tmp_path / "checkpoints" / f"{2:012d}.pt")
    with pytest.warns(UserWarning, match="damaged checkpoint"), open_log(tmp_path, resume=True) as log:
        assert log.restored is not None and log.restored.step == 1
    assert [p.stem for p in (tmp_path / "checkpoints").glob("*.pt")] == [f"{1:012d}"]


def test_no_whole_checkpoint_is_an_error(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1, 2)
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        damage(path)
    with pytest.warns(UserWarning), pytest.raises(DamagedDataError, match="all 2 checkpoints"):
        restore(tmp_path)


@pytest.mark.parametrize("kills", [1, 2])
def test_a_removal_cut_short_by_a_kill_is_completed(
    kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_checkpoints(tmp_path, 1, 2)
    unlink, left = Path.unlink, [kills]

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.exists() and "000000000001." in path.name:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as changed, pytest.raises(KeyboardInterrupt):
        changed.setattr(Path, "unlink", killed)
        with open_log(tmp_path, resume=True) as log:
            log.checkpoint(4, {})
    with open_log(tmp_path, resume=True) as log:
        assert log.restored is not None and log.restored.step == 4
    assert sorted(p.stem for p in (tmp_path / "checkpoints").iterdir()) == ["000000000002"] * 2 + ["000000000004"] * 2


def test_another_task_or_config_is_refused_naming_both(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    with pytest.raises(ValueError, match=r"another task: there \{'budget': 5\}, here \{'budget': 6\}"):
        open_log(tmp_path, spec=TaskSpec(budget=6), resume=True)
    with pytest.raises(ValueError, match=r"another config: there \{'lr': 0.1\}, here \{'lr': 0.2\}"):
        open_log(tmp_path, config={**CONFIG, "lr": 0.2}, resume=True)
    with pytest.raises(ValueError, match="another task"):
        restore(tmp_path, spec=TaskSpec(budget=6))
    long = {**CONFIG, "hyper": {f"option {i}": 0.5 for i in range(100)}}
    with_checkpoints(tmp_path / "long", 1, config=long)
    with pytest.raises(
        ValueError, match=r"there \{'hyper': \{'option 7': 0.5\}\}, here \{'hyper': \{'option 7': 2\}\}$"
    ):
        open_log(tmp_path / "long", config={**long, "hyper": {**long["hyper"], "option 7": 2}}, resume=True)


@pytest.mark.parametrize("kind", ["task", "config"])
@pytest.mark.parametrize("value", [..., "text", [1], 0.5])
def test_a_run_of_no_task_or_config_is_damaged(kind: str, value: Any, tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    about = json.loads((tmp_path / "config.json").read_text())
    about.pop(kind)
    (tmp_path / "config.json").write_text(json.dumps(about if value is ... else {**about, kind: value}))
    with pytest.raises(DamagedDataError, match=rf"config.json is damaged: its {kind} is no JSON object"):
        open_log(tmp_path, resume=True)


def test_a_checkpoint_of_no_step_is_passed_over(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1, 2)
    card = tmp_path / "checkpoints" / f"{2:012d}.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "step": None}))
    with pytest.warns(UserWarning, match="damaged checkpoint"), open_log(tmp_path, resume=True) as log:
        assert log.restored is not None and log.restored.step == 1


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    with open_log(tmp_path) as log:
        log.checkpoint(1, {"evil": Evil()})
    with pytest.raises(Exception, match=r"[Ww]eights"):
        restore(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_bad_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown wandb mode 'on'"):
        open_log(tmp_path, wandb="on")
    with pytest.raises(TypeError, match="plain JSON"):
        open_log(tmp_path, config={"x": {1}})
    assert not list(tmp_path.iterdir())


def test_importing_loads_no_torch() -> None:
    code = "import sys, teach_gym.records.runlog; assert not {'torch', 'wandb', 'tensorboard'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("option", "module"), [({"tensorboard": True}, "tensorboard"), ({"wandb": "offline"}, "wandb")]
)
def test_a_missing_extra_is_named(
    tmp_path: Path, option: dict[str, Any], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (module, "torch.utils.tensorboard") if module == "tensorboard" else (module,):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'teach_gym\[agents\]'"):
        open_log(tmp_path, **option)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_holds_the_scalars_and_forgets_what_is_resumed(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_log(tmp_path, tensorboard=True) as log:
        log.log(1, a=1.0)
        log.checkpoint(1, {})
        log.log(2, a=2.0)
        log.log(3, a=3.0)
    with open_log(tmp_path, tensorboard=True, resume=True) as log:
        log.log(2, a=5.0)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("a")] == [(1, 1.0), (2, 5.0)]


@pytest.mark.slow  # wandb starts a process of its own and takes its time on a busy machine
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_offline_logs_real_scalars_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with open_log(tmp_path, wandb="offline") as log:
        log.log(1, score=0.25)
        log.log(2, score=0.5)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 30  # the file is written by a process of wandb's own
    while len(found := wandb_history(file)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == [{"step": 1, "score": 0.25}, {"step": 2, "score": 0.5}]


def wandb_history(path: Path) -> list[dict[str, Any]]:
    """The logged rows of a short offline run so far: LevelDB's log format (one block) of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, rows, place = path.read_bytes(), [], 7
    while place < len(content):
        if place + 7 > len(content):
            break  # still being written
        _checksum, length, kind = struct.unpack_from("<IHB", content, place)
        if place + 7 + length > len(content):
            break
        assert kind == 1  # a whole record
        record = Record()
        record.ParseFromString(content[place + 7 : place + 7 + length])
        place += 7 + length
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            rows.append({key: value for key, value in items.items() if not key.startswith("_")})
    return rows
