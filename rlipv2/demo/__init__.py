"""A page in the browser: a picture and any words in, drawn relations out (`python -m rlipv2 demo`)."""
