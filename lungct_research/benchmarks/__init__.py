"""Run time, memory and agreement, measured on the machine at hand."""
