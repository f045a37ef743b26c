"""Where networks run and where their weights come from."""
