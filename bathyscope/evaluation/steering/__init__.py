"""Whether steering did what it was meant to do: answers rated by judges that say how far they can be trusted."""
