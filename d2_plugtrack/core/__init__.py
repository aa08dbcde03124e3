"""The method on tensors: torch, torchvision, numpy and scipy only, never detectron2."""
