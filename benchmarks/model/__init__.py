"""A model of a search: simulated workers and drivers on a real database, in seeded schedules."""
