"""Classical sparse coding on the rows of any decoder: codes without an encoder, and decoders learnt from such codes."""
