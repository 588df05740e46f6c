"""A benchmark of out-of-distribution detection and calibration for image classifiers."""

__version__ = "0.2.0"
