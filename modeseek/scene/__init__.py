"""Text to 3D: a radiance field driven to a mode, and what comes out of it."""
