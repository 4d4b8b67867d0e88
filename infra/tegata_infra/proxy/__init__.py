"""The nginx of Plan B: what its instances do at boot."""
