"""The token endpoint: one module for each grant, one for the dispatch, one for issuing."""
