"""The rules about people: accounts, sessions, consent, throttling. Pure, like `tegata.protocol`."""
