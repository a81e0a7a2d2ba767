"""Drive a sweep from the CSV to the bundle; the command line is its face."""
