"""Every estimator on worlds whose truth is known: one table, the nulls in it."""
