"""Show a run as one page that opens without a server or a network."""
