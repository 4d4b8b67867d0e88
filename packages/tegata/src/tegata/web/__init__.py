"""The front channel: pages that a browser visits. Reaches storage through `flows` only; no inline script."""
