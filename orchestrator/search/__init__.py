"""Search: watch workers until budget, time or user ends it, or be one of them."""
