"""Relations for detection data: captions, their scene graphs, candidates between labelled boxes, Relation Tagger."""
