"""The daemon: workspaces served to programs in other processes."""
