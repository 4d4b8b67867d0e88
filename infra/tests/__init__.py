"""Tests of the templates, and of the constructs that make them."""
