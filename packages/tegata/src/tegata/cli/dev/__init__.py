"""`tegata dev`: a whole Tegata on this machine, with its own PostgreSQL, two tenants and known passwords."""
