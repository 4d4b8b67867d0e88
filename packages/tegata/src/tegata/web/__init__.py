"""The front channel: pages a person's browser visits.

Owns what a page looks like and says. Reaches storage through `tegata.flows` only.
"""
