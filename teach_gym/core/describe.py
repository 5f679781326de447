"""One plain sentence about a task, for pages and reports."""

from __future__ import annotations

from teach_gym.core.spec import BLACK_BOX, TaskSpec

ACTS = {
    "label": "chooses the label of the example it is shown",
    "mixup": "chooses how two examples are mixed into the one it is shown",
    "perturb": "moves the features of the example it is shown",
    "performative": "rotates the hidden features of the example it is shown",
    "select": "chooses which of {n} examples it is shown",
    "mixed": "chooses which of {n} examples it is shown, and its label",
}
"""Medium -> what a teacher does at each step."""

LEARNERS = {
    "least_squares": "a linear regression",
    "logistic": "a logistic regression",
    "margin_logistic": "a logistic regression with labels -1 and 1",
    "softmax": "a softmax classifier",
    "mlp": "a neural network with one hidden layer",
    "mlp_logistic": "a two-class neural network with one hidden layer",
}
"""Learner -> what it is."""

POOLS = {
    "linear_regression": "to predict a linear function from noisy points",
    "half_moons": "to separate two half-moons in the plane",
    "gaussian_clusters": "to separate two Gaussian clusters in the plane",
    "digits": "to recognise handwritten digits of 8 x 8 pixels",
    "mnist": "to recognise handwritten digits of MNIST",
    "array": "the rows of a file",
}
"""Pool -> what is learned."""

_N_SOURCES = {"select": 8, "mixed": 4}


def sentence(spec: TaskSpec) -> str:
    """What happens in a task, in plain English.

    Args:
        spec: the task's specification.

    Returns:
        One or two sentences, such as "A logistic regression learns to separate two half-moons in the plane; at each of
        60 steps, the teacher chooses the label of the example it is shown."
    """
    acts = ACTS[spec.medium].format(n=spec.medium_options.get("n_sources", _N_SOURCES.get(spec.medium)))
    learner = LEARNERS[spec.learner] + (" with momentum" if spec.momentum else "")
    classes, noise = spec.pool_options.get("classes"), spec.pool_options.get("label_noise")
    pool = POOLS[spec.pool]
    if classes:
        pool += ", " + ", ".join(map(str, classes[:-1])) + f" and {classes[-1]}"
    if noise:
        pool += f", {100 * noise:.0f} % of which have a wrong label"
    text = f"{learner[0].upper()}{learner[1:]} learns {pool}; at each of {spec.budget} steps, the teacher {acts}."
    if spec.observation in BLACK_BOX:
        text += " The teacher can query the learner, but sees neither its parameters nor the target."
    return text
