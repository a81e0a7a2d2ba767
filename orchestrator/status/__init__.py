"""Say how far a run is, once or for as long as it lasts."""
