"""Average precision and recall of triplets for any dataset: protocol in NumPy, torchmetrics class, files."""
