"""Secrets, their rotation, and passwordless PostgreSQL. Empty until its first feature lands."""
