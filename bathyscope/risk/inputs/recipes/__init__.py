"""The eight laws of Wu and Hilton (arXiv 2410.13211), for any tokenizer and any local corpus.

The text of every law begins with the tokenizer's token for the beginning of a text.
"""
