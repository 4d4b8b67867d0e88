"""The back channel over HTTP: routes, tenancy, errors, health. Plain ASGI: the form parser must refuse repeats."""
