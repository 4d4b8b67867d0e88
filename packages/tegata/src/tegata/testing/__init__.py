"""Public test helpers: storage in memory, PostgreSQL clusters, clocks and fakes. Product code must not import it."""
