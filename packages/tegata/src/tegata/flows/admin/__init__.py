"""What an operator does to tenants: documents, plans, apply, export, signing keys. Knows no terminal and no HTTP."""
