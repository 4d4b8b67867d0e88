"""What stands in each kind of token."""
