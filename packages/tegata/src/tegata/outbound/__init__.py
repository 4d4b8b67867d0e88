"""Every request that Tegata makes to an address somebody else wrote goes through here (ARCHITECTURE, invariant 7)."""
