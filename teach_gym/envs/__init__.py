"""Gymnasium environments, one module per medium; importing this package loads none of them."""
