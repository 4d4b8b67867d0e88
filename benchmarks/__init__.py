"""What the hot endpoints cost: operations for each second of CPU that one server process uses."""
