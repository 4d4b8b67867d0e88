"""What no template of ours may contain: each guard reads an assembly and returns what is wrong, in words.

`test_guards.py` runs all of them over every deployment; `test_guards_fail.py` shows each of them a template that it has
to object to.
"""
