"""Ways to the daemon through somebody else's server."""
