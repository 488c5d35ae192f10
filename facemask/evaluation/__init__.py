"""What predictions are worth: metrics, intervals, calibration, errors."""
