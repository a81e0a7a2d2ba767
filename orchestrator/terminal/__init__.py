"""Meet the user at a terminal: errors, signals, progress and words."""
