"""`tegata ...`: argument parsing over the same flows that the server uses. One module for each command."""
