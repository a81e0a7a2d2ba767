"""Keep, share and describe what a sweep ends in."""
