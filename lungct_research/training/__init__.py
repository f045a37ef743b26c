"""Training of the three networks: examples, recipes, the loop and one module a network."""
