"""COCO detection average precision."""
