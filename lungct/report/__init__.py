"""The results for people and machines: ``result.json``, pictures, PDF and HTML."""
