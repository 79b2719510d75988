"""V-COCO role, agent and in-training average precision."""
