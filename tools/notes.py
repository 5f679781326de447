"""Notes on the registered tasks' settings, for their pages."""

from __future__ import annotations

_WRONG_LABELS = (
    "{share} % of the train rows have the label of another class, and w* is fitted to the true labels. On clean "
    "digits, which are separable, no choice of labels did better than plain SGD at its best learning rate. Here a "
    "teacher gains mostly by repairing or avoiding wrong labels."
)
_HALF_WRONG = (
    "40 % of the train rows have the label of another class, drawn uniformly. The 50 hold-out rows are clean, and an "
    "agent may judge labels by them. The learning rate is that at which plain SGD ends with the lowest loss on clean "
    "rows. See [label noise](../label-noise.md)."
)
NOTES: dict[str, str] = {
    "LabelRegression": "The noise of the labels has standard deviation 1: with 0.1, plain SGD at its best learning "
    "rate removes 96 % of the distance and leaves a teacher nothing to do.",
    "LabelDigits": _WRONG_LABELS.format(share=10),
    "LabelDigits10": _WRONG_LABELS.format(share=20) + " Actions are the ten one-hot labels, since a mixture that "
    "keeps at least half of a wrong label cannot repair it.",
    "LabelDigitsMLP": _WRONG_LABELS.format(share=10),
    "MixupDigits10": "10 % of the train rows have the label of another class, and w* is fitted to the true labels. On "
    "clean digits the greedy oracle is 9.8 points ahead of plain SGD at its best learning rate.",
    "BlackBoxNoisyDigits": _HALF_WRONG,
    "BlackBoxNoisyMNIST": _HALF_WRONG,
    "PerturbDigits": "Offsets are longer (radius 3) and along more axes (24) than the medium's defaults: with radius 1 "
    "along 4 axes the greedy oracle is 4 points ahead of plain SGD at its best learning rate.",
    "PerturbMNIST": "Offsets have radius 4: with radius 2 the greedy oracle is 9 points ahead of plain SGD at its best "
    "learning rate.",
    "PerformativeDigits": "Directions may move by epsilon = 0.6: with 0.5 the greedy oracle is 10.3 points ahead of "
    "plain SGD at its best learning rate, which is not significantly more than 10.",
    "MixedDigits": "8 examples are offered at a time: with 4 the greedy oracle is 9.5 points ahead of plain SGD at its "
    "best learning rate.",
}
"""Settings chosen so that a task leaves at least ten points of room above plain SGD at its best learning rate."""
