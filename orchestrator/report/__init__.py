"""Tell what came out of a sweep, as one page for people and as numbers for programs."""
