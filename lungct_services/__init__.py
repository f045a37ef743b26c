"""Services around the analysis: the gateway of a hospital and the de-identification of studies."""
