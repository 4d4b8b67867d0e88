"""What the flows need kept: records, and the ports that keep them. Interfaces only; implementations live above."""
