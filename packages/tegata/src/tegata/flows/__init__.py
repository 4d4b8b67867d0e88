"""One module for each endpoint or use case: load, decide, write. Knows no HTTP and no SQL."""
