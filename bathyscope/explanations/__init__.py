"""Put a feature into words, and show whether the words beat chance."""
