"""COCO-VID and YouTube-VIS: annotated videos as one JSON file."""
