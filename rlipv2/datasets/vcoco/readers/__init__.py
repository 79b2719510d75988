"""Readers of the two annotation formats of V-COCO, both giving `VCOCOContent`.

`hoia`    lists of records (`trainval_vcoco.json`, `test_vcoco.json`), read by the official code
`release` the original files (`vcoco_trainval.json`, ...) with the instance annotations of COCO 2014
"""

from rlipv2.datasets.vcoco.readers import hoia, release

__all__ = ["hoia", "release"]
