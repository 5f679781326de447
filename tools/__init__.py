"""Programs for the maintainers: generated pages, calibration and speed; not part of the wheel."""
