"""Keep what happened for machines: as lines of JSON, and as figures for Prometheus."""
