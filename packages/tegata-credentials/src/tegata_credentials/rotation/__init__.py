"""Changing a secret at the store and at what it opens, in four steps that may each be repeated: no request fails."""
