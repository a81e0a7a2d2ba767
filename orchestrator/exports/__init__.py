"""Write a study for other tools."""
