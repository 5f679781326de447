"""Stable-Baselines3: the vector environment, policies as teachers, their export."""
