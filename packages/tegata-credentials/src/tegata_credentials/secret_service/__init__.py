"""Typed reads of secrets through a cache that rotation does not surprise."""
