"""Decides how a connection is encrypted: a token goes over the wire as it is, so only to a verified server."""
