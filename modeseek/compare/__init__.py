"""Methods side by side: the same prompts, seeds and generators, distances to DDIM samples, cost beside quality."""
