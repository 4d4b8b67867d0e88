"""The only package that touches key material: digests, envelopes, signatures, passwords. Imports nothing of tegata."""
