"""Data sets on disk and the pools made from them."""
