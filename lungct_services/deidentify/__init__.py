"""Pseudonymised copies of studies, for sites that contribute data; the key to them stays with the site."""
