"""Frames, drawn with Pillow."""
