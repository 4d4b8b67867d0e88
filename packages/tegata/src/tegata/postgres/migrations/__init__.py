"""The history of the schema. Operations are written by hand; `tenant_table` emits the wall around each table."""
