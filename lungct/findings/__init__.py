"""From masks and probabilities to what the report says."""
