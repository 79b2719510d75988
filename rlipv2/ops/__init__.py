"""Functions on tensors that know neither networks nor data sets."""
