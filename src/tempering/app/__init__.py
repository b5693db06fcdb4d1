"""The use cases and the command line: the only room that wires others together."""
