"""What the tests of all teachers share."""

from __future__ import annotations

import dataclasses
from typing import Any

from teach_gym.teachers import TEACHERS, teacher_class

MADE = [name for name in TEACHERS if "path" not in {f.name for f in dataclasses.fields(teacher_class(name))}]  # type: ignore[arg-type]
"""The teachers that are not read from a file."""

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "planning": [{"horizon": 2, "samples": 2}, {"horizon": 3, "clairvoyant": True, "beam": 3}],
    "last": [{}, {"horizon": "budget"}, {"horizon": 3, "clairvoyant": True}],
    "bootstrapping": [{}, {"hard": False}],
    "dht": [{}, {"label_source": "uniform"}],
}
"""The options with which a teacher is tested, where its defaults are not enough."""
