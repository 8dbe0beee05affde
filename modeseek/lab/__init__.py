"""The laboratory in the plane: any method on any set whose density is known. Imports nothing: ``--help`` is quick."""
