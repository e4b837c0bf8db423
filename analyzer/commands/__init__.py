"""What the command line can do: a module per command, with `register` (its arguments) and `run` (what it does)."""
