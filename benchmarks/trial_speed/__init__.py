"""Compare the pace of trials: the article's program, Ray Tune, KerasTuner, tagsweep."""
