"""Verification of access tokens for resource servers."""
