"""The teaching step and its parts: learners, media, targets, observations, rewards; a task from its spec."""
