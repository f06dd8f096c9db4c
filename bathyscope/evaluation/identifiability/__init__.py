"""Whether what was learnt from shifts can be the truth: from supports before training, from columns after it."""
