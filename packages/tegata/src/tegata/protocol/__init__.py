"""The rules of OAuth 2.0 and OpenID Connect as pure functions over values.

Owns what a request may ask and what an answer must contain. Imports no framework, driver, clock, randomness or logger.
"""
