"""Building blocks of the networks: attention, fusion, text encoder, backbones."""
