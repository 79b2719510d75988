"""Relations in pictures of your own: `RelationPredictor`, and `python -m rlipv2 predict`."""
