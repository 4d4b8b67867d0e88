"""One module for each grant type: what a token request must satisfy. Grants do not import each other."""
