"""RLIPv2 (ICCV 2023): relational language-image pre-training and relation detection."""
