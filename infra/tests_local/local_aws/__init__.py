"""What the pieces of the infrastructure talk to in AWS, on loopback, as far as they talk to it."""
