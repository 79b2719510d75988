"""Scene-graph figures of Open Images v6: protocol in NumPy, torchmetrics class, files, reports."""
