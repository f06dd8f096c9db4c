"""How far a defence keeps a model from answering harmful requests, and what it costs those who ask for harmless things.

Unsafe requests and answers are read and written at run time only; nothing of them is part of the library, and tables
show figures alone.
"""
