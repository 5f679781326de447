"""Teachers written as text, which the command line and ``make_teacher`` read alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from teach_gym import pretrained
from teach_gym.errors import DamagedDataError
from teach_gym.teachers import canonical_teacher, make_teacher, parse_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.teachers.oracles.last import GreedyLAST

NAME = "ppo/LabelMoons-v0"


def test_options_may_be_written_or_given() -> None:
    expected = GreedyLAST(constraint="soft", radius=0.5)
    assert make_teacher("last:constraint=soft,radius=0.5") == expected
    assert make_teacher("last:constraint=soft", radius=0.5) == make_teacher("last", constraint="soft", radius=0.5)
    with pytest.raises(TypeError, match=r"'last:radius=1.0' is given radius twice"):
        make_teacher("last:radius=1.0", radius=0.5)
    with pytest.raises(TypeError, match=r"no option constrain;.*did you mean 'constraint'"):
        make_teacher("last:constrain=soft")
    with pytest.raises(ValueError, match=r"unknown teacher 'lats'.*did you mean 'last'"):
        make_teacher("lats:constraint=soft")


def test_a_pretrained_teacher_is_made_by_its_name_its_file_or_its_kind_with_either() -> None:
    path = str(pretrained.find(NAME))
    for text in (NAME, path, f"agent:{NAME}", f"agent:{path}", f"agent:path={path!r}"):
        teacher = make_teacher(text)
        assert isinstance(teacher, Agent) and teacher.path in (NAME, path)
        assert parse_teacher(text)[0] == "agent"


def test_a_file_that_is_missing_or_holds_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no teacher at 'runs/x\.safetensors'; pretrained ones: .*{NAME}"):
        make_teacher("runs/x.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no tensors")
    with pytest.raises(DamagedDataError, match=re.escape(str(damaged))):
        make_teacher(str(damaged))


def test_canonical_spelling() -> None:
    assert canonical_teacher("last: radius = 1.0 , constraint='soft'") == "last:constraint=soft,radius=1.0"
    assert canonical_teacher(NAME) == canonical_teacher(f"agent:path={NAME!r}") == f"agent:{NAME}"
