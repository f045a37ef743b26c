"""How the networks were made and how good they are."""
