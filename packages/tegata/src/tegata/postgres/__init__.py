"""PostgreSQL: the storage ports behind forced row-level security, the schema, its migrations and its proof.

Owns every line of SQL of the product. Must not import `flows`, `api`, `web`, `settings` or `app`.
"""
