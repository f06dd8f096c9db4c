"""Where in the network a variable lives, checked by changing it there and reading the output."""
