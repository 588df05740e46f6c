"""Arrays in, numbers out: metrics, calibration, bootstrap, significance, detector search. No torch."""
