"""Say for each feature when it fires, how often, what it writes, and next to whom."""
