"""Our own linters: rules of this project that ruff, mypy and import-linter cannot express.

Each rule is a function from a source file to findings. `allowed.toml` lists the exceptions, each with its reason.
"""
