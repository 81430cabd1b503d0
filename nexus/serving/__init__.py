"""The daemon of a repository put together: how it is found, started and ended, and what its process does."""
