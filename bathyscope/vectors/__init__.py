"""Learn directions from labelled activations, check them on texts that did not teach them, and exchange them."""
