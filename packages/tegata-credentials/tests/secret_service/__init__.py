"""Tests of the service that reads secrets; `scripted` holds the store, the clocks and the observer they direct."""
