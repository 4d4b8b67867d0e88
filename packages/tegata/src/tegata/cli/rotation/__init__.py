"""Rotating secrets without Lambda: which, how, and what is told. The steps are those of `tegata_credentials`."""
