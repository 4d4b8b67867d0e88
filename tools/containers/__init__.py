"""What a container engine would do, as far as it can be done without one: for tests of images, compose files, charts.

`dockerfile` reads an image's definition, `image` builds it in a folder, `sandbox` runs one process in it as a container
runs: its own process numbers, a read-only root, a user without a name, no capability. The network is the machine's.
"""
