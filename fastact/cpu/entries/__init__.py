"""Compiled builtins for calls like earlier ones: they look at the arguments, and run the loop."""
