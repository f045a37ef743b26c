"""How good the models are: measures, data they were not trained on, and pictures to look at."""
