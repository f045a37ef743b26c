"""Training of the three networks: data synthesis, augmentation and one script per network."""
