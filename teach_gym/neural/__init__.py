"""Neural learners on images (torch, CPU and CUDA): networks, image pools, performative teaching, training."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError("tasks and learners with networks need torch: pip install 'teach_gym[torch]'") from error
